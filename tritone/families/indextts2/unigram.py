"""The likeliest pieces of a text by a unigram model (SentencePiece, arXiv:1808.06226).

Of equally likely ways the library takes one by how its 32-bit sums are rounded, so they are
rounded alike here.
"""

from collections.abc import Sequence

import numpy as np

from tritone.families.indextts2.sentencepiece_file import Kind, Piece

_UNKNOWN_PENALTY = 10.0  # below the least likely piece
_USER_DEFINED_MARGIN = 0.1


class Unigram:
    """Safe to use from several threads."""

    def __init__(self, pieces: Sequence[Piece]) -> None:
        """pieces: by id, one of them for what is unknown."""
        normal = [piece.score for piece in pieces if piece.kind is Kind.NORMAL]
        self._unknown = next(i for i, piece in enumerate(pieces) if piece.kind is Kind.UNKNOWN)
        self._unknown_score = _rounded(min(normal, default=0.0) - _UNKNOWN_PENALTY)
        best = max(normal, default=0.0)
        self._scores: dict[str, tuple[int, float]] = {}
        for index, piece in enumerate(pieces):
            if piece.kind is Kind.NORMAL:
                self._scores[piece.text] = index, piece.score
            elif piece.kind is Kind.USER_DEFINED:
                bonus = len(piece.text.encode()) * best - _USER_DEFINED_MARGIN
                self._scores[piece.text] = index, bonus
        self._longest = max(map(len, self._scores), default=0)

    def __call__(self, text: str) -> list[tuple[str, int]]:
        """Pieces and their ids; neighbouring characters that no piece has are one piece."""
        starts, ids = self._best(text)
        found: list[tuple[str, int]] = []
        end = len(text)
        while end:
            start, piece = starts[end], ids[end]
            if piece == self._unknown and found and found[-1][1] == piece:
                found[-1] = (text[start:end] + found[-1][0], piece)
            else:
                found.append((text[start:end], piece))
            end = start
        return found[::-1]

    def _best(self, text: str) -> tuple[list[int], list[int]]:
        """Where the last piece of the best way to each place begins, and its id."""
        count = len(text)
        starts, ids = [-1] * (count + 1), [-1] * (count + 1)
        sums = [0.0] * (count + 1)

        def offer(start: int, end: int, index: int, score: float) -> None:
            total = _rounded(score + sums[start])
            if starts[end] < 0 or total > sums[end]:
                starts[end], ids[end], sums[end] = start, index, total

        for start in range(count):
            known = False
            for end in range(start + 1, min(start + self._longest, count) + 1):
                if piece := self._scores.get(text[start:end]):
                    offer(start, end, *piece)
                    known |= end == start + 1
            if not known:
                offer(start, start + 1, self._unknown, self._unknown_score)
        return starts, ids


def _rounded(value: float) -> float:
    return float(np.float32(value))

"""Spoken text to pieces: SentencePiece's unigram model over upper-case text with spaced characters.

The released file is read as it is.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from sentencepiece import SentencePieceProcessor

from tritone.errors import ModelDirectoryError

# Characters of Chinese, Japanese and Korean, which are pieces of their own.
SPACED = re.compile(
    "([\u1100-\u11ff\u2e80-\ua4cf\ua840-\ud7af\uf900-\ufaff\ufe30-\ufe4f\uff65-\uffdc"
    "\U00020000-\U0002ffff])"
)
BLANK = "\u2581"


class Pieces(NamedTuple):
    """texts and ids of the same pieces."""

    texts: Sequence[str]
    ids: Sequence[int]


def spaced(text: str) -> str:
    """Upper case, with one space around each character of the CJK scripts."""
    parts = (part.strip().upper() for part in SPACED.split(text))
    return " ".join(part for part in parts if part)


def spaced_unless_alone(text: str) -> str:
    """Upstream leaves a text of one character as it is."""
    return text if len(text.strip()) == 1 else spaced(text)


def text_of(pieces: Sequence[str]) -> str:
    """What pieces say."""
    return "".join(pieces).replace(BLANK, " ").strip()


class PieceTokenizer:
    """Safe to use from several threads."""

    def __init__(self, path: Path) -> None:
        """Raises ModelDirectoryError for a file that is no such model."""
        self._model = SentencePieceProcessor()
        try:
            self._model.load_from_serialized_proto(path.read_bytes())
        except OSError as error:
            raise ModelDirectoryError(f"{path}: cannot be read: {error}") from error
        except RuntimeError as error:  # of the library
            raise ModelDirectoryError(f"{path}: is no SentencePiece model: {error}") from error
        self.size = self._model.vocab_size()

    def __call__(self, text: str) -> Pieces:
        """Pieces of spoken text, which may be any; none where it has nothing."""
        return self.raw(spaced_unless_alone(text))

    def ids_of(self, texts: Sequence[str]) -> list[int]:
        """Of pieces; one that the model does not have is unknown."""
        return [self._model.piece_to_id(text) for text in texts]

    def raw(self, text: str) -> Pieces:
        """Of a text as it is."""
        return Pieces(self._model.encode(text, out_type=str), self._model.encode(text))

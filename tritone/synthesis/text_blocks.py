"""The front end's answer in blocks of text, so that the end of a long one is not waited for."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tritone.errors import InvalidRequest
from tritone.llm.contract import Prompt
from tritone.synthesis.values import Segment
from tritone.voice import Voice


@dataclass(frozen=True)
class TextPiece:
    """A `Segment` but for the voice, which all of a request share."""

    prompt: Prompt
    target_tokens: int
    text: str
    notes: tuple[str, ...] = ()
    pause: float = 0.0


@dataclass(frozen=True)
class TextBlock:
    """Pieces of one part of the text, some hundred characters long.

    notes: on what was skipped after the last of these pieces. more: whether text follows.
    """

    pieces: tuple[TextPiece, ...]
    notes: tuple[str, ...]
    more: bool


def in_order(block_at: Callable[[int], TextBlock], voice: Voice, cached: bool) -> Iterator[Segment]:
    """The segments of blocks 0, 1, ..., each block made when it is asked for.

    Raises InvalidRequest when not one of them has a piece.
    """
    notes: tuple[str, ...] = ()
    index, empty, more = 0, True, True
    while more:
        block = block_at(index)
        for piece in block.pieces:
            every = tuple(dict.fromkeys((*notes, *piece.notes)))
            yield Segment(
                piece.prompt, piece.target_tokens, piece.text, voice, cached, every, piece.pause
            )
            empty, notes = False, ()
        notes = (*notes, *block.notes)
        index, more = index + 1, block.more
    if empty:
        why = f" ({'; '.join(dict.fromkeys(notes))})" if notes else ""
        raise InvalidRequest("target_text", f"has nothing that this voice can speak{why}")

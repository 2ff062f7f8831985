"""The front end's answer in blocks of text, so that the end of a long one is not waited for."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from tritone.errors import InvalidRequest
from tritone.synthesis.values import Segment


@dataclass(frozen=True)
class TextBlock:
    """Segments of one part of the text, some hundred characters long.

    notes: on what was skipped after the last of these segments. more: whether text follows.
    """

    segments: tuple[Segment, ...]
    notes: tuple[str, ...]
    more: bool


def in_order(block_at: Callable[[int], TextBlock]) -> Iterator[Segment]:
    """The segments of blocks 0, 1, ..., each block made when it is asked for.

    Raises InvalidRequest when not one of them has a segment.
    """
    notes: tuple[str, ...] = ()
    index, empty, more = 0, True, True
    while more:
        block = block_at(index)
        for segment in block.segments:
            yield replace(segment, notes=tuple(dict.fromkeys((*notes, *segment.notes))))
            empty, notes = False, ()
        notes = (*notes, *block.notes)
        index, more = index + 1, block.more
    if empty:
        why = f" ({'; '.join(dict.fromkeys(notes))})" if notes else ""
        raise InvalidRequest("target_text", f"has nothing that this voice can speak{why}")

"""Text from an iterator, for speech that begins before it ends."""

import threading
from collections.abc import Iterable, Iterator
from enum import Enum, auto

from tritone.synthesis.live_text import LiveText
from tritone.synthesis.values import AudioChunk


class Flush(Enum):
    """Among pieces of text: speak what there is, do not wait for the end of the sentence."""

    FLUSH = auto()


FLUSH = Flush.FLUSH

Pieces = Iterable[str | Flush]


def feed(text: LiveText, pieces: Pieces) -> None:
    """Put all pieces. What the iterator raises is raised where the speech is read."""
    try:
        for piece in pieces:
            if text.ended:  # nobody listens any more
                return
            if isinstance(piece, Flush):
                text.flush()
            else:
                text.put(piece)
    except Exception as error:
        text.end(error)
    else:
        text.end()


def speech_of(chunks: Iterator[AudioChunk], text: LiveText, pieces: Pieces) -> Iterator[AudioChunk]:
    """The chunks, while a thread of its own reads the pieces; where the speech is left before its
    end, the thread ends at the next piece."""
    threading.Thread(target=feed, args=(text, pieces), name="text", daemon=True).start()
    try:
        yield from chunks
    finally:
        text.close()

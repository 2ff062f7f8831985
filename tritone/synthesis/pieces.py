"""The way of a request from text to acoustic frames, in a thread of its own."""

import threading
from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from typing import Any

from tritone.arrays import Float32
from tritone.errors import StageFailed
from tritone.synthesis.run import Run, Tries
from tritone.synthesis.run_ahead import RunAhead
from tritone.synthesis.segment_speech import SegmentSpeech
from tritone.synthesis.values import Segment
from tritone.triton_models import FRONTEND


@dataclass(frozen=True)
class Place:
    """A segment within its request."""

    index: int
    segment: Segment
    tries: Tries


@dataclass(frozen=True)
class Piece:
    """Frames of a segment, (bins, frames), and whether it or the whole speech ends with them. cut:
    whether it ends earlier than its generation did. broken_off: and within its text. cuts: where
    chunks of the flow end within it, rising: the same frames have the same ones, whatever hops they
    came in."""

    frames: Float32
    place: Place
    cuts: tuple[int, ...] = ()
    ends_segment: bool = False
    cut: bool = False
    broken_off: bool = False
    ends_speech: bool = False

    @property
    def segment(self) -> Segment:
        return self.place.segment


class Pieces:
    """Segment after segment, each begun when the generation of the one before has ended.

    Use it in a `with` block: however that ends, all that is held is freed.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._prepared: Iterator[Segment] | None = None
        self._places: list[Place] = []  # all that were prepared so far
        self._error: Exception | None = None  # of the front end
        self._next = 0
        self._start()

    def __iter__(self) -> Iterator[Piece]:
        """The first piece of a stream is split, so that its first samples do not wait for the
        rest."""
        later, few = iter(self._ahead), self._run.rules.first_frames
        first = next(later)
        early = self._run.request.streaming and self._run.timing.playback.first is None
        if early and first.frames.shape[1] > few:
            yield Piece(first.frames[:, :few], first.place)
            cuts = tuple(cut - few for cut in first.cuts if cut > few)
            first = replace(first, frames=first.frames[:, few:], cuts=cuts)
        yield first
        yield from later

    def begin_again(self, place: Place) -> None:
        """Speak from the beginning of a segment once more; the next iteration gives its pieces."""
        self._stop()
        self._run.try_again(place.tries)
        self._run.timing.made = self._run.timing.playback.audio
        self._next = place.index
        self._start()

    def close(self) -> None:
        self._stop()
        if isinstance(self._prepared, Generator):
            self._prepared.close()  # after an error its traceback would keep it open

    def __enter__(self) -> "Pieces":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _start(self) -> None:
        over = self._over = threading.Event()  # the thread need not go on to its next hop

        def unwanted() -> bool:
            return over.is_set() or self._run.cancelled()

        self._ahead = RunAhead(self._spoken(replace(self._run, cancelled=unwanted)))

    def _stop(self) -> None:
        self._over.set()
        self._ahead.close()

    def _spoken(self, run: Run) -> Generator[Piece, Any, None]:
        speaking = upcoming = None
        try:
            speaking = self._begin_next(run)
            if speaking is None:
                raise StageFailed(FRONTEND, "gave no segment")
            while speaking:
                place = self._places[self._next - 1]
                chunk, hops = run.rules.chunk_frames, 0
                for frames in speaking.hops():
                    count, hops = frames.shape[1], hops + 1
                    yield Piece(frames, place, tuple(range(count % chunk or chunk, count, chunk)))
                upcoming = self._begin_next(run)
                rest = speaking.rest()
                yield Piece(
                    rest,
                    place,
                    # without a hop before it, it is no more than the first one would be
                    tuple(range(chunk, rest.shape[1], chunk)) if hops else (),
                    ends_segment=True,
                    cut=speaking.cut,
                    broken_off=speaking.broken_off,
                    ends_speech=upcoming is None,
                )
                speaking.close()
                speaking, upcoming = upcoming, None
        finally:
            for open_speech in (speaking, upcoming):
                if open_speech:
                    open_speech.close()

    def _begin_next(self, run: Run) -> SegmentSpeech | None:
        place = self._prepare_next()
        run.timing.mark("frontend")
        return (
            None if place is None else SegmentSpeech(run, place.segment, place.index, place.tries)
        )

    def _prepare_next(self) -> Place | None:
        index = self._next
        if index == len(self._places):
            segment = self._ask()
            if segment is None:
                return None
            self._places.append(Place(index, segment, Tries(self._run.timing.elapsed())))
        self._next += 1
        return self._places[index]

    def _ask(self) -> Segment | None:
        """Of the front end: one that has failed would have no more segments the second time."""
        if self._error:
            raise self._error
        try:
            if self._prepared is None:
                self._prepared = self._run.stages.prepare(self._run.request)
            return next(self._prepared, None)
        except Exception as error:
            self._error = error
            raise

"""The way of a request from text to acoustic frames, in a thread of its own."""

import threading
from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tritone.acoustic.unwanted import ending_when
from tritone.arrays import Float32
from tritone.errors import NothingToSay, StageFailed, TritoneError
from tritone.synthesis.growing import GrowingSegment
from tritone.synthesis.live_text import NoText, TextPart
from tritone.synthesis.run import Run, Tries
from tritone.synthesis.run_ahead import RunAhead
from tritone.synthesis.segment_speech import SegmentSpeech
from tritone.synthesis.values import Segment
from tritone.triton_models import FRONTEND
from tritone.voice import Voice

_NO_FRAMES = np.zeros((0, 0), np.float32)


@dataclass(frozen=True)
class Place:
    """A segment within its request. growing: where its text was still being written."""

    index: int
    begun: Segment
    tries: Tries
    growing: GrowingSegment | None = None

    @property
    def segment(self) -> Segment:
        """With the text so far."""
        return self.growing.segment if self.growing else self.begun

    def finish(self) -> None:
        """It has been spoken, or is not to be."""
        if self.growing:
            self.growing.finish()


@dataclass(frozen=True)
class Piece:
    """Frames of a segment, (bins, frames), and whether it or the whole speech ends with them. cut:
    whether it ends earlier than its generation did. broken_off: and within its text. cuts: where
    chunks of the flow end within it, rising: the same frames have the same ones, whatever hops they
    came in. more_may_come: nobody knows yet whether
    it is the last one of the speech. over: no frames, but the word that it was."""

    frames: Float32
    place: Place
    cuts: tuple[int, ...] = ()
    ends_segment: bool = False
    cut: bool = False
    broken_off: bool = False
    ends_speech: bool = False
    more_may_come: bool = False
    over: bool = False

    @property
    def segment(self) -> Segment:
        return self.place.segment


class Pieces:
    """Segment after segment, each begun when the generation of the one before has ended.

    Use it in a `with` block: however that ends, all that is held is freed.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._prepared: Iterator[Segment] | None = None  # of the present part of the text
        self._part = TextPart("")
        self._nothing: NothingToSay | None = None  # the error of a part without words
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
        self._next = place.index
        self._start()

    def close(self) -> None:
        self._stop()
        for place in self._places:
            place.finish()
        if isinstance(self._prepared, Generator):
            self._prepared.close()  # after an error its traceback would keep it open
        self._error = self._nothing = None  # whose tracebacks know this object

    def __enter__(self) -> "Pieces":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _start(self) -> None:
        over = self._over = threading.Event()  # the thread need not go on to its next hop

        def unwanted() -> bool:
            return over.is_set() or self._run.cancelled()

        run = replace(self._run, cancelled=unwanted)
        self._ahead = RunAhead(self._while_wanted(run), unwanted=self._run.cancelled)

    def _stop(self) -> None:
        self._over.set()
        self._ahead.close()

    def _while_wanted(self, run: Run) -> Generator[Piece, Any, None]:
        """What the flow computes in this process ends in the middle too."""
        with ending_when(run.cancelled):
            yield from self._spoken(run)

    def _spoken(self, run: Run) -> Generator[Piece, Any, None]:
        speaking: SegmentSpeech | NoText | None = None
        upcoming: SegmentSpeech | NoText | None = None
        try:
            speaking = self._begin_next(run)
            if isinstance(speaking, NoText):
                raise self._nothing or _no_segment(run)
            while True:
                place = self._places[self._next - 1]
                chunk, hops = run.rules.chunk_frames, 0
                for frames in speaking.hops():
                    count, hops = frames.shape[1], hops + 1
                    yield Piece(frames, place, tuple(range(count % chunk or chunk, count, chunk)))
                place.finish()
                upcoming = self._begin_next(run, wait=False)
                rest = speaking.rest()
                yield Piece(
                    rest,
                    place,
                    # without a hop before it, it is no more than the first one would be
                    tuple(range(chunk, rest.shape[1], chunk)) if hops else (),
                    ends_segment=True,
                    cut=speaking.cut,
                    broken_off=speaking.broken_off,
                    ends_speech=upcoming is NoText.MORE,
                    more_may_come=upcoming is NoText.YET,
                )
                speaking.close()
                speaking = None
                if upcoming is NoText.YET:
                    upcoming = self._begin_next(run)
                    if upcoming is NoText.MORE:
                        yield Piece(_NO_FRAMES, place, ends_speech=True, over=True)
                if isinstance(upcoming, NoText):
                    return
                speaking, upcoming = upcoming, None
        finally:
            for open_speech in (speaking, upcoming):
                if isinstance(open_speech, SegmentSpeech):
                    open_speech.close()

    def _begin_next(self, run: Run, *, wait: bool = True) -> SegmentSpeech | NoText:
        """wait: for text that has not come yet."""
        place = self._prepare_next(run, wait)
        if isinstance(place, NoText):
            return place
        run.timing.mark("frontend")
        return SegmentSpeech(run, place.begun, place.index, place.tries, place.growing)

    def _prepare_next(self, run: Run, wait: bool) -> Place | NoText:
        index = self._next
        if index == len(self._places):
            segment = self._ask(run, wait)
            if isinstance(segment, NoText):
                return segment
            run.timing.prepared(start=segment.start)
            tries, growing = Tries(self._run.timing.elapsed()), self._growing(segment)
            self._places.append(Place(index, segment, tries, growing))
        self._next += 1
        return self._places[index]

    def _ask(self, run: Run, wait: bool) -> Segment | NoText:
        """The next segment, of the present part of the text or the one after it."""
        while True:
            if self._prepared is None:
                part = run.text.take(wait=wait, unwanted=run.cancelled)
                if isinstance(part, NoText):
                    run.timing.prepared(until=run.text.taken)
                    return part
                self._part = part
            segment = self._segment(self._part)
            if segment is not None:
                return segment
            self._prepared = None
            while segment is None and self._part.open:  # nothing of it is sure yet
                self._part = run.text.grown(self._part, unwanted=run.cancelled)
                segment, self._prepared = self._segment(self._part), None
            if segment is not None:
                return segment

    def _growing(self, segment: Segment) -> GrowingSegment | None:
        """What brings the rest of a segment whose part is open."""
        if not self._part.open:
            return None
        run, self._prepared = self._run, None

        def grown(part: TextPart) -> Segment:
            run.timing.text_came()
            (found,) = self._ask_for(part, segment.voice)
            return replace(found, start=segment.start, voice_cached=segment.voice_cached)

        return GrowingSegment(run.text, self._part, segment, grown, run.rules, run.cancelled)

    def _segment(self, part: TextPart) -> Segment | None:
        """Of the front end: one that has failed would have no more segments the second time."""
        if self._error:
            raise self._error
        try:
            if self._prepared is None:
                self._prepared = self._prepare(part)
            segment = next(self._prepared, None)
        except NothingToSay as error:  # but other parts may have
            self._nothing = error
            return None
        except Exception as error:
            self._error = error
            raise
        if segment is None:
            return None
        first = self._places[0].begun if self._places else segment
        start, cached = part.start + segment.start, first.voice_cached
        return replace(segment, start=start, voice_cached=cached)

    def _prepare(self, part: TextPart) -> Iterator[Segment]:
        if self._run.text.live:
            self._run.timing.text_came()
        return self._ask_for(part, self._places[0].begun.voice if self._places else None)

    def _ask_for(self, part: TextPart, voice: Voice | None) -> Iterator[Segment]:
        """The segments of a part; one alone where it grows, or has grown."""
        return self._run.stages.prepare(
            replace(
                self._run.request,
                text=part.text,
                continues=part.continues,
                same_voice=voice,
                settled=part.settled,
            )
        )


def _no_segment(run: Run) -> TritoneError:
    """The error where the front end gave none, without one of its own."""
    if run.text.live:
        return NothingToSay("target_text", "is empty: nothing came before its end")
    return StageFailed(FRONTEND, "gave no segment")

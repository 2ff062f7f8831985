"""Which streams are taken: those that begin in time, and that no stream before suffers from."""

import threading
import time
from bisect import bisect_left
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tritone.errors import Cancelled, Overloaded
from tritone.synthesis.forecast import Forecast

DECISIONS = ("admitted", "queued", "refused")
_LOOK_S = 0.1  # of one that waits, whether its caller has gone
_MOST = 1000  # places that are told of where nothing limits them


@dataclass(frozen=True)
class AdmissionLimits:
    """0 is unlimited, but for the queue.

    max_streams: spoken at a time. max_first_audio_seconds: until the first packet, as it is
    predicted for 19 of 20. playback_reserve: how much faster than real time the server must be for
    all streams together. queue_streams: that may wait for a place, each for at most queue_seconds.
    """

    max_streams: int = 16
    max_first_audio_seconds: float = 3.0
    playback_reserve: float = 1.25
    queue_streams: int = 0
    queue_seconds: float = 1.0


@dataclass
class Place:
    """Of one admitted stream. beside: streams that were spoken when it came. predicted: seconds to
    its first packet, None where nothing was known."""

    beside: int
    predicted: float | None
    began: float
    load: float  # stream-seconds of the server when it began


class Admission:
    """Safe to use from several threads.

    changed: called with the number of streams whenever it changes, in order. decided: with each
    decision of DECISIONS. expected: with how many streams would be taken at a time, whenever that
    changes.
    """

    def __init__(
        self,
        limits: AdmissionLimits,
        changed: Callable[[int], object],
        decided: Callable[[str], object] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
        expected: Callable[[int], object] = lambda _: None,
    ) -> None:
        self._limits, self._changed, self._decided = limits, changed, decided
        self._expected = expected
        self._clock = clock
        self._streams = self._queued = 0
        self._load, self._since = 0.0, clock()  # stream-seconds, up to then
        self._lasting = 0.0  # seconds that a stream lasts
        self._free = threading.Condition()
        self.forecast = Forecast()
        self._told = 0  # of places
        self._tell_places()

    def enter(self, cancelled: Callable[[], bool] = lambda: False) -> Place:
        """A place for one stream more, at once or after some waiting in the queue.

        Raises Overloaded, with the seconds after which to ask again, and Cancelled if the caller
        goes while it waits.
        """
        with self._free:
            problem = self._problem(self._streams)
            if problem and self._queued < self._limits.queue_streams:
                self._decided("queued")
                problem = self._wait(cancelled)
            if problem:
                self._decided("refused")
                raise Overloaded(f"{problem}; retry after {self._retry_s():.1f} s")
            self._decided("admitted")
            place = Place(
                self._streams,
                self.forecast.first_audio(self._streams),
                self._clock(),
                self._count(1),
            )
            return place

    def leave(self, place: Place, audio: float) -> None:
        """The stream has ended. audio: seconds of it that were made."""
        with self._free:
            load, seconds = self._count(-1), self._clock() - place.began
            if audio:
                lasting = self._lasting or seconds
                self._lasting = 0.9 * lasting + 0.1 * seconds
                beside = (load - place.load) / seconds if seconds else 1.0
                self.forecast.saw_speech(beside, audio, seconds)
                self._tell_places()
            self._free.notify()

    def heard(self, place: Place, seconds: float) -> float | None:
        """The first packet of a stream was made after so long; the ratio of that to what was
        expected, where anything was."""
        with self._free:
            ratio = self.forecast.saw_first_audio(place.beside, seconds)
            self._tell_places()
            return ratio

    def _wait(self, cancelled: Callable[[], bool]) -> str:
        """Until there is a place; the problem that is left when time is over."""
        until = self._clock() + self._limits.queue_seconds
        with self._in_queue():
            while (problem := self._problem(self._streams)) and self._clock() < until:
                if cancelled():
                    raise Cancelled("the caller went while it waited for a place")
                self._free.wait(min(_LOOK_S, max(0.0, until - self._clock())))
        return problem

    @contextmanager
    def _in_queue(self) -> Iterator[None]:
        self._queued += 1
        try:
            yield
        finally:
            self._queued -= 1

    def _tell_places(self) -> None:
        if (places := self._places()) != self._told:
            self._told = places
            self._expected(places)

    def _places(self) -> int:
        """Streams that would be taken at a time: problems come and stay as streams come."""
        most = self._limits.max_streams or _MOST
        return bisect_left(range(most), True, key=lambda running: bool(self._problem(running)))

    def _problem(self, running: int) -> str:
        """Why there is no place for one stream more beside `running`; empty where there is."""
        limits = self._limits
        if not running:
            return ""  # an idle server does what it can
        if limits.max_streams and running >= limits.max_streams:
            return f"{running} streams are running, the limit"
        first = self.forecast.first_audio(running)
        if limits.max_first_audio_seconds and first and first > limits.max_first_audio_seconds:
            return (
                f"beside {running} streams the first audio would take {first:.2f} s; the limit "
                f"(max_first_audio_seconds) is {limits.max_first_audio_seconds:g}"
            )
        speed = self.forecast.speed
        if limits.playback_reserve and speed and speed < (running + 1) * limits.playback_reserve:
            return (
                f"{running} streams are running, and at {speed:.1f} times real time one more would "
                "make them run dry"
            )
        return ""

    def _retry_s(self) -> float:
        """Until the next place is likely to be free."""
        return max(0.1, self._lasting / max(1, self._streams))

    def _count(self, change: int) -> float:
        """Change the number of streams; stream-seconds so far."""
        now = self._clock()
        self._load += self._streams * (now - self._since)
        self._since = now
        self._streams += change
        self._changed(self._streams)
        return self._load

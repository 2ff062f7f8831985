"""One machine of a simulated fleet: its streams share what it can do."""

import heapq
from collections.abc import Callable, Generator
from dataclasses import dataclass
from itertools import count
from math import inf
from typing import Any

import simpy

Process = Generator[simpy.Event, Any, None]


@dataclass
class Speech:
    """One request, all times in seconds of the simulation.

    began: a machine took it. heard: its first packet, by the machine that spoke it whole. broken:
    how often a machine failed under it. waits: how often it began to wait. refused: nobody took it.
    """

    audio: float
    arrived: float
    began: float = 0.0
    heard: float = 0.0
    ended: float = 0.0
    broken: int = 0
    waits: int = 0
    refused: bool = False

    @property
    def is_dry(self) -> bool:
        """Its last sound was made after it should have been heard."""
        return self.ended > self.heard + self.audio


class Machine:
    """speed: seconds of audio a second that so many streams get together, in equal parts. first:
    seconds to the first packet of the n-th stream. done: called with each speech that ends well.

    load: its streams; infinite while it takes none, and then it goes on with those that it has.
    busy: stream-seconds.
    """

    def __init__(
        self,
        env: simpy.Environment,
        speed: Callable[[int], float],
        first: Callable[[int], float],
        done: Callable[[Speech], None],
    ) -> None:
        self._env, self._speed, self._first, self._done = env, speed, first, done
        self.began = self._since = env.now
        self.load = self.busy = 0.0
        self._each = 0.0  # seconds of audio that a stream got that was there from the begin
        self._ends: list[tuple[float, int, Speech]] = []  # at which of these, in order
        self._numbers = count()
        self._changed = env.event()
        env.process(self._run())

    @property
    def streams(self) -> int:
        return len(self._ends)

    def open(self) -> None:
        self.load = self.streams

    def close(self) -> None:
        self.load = inf

    def take(self, speech: Speech) -> None:
        self._catch_up()
        speech.began = self._env.now
        speech.heard = speech.began + self._first(self.streams + 1)
        heapq.heappush(self._ends, (self._each + speech.audio, next(self._numbers), speech))
        self.load += 1
        self._tell()

    def fail(self) -> list[Speech]:
        """It is closed, and its speeches break, which are returned."""
        self._catch_up()
        broken = [speech for _, _, speech in self._ends]
        self._ends = []
        self.close()
        self._tell()
        return broken

    def _catch_up(self) -> None:
        passed, self._since = self._env.now - self._since, self._env.now
        if self._ends:
            self._each += passed * self._rate()
            self.busy += passed * self.streams

    def _rate(self) -> float:
        """Seconds of audio a second that each stream gets."""
        return self._speed(self.streams) / self.streams

    def _tell(self) -> None:
        changed, self._changed = self._changed, self._env.event()
        changed.succeed()

    def _run(self) -> Process:
        while True:
            changed = self._changed
            if not self._ends:
                yield changed
                continue
            left = max(0.0, self._ends[0][0] - self._each) / self._rate()
            yield changed | self._env.timeout(left)
            if changed.triggered:  # this end has moved
                continue
            self._catch_up()
            _, _, speech = heapq.heappop(self._ends)
            self.load -= 1
            speech.ended = self._env.now
            self._done(speech)

"""Which stream goes first when a stage is busy: the one whose playback runs dry first.

A stage takes a few streams at a time. Those that wait here, and not in the stage's own queue, can
still be overtaken by one in more of a hurry.
"""

import heapq
import itertools
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

STAGES = ("flow", "vocoder")


class Turns:
    """Lets at most `together` callers in at a time, the one with the earliest deadline first."""

    def __init__(self, together: int) -> None:
        assert together > 0
        self._together = self._free = together
        self._changed = threading.Condition()
        self._waiting: list[tuple[float, int]] = []
        self._arrivals = itertools.count()

    @property
    def waiting(self) -> int:
        """Callers that wait for their turn."""
        return len(self._waiting)

    @property
    def idle(self) -> bool:
        """Whether nobody has a turn or waits for one."""
        with self._changed:
            return self._free == self._together and not self._waiting

    @contextmanager
    def turn(self, seconds_left: float) -> Iterator[None]:
        """Wait for a turn and hold it. seconds_left: until this caller's playback runs dry."""
        with self._changed:
            ticket = (time.monotonic() + seconds_left, next(self._arrivals))
            heapq.heappush(self._waiting, ticket)
            self._changed.wait_for(lambda: self._free and self._waiting[0] == ticket)
            heapq.heappop(self._waiting)
            self._free -= 1
            self._changed.notify_all()  # there may be room for the next one too
        try:
            yield
        finally:
            with self._changed:
                self._free += 1
                self._changed.notify_all()


class StageTurns:
    """The turns of the stages that all streams of a process share.

    patience: seconds that a stream without audio gets before its deadline is over, so that those
    that play already are not made to run dry by those that start.
    """

    def __init__(self, flow: int = 16, vocoder: int = 2, patience: float = 1.0) -> None:
        self.flow, self.vocoder = Turns(flow), Turns(vocoder)
        self.patience = patience

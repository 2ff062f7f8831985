"""Which stream goes first when a stage is busy.

First those whose playback is about to run dry, then those that wait for their first packet, in the
order in which they came, then the others, by the time at which they run dry. So a stream that has
more in store than a few turns take does not keep a new one silent, and none runs dry for a new one.
Where turns are so long that all who play are about to run dry, who has waited a second goes first:
else nobody new would be heard until one of them has ended.

A stage takes a few streams at a time. Those that wait here, and not in the stage's own queue, can
still be overtaken by one in more of a hurry.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

STAGES = ("flow", "vocoder")
_PATIENCE_S = 1.0  # with which somebody waits for a first packet
_NEAR = 3  # turns: of somebody else, its own, and its own at the next stage
_USUAL_S = 0.1  # that a turn lasts, until it is known
_NEWS = 0.1  # weight of the last one


@dataclass(frozen=True, eq=False)
class _Ticket:
    """Of one that waits. deadline: when its playback runs dry or, where it has not begun, when it
    came. let_in: released when its turn has come."""

    deadline: float
    begun: bool
    let_in: threading.Lock = field(default_factory=threading.Lock)

    def urgency(self, now: float, near: float) -> tuple[int, float]:
        """The smallest goes first."""
        if not self.begun:
            return (0 if now - self.deadline > _PATIENCE_S else 1), self.deadline
        return (0 if self.deadline - now < near else 2), self.deadline


class Turns:
    """Lets at most `together` callers in at a time."""

    def __init__(self, together: int, clock: Callable[[], float] = time.monotonic) -> None:
        assert together > 0
        self._together = self._free = together
        self._clock, self._lasting = clock, _USUAL_S
        self._changing = threading.Lock()
        self._waiting: list[_Ticket] = []

    @property
    def waiting(self) -> int:
        """Callers that wait for their turn."""
        return len(self._waiting)

    @property
    def idle(self) -> bool:
        """Whether nobody has a turn or waits for one."""
        with self._changing:
            return self._free == self._together

    @contextmanager
    def turn(self, seconds_left: float, *, begun: bool = True) -> Iterator[None]:
        """Wait for a turn and hold it. seconds_left: until this caller's playback runs dry. begun:
        whether it plays; where it does not, the seconds are since it came, below zero."""
        ticket = self._ticket(seconds_left, begun)
        if ticket:
            self._wait(ticket)
        began = self._clock()
        try:
            yield
        finally:
            self._pass_on(self._clock() - began)

    def _ticket(self, seconds_left: float, begun: bool) -> _Ticket | None:
        """None where there is a turn at once."""
        with self._changing:
            if self._free:
                self._free -= 1
                return None
            ticket = _Ticket(self._clock() + seconds_left, begun)
            ticket.let_in.acquire()
            self._waiting.append(ticket)
            return ticket

    def _wait(self, ticket: _Ticket) -> None:
        try:
            ticket.let_in.acquire()
        except BaseException:  # an interrupt of the thread
            with self._changing:
                there = ticket in self._waiting
                if there:
                    self._waiting.remove(ticket)
            if not there:
                self._pass_on(self._lasting)
            raise

    def _pass_on(self, lasted: float) -> None:
        """Give a turn to the most urgent of those that wait; nobody else is woken."""
        with self._changing:
            self._lasting += _NEWS * (lasted - self._lasting)
            if not self._waiting:
                self._free += 1
                return
            now, near = self._clock(), _NEAR * self._lasting
            first = min(self._waiting, key=lambda ticket: ticket.urgency(now, near))
            self._waiting.remove(first)
            first.let_in.release()


class StageTurns:
    """The turns of the stages that all streams of a process share."""

    def __init__(self, flow: int = 16, vocoder: int = 2) -> None:
        self.flow, self.vocoder = Turns(flow), Turns(vocoder)

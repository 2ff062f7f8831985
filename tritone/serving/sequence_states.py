"""States of running sequences: bounded, and freed when a sequence ends or goes quiet."""

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

from tritone.errors import Overloaded

StateT = TypeVar("StateT")


class SequenceTable(Generic[StateT]):
    """One state for each live sequence, the longest idle one first.

    A server may drop an idle sequence without a word, so a state that was not touched for
    `max_idle` seconds makes room when it is needed. Not thread-safe: one model instance owns it.
    """

    def __init__(
        self, capacity: int, max_idle: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._capacity, self._max_idle, self._clock = capacity, max_idle, clock
        self._states: OrderedDict[int, tuple[float, StateT]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._states)

    def put(self, sequence: int, state: StateT) -> None:
        """Keep a state; raises Overloaded when every place is taken by a live sequence."""
        self._states.pop(sequence, None)
        self.drop_idle()
        if len(self._states) >= self._capacity:
            raise Overloaded(f"{self._capacity} sequences are running; retry later")
        self._states[sequence] = (self._clock(), state)

    def drop_idle(self) -> None:
        """Free what idle ones hold: before anything that may find no room because of them."""
        oldest_allowed = self._clock() - self._max_idle
        while self._states and next(iter(self._states.values()))[0] < oldest_allowed:
            self._states.popitem(last=False)

    def take(self, sequence: int) -> StateT | None:
        """Remove and return a state: whoever steps it puts the next one back."""
        entry = self._states.pop(sequence, None)
        return None if entry is None else entry[1]

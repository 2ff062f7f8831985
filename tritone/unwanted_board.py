"""What the public model shows the other models of its server: streams that nobody wants any more.

A model that works on a request hears nothing else, and Triton 2.51 cannot cancel a call between
models. So the processes share a page with a place for each stream, through a descriptor that they
inherit from the launcher.
"""

import mmap
import os
import threading
from collections import deque
from collections.abc import Mapping

PLACES = 4096
NO_PLACE = -1
_WANTED, _UNWANTED = 0, 1


def create() -> int:
    """A descriptor for `UnwantedBoard`, the caller's to close; the page goes with the last one."""
    descriptor = os.memfd_create("unwanted", 0)
    os.ftruncate(descriptor, PLACES)
    return descriptor


class UnwantedBoard:
    """As one process sees it. descriptor: of `create`; it may be closed afterwards."""

    def __init__(self, descriptor: int) -> None:
        self._page = mmap.mmap(descriptor, PLACES)
        self._free = deque(range(PLACES))
        self._changing = threading.Lock()

    @classmethod
    def inherited(cls, environment: Mapping[str, str], name: str) -> "UnwantedBoard | None":
        """The one whose descriptor this variable names; None where a launcher gave none."""
        return cls(int(environment[name])) if name in environment else None

    def take(self) -> int:
        """A place for one stream, NO_PLACE where none is left. One process alone takes places, and
        the one that has been free for longest: a model may still work for who had it last."""
        with self._changing:
            place = self._free.popleft() if self._free else NO_PLACE
        self._write(place, _WANTED)
        return place

    def give_back(self, place: int) -> None:
        """Once no model works for that stream any more."""
        if place != NO_PLACE:
            with self._changing:
                self._free.append(place)

    def give_up(self, place: int) -> None:
        """Nobody wants what is made for that stream."""
        self._write(place, _UNWANTED)

    def unwanted(self, place: int) -> bool:
        return 0 <= place < PLACES and self._page[place] == _UNWANTED

    def _write(self, place: int, value: int) -> None:
        if place != NO_PLACE:
            self._page[place] = value


class StreamPlace:
    """Of one stream of the public model; `number` goes with its calls."""

    def __init__(self, board: UnwantedBoard | None) -> None:
        self._board = board
        self.number = NO_PLACE if board is None else board.take()
        self._changing = threading.Lock()

    @property
    def is_one(self) -> bool:
        return self.number != NO_PLACE

    def give_up(self) -> None:
        """What is computed for the stream stops; after `close` it does nothing."""
        with self._changing:
            if self._board:
                self._board.give_up(self.number)

    def close(self) -> None:
        """The place is free for another stream; a second call does nothing."""
        with self._changing:
            board, self._board = self._board, None
            if board:
                board.give_up(self.number)
                board.give_back(self.number)


NOWHERE = StreamPlace(None)
"""What is computed in calls from there is always done to its end."""

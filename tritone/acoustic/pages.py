"""Caches of many streams in buffers of fixed size and address, so that recorded graphs find them.

A page holds the keys and values of one chunk of one stream for every layer and ODE step; a stream
is a list of pages, and streams of one voice share the pages of its prompt. A page is free again
when no stream refers to it.

    pool    | empty | scratch | p2 | p3 | p4 | p5 | p6 | ...
    voice                       p2   p3
    stream A: p2 p3 p5 p6      stream B: p2 p3 p4
"""

from collections import deque

from tritone.errors import Overloaded

EMPTY = 0  # never written: stands where a shorter stream has no page
SCRATCH = 1  # never read by a stream: rows that stand for none write here


class Page:
    """One place of a pool; given back when the last reference to it is dropped."""

    __slots__ = ("_pool", "index")

    def __init__(self, pool: "PagePool") -> None:
        self._pool = pool
        self.index = pool.take()

    def __del__(self) -> None:
        if hasattr(self, "index"):  # a full pool gave none
            self._pool.give_back(self.index)


class PagePool:
    """The free places of a buffer of `capacity` places, two of them reserved.

    Safe to use from several threads: a page may be dropped in any of them.
    """

    def __init__(self, capacity: int, what: str) -> None:
        assert capacity > SCRATCH + 1
        self.capacity, self._what = capacity, what
        self._free = deque(range(SCRATCH + 1, capacity))

    @property
    def free(self) -> int:
        return len(self._free)

    def take(self) -> int:
        """A free place; raises Overloaded when there is none."""
        try:
            return self._free.popleft()
        except IndexError:
            places = self.capacity - SCRATCH - 1
            raise Overloaded(f"all {places} {self._what} are in use; retry later") from None

    def give_back(self, index: int) -> None:
        self._free.append(index)

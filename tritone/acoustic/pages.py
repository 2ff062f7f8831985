"""Places of buffers of a fixed size, which streams hold and share."""

from collections import deque

from tritone.errors import Overloaded

EMPTY = 0  # never written: stands where a shorter stream has no page
SCRATCH = 1  # never read by a stream: rows that stand for none write here


class Page:
    """One place of a pool; free again when the last reference to it is dropped, in any thread."""

    __slots__ = ("_free", "index")

    def __init__(self, index: int, free: deque[int]) -> None:
        self.index, self._free = index, free

    def __del__(self) -> None:
        self._free.append(self.index)


class PagePool:
    """The free places of a buffer of `capacity` places, EMPTY and SCRATCH among them."""

    def __init__(self, places: int, what: str) -> None:
        self.capacity = SCRATCH + 1 + places
        self.free = deque(range(SCRATCH + 1, self.capacity))
        self._full = f"all {places} {what} are in use; retry later"

    def take(self) -> Page:
        """A free place; raises Overloaded when there is none."""
        try:
            index = self.free.popleft()
        except IndexError:
            raise Overloaded(self._full) from None
        return Page(index, self.free)

    def reserve(self, count: int) -> tuple[Page, ...]:
        """So many free places or, with Overloaded, none."""
        return tuple([self.take() for _ in range(count)])  # a list, so that an error drops them

"""Memory of slots: taken page by page where it is written, and given back slot by slot."""

import math
import mmap
from contextlib import suppress

import numpy as np

from tritone.arrays import Float32


class SlotMemory:
    """array: float32 of a shape whose first axis is slots, zeros at first.

    Pages are small ones, whatever the system has as a rule: a slot's heads lie far apart, and its
    first position would take nearly all that it may ever need.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        size = 4 * math.prod(shape)
        self._pages = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        with suppress(OSError):  # of a kernel that has no huge pages
            self._pages.madvise(mmap.MADV_NOHUGEPAGE)
        self.array: Float32 = np.frombuffer(self._pages, np.float32).reshape(shape)

    def clear(self, slot: int) -> None:
        """Give the system what a slot has taken, but for the pages that it shares with others. What
        it held is lost: it reads as zeros, or as it was."""
        size, page = self.array[slot].nbytes, mmap.PAGESIZE
        first, end = -(-slot * size // page) * page, (slot + 1) * size // page * page
        if first < end:
            self._pages.madvise(mmap.MADV_DONTNEED, first, end - first)

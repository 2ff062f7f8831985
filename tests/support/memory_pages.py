"""Which pages of an array the system has taken."""

import mmap
from pathlib import Path

import numpy as np

_KNOWN = 3 << 62  # of an entry of pagemap: the page is in memory, or on the disk


def pages(array: np.ndarray) -> np.ndarray:
    """Whether the system has taken each, of an array that begins and ends with one."""
    first, count = array.ctypes.data // mmap.PAGESIZE, array.nbytes // mmap.PAGESIZE
    with Path("/proc/self/pagemap").open("rb") as file:
        file.seek(8 * first)
        entries = np.frombuffer(file.read(8 * count), np.uint64)
    return (entries & np.uint64(_KNOWN)) > 0

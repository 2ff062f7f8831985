"""Memory of freed tensors stays with the process.

glibc gives every freed block of more than some hundred kilobytes back to the system, and the next
one is faulted in page by page: on a virtual machine that doubles the time of an elementwise
operator. Blocks of the size of activations are kept instead.
"""

import ctypes
import functools

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of mallopt(3)
_LARGEST_ACTIVATION = 64 << 20
_KEPT = 256 << 20  # bytes free at the heap's end before any of it is given back


@functools.cache
def keep_freed_activations() -> None:
    """Tell the C library, once; where it is not glibc nothing changes."""
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return
    mallopt(_MMAP_THRESHOLD, _LARGEST_ACTIVATION)
    mallopt(_TRIM_THRESHOLD, _KEPT)

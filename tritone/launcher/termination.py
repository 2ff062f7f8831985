"""The end of a command by a signal."""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def termination_as_exit(status: int = 128 + signal.SIGTERM) -> Iterator[None]:
    """Within it SIGTERM raises SystemExit, so that `with` blocks unwind as they do on SIGINT."""
    previous = signal.signal(signal.SIGTERM, lambda *_: sys.exit(status))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)

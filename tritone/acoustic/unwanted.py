"""Work that is given up between two of its parts, once nobody wants what comes of it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from tritone.errors import Cancelled


def never() -> bool:
    return False


_UNWANTED: ContextVar[Callable[[], bool]] = ContextVar("unwanted", default=never)


@contextmanager
def ending_when(unwanted: Callable[[], bool]) -> Iterator[None]:
    """Within, `check_wanted` asks this, and whatever it is within itself."""
    outer = _UNWANTED.get()
    token = _UNWANTED.set(lambda: unwanted() or outer())
    try:
        yield
    finally:
        _UNWANTED.reset(token)


def check_wanted() -> None:
    """Called between parts that take some hundredths of a second; raises Cancelled."""
    if _UNWANTED.get()():
        raise Cancelled

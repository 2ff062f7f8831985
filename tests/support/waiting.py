"""Time in tests: waiting for what happens however slow the machine is, and a clock that stands."""

import time
from collections.abc import Callable
from typing import TypeVar

import psutil

Found = TypeVar("Found")

HANG_S = 120.0
"""Only what hangs takes so long: a server started in 46 s beside fifteen busy processes."""


def wait_until(condition: Callable[[], Found], told: Callable[[], object] = str) -> Found:
    """The condition's first value that is true; what `told` gives is said when there is none."""
    deadline = time.monotonic() + HANG_S
    while not (found := condition()):
        assert time.monotonic() < deadline, told()
        time.sleep(0.005)
    return found


def is_running(pid: int) -> bool:
    """Neither gone nor dead and not waited for."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


class Clock:
    """Goes on only when it is moved."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def move(self, seconds: float) -> None:
        self.now += seconds

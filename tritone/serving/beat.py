"""What a model's process tells the launcher: that it lives, and whether its work goes on.

Between two of its beats, now and then, it gives back the memory that it has freed.
"""

import os
import select
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count

from tritone.memory import give_back
from tritone.variables import BEATS_VARIABLE

INTERVAL_S = 0.25
_TRIM_BEATS = 120


class Work:
    """Requests that this process works on, and how often one of them went on."""

    def __init__(self) -> None:
        self.running = self.progress = 0
        self._counting = threading.Lock()

    @contextmanager
    def request(self) -> Iterator[None]:
        """A request is worked on within."""
        self._count(1)
        try:
            yield
        finally:
            self._count(-1)

    def went_on(self) -> None:
        """Something of it is done."""
        self._count(0)

    def _count(self, change: int) -> None:
        with self._counting:
            self.running += change
            self.progress += 1


WORK = Work()
"""Of this process: each of Triton's Python models is one."""


def start() -> None:
    """Tell it in a thread from now on, where the launcher listens.

    A line is shorter than what a pipe takes at once, so lines of several processes do not mix; one
    that finds no room is dropped, as the launcher stands still then.
    """
    descriptor = os.environ.get(BEATS_VARIABLE)
    if descriptor:
        threading.Thread(target=_tell, args=(int(descriptor),), name="beat", daemon=True).start()


def is_heard() -> bool:
    """Whether the launcher still listens, where one began to."""
    descriptor = os.environ.get(BEATS_VARIABLE)
    if not descriptor:
        return True
    looking = select.poll()
    looking.register(int(descriptor), 0)  # an error is told all the same
    return not looking.poll(0)


def _tell(descriptor: int) -> None:
    for beat in count(1):
        if beat % _TRIM_BEATS == 0:
            give_back()
        line = f"{os.getpid()} {WORK.running} {WORK.progress}\n"
        try:
            os.write(descriptor, line.encode())
        except BlockingIOError:
            pass
        except OSError:
            return  # nobody listens any more
        time.sleep(INTERVAL_S)

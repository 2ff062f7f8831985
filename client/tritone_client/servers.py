"""Which of several servers is asked next; no I/O, so that both clients share it."""

import argparse
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from math import inf

from tritone_client.response import SpeechError

DEFAULT_URL = "127.0.0.1:8001"

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 5.0  # of a server that failed; each is twice the one before


def addresses(url: str | Sequence[str]) -> tuple[str, ...]:
    """host:port of each; url: one, several with commas between, or a sequence. Raises ValueError
    for none."""
    parts = url.split(",") if isinstance(url, str) else url
    found = tuple(dict.fromkeys(part.strip() for part in parts if part.strip()))
    if not found:
        raise ValueError(f"url: has no address in {url!r}; give host:port, or several")
    return found


def times(text: str) -> int:
    """A count; raises ValueError for what is none."""
    if (count := int(text)) < 0:
        raise ValueError(f"{count} is below 0")
    return count


def back_off(failures: int, draw: Callable[[], float]) -> float:
    """Seconds after so many failures in a row, 1 for the first. draw: 0 to 1, so that many callers
    do not come back all at once."""
    pause: float = min(FIRST_PAUSE_S * 2 ** min(failures - 1, 30), LONGEST_PAUSE_S)
    return pause * (0.5 + draw())


class Servers:
    """Each is asked in its turn. One that refuses or fails is left out for a pause: as long as it
    says itself, or twice as long with each failure. Safe to use from several threads."""

    def __init__(
        self,
        urls: Sequence[str],
        clock: Callable[[], float] = time.monotonic,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._clock, self._draw = clock, draw
        self._until = [0.0] * len(urls)  # when its pause ends
        self._failed = [0] * len(urls)  # in a row
        self._told = [-inf] * len(urls)  # when it last failed or refused
        self._next = 0
        self._choosing = threading.Lock()

    def __len__(self) -> int:
        return len(self._until)

    def choose(self) -> int:
        """The next one that is not left out; where all are, that whose pause ends first."""
        with self._choosing:
            turns = [(self._next + turn) % len(self) for turn in range(len(self))]
            now = self._clock()
            chosen = min(turns, key=lambda server: max(0.0, self._until[server] - now))
            self._next = (chosen + 1) % len(self)
            return chosen

    def pause(self) -> float:
        """Seconds until one of them is not left out."""
        return max(0.0, min(self._until) - self._clock())

    @contextmanager
    def asked(self, server: int, speaks: Callable[[], bool] = lambda: True) -> Iterator[None]:
        """Somebody asks it: what it answers decides whether it is left out. One that was silent
        until the caller's time was over has failed too. speaks: whether a good end says that it
        takes speech; not where the caller cancelled, or only asked what models there are."""
        began = self._clock()
        try:
            yield
        except SpeechError as error:
            if error.passes or error.status == "DEADLINE_EXCEEDED":
                self._leave_out(server, began, error.retry_after)
            raise
        if speaks():
            self._take_in(server, began)

    def _take_in(self, server: int, began: float) -> None:
        """What began before it failed says nothing of how it is now."""
        with self._choosing:
            if began > self._told[server]:
                self._failed[server], self._until[server] = 0, 0.0

    def _leave_out(self, server: int, began: float, seconds: float | None) -> None:
        with self._choosing:
            if seconds is not None:  # it refuses, and is well
                pause = seconds
            elif began < self._until[server]:
                return  # one loss ends many streams, and is one failure
            else:
                self._failed[server] += 1
                pause = back_off(self._failed[server], self._draw)
            self._told[server] = now = self._clock()
            self._until[server] = max(self._until[server], now + pause)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Those of the commands that say which servers speak."""
    add = parser.add_argument
    several = "gRPC address, or several with commas between, which are asked in turn (%(default)s)"
    add("--url", type=addresses, default=DEFAULT_URL, help=several)
    more = "times to ask again before the first packet; by default each further address once"
    add("--retries", type=times, metavar="N", help=more)
    resumed = "go on elsewhere where a server is lost in the middle of a speech"
    add("--resume", action="store_true", help=resumed)

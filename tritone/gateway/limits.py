"""How much a caller may ask for: requests a minute, and streams at a time. No I/O."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tritone.gateway.errors import ApiError

_MINUTE_S = 60.0
_SOCKETS_A_STREAM = 8  # WebSockets of a key, most of which are silent


class Places:
    """most: of streams, or what they are called, at a time; 0 is unlimited. whose: for messages,
    "this key" or so."""

    def __init__(self, most: int, whose: str, what: str = "streams") -> None:
        self.most, self._whose, self._what, self.taken = most, whose, what, 0

    @contextmanager
    def one(self) -> Iterator[None]:
        """A place, for as long as the block runs. Raises ApiError where there is none."""
        if self.most and self.taken >= self.most:
            raise ApiError(
                429,
                f"too_many_{self._what}",
                f"{self._whose} may have {self.most} {self._what} at a time, and has them; retry "
                "when one has ended",
                retry_after=1,
            )
        self.taken += 1
        try:
            yield
        finally:
            self.taken -= 1


class Rate:
    """A bucket of requests that fills up within a minute; per_minute 0 is unlimited."""

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.per_minute, self._clock = per_minute, clock
        self._left, self._when = float(per_minute), clock()

    def take(self) -> None:
        """One request. Raises ApiError, with the time to wait, where it is one too many."""
        if not self.per_minute:
            return
        now, a_second = self._clock(), self.per_minute / _MINUTE_S
        self._left = min(float(self.per_minute), self._left + (now - self._when) * a_second)
        self._when = now
        if self._left < 1:
            wait = (1 - self._left) / a_second
            raise ApiError(
                429,
                "rate_limit_exceeded",
                f"this key may send {self.per_minute} requests a minute; retry after {wait:.1f} s",
                retry_after=wait,
            )
        self._left -= 1


class Caller:
    """Who sends a request, by key; without keys everybody is the same one, who may do everything.

    name: of the key. voices: it may add and remove them; None: whoever is on this machine.
    """

    def __init__(
        self,
        name: str = "",
        requests_per_minute: int = 0,
        streams: int = 0,
        clock: Callable[[], float] = time.monotonic,
        voices: bool | None = None,
    ) -> None:
        self.name, self.voices = name, voices
        self.rate = Rate(requests_per_minute, clock)
        self.places = Places(streams, "this key")
        self.sockets = Places(_SOCKETS_A_STREAM * streams, "this key", "connections")

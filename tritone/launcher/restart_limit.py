"""How often, and after which pause, what has failed is started again."""

import time
from collections import deque
from collections.abc import Callable

HOUR_S = 3600.0
_QUIET_S = 60.0  # after which a failure is the first again
_FIRST_S, _LONGEST_S = 0.5, 30.0


class RestartLimit:
    """per_hour: restarts within any hour; 0: unlimited."""

    def __init__(self, per_hour: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_hour, self._clock = per_hour, clock
        self._times: deque[float] = deque()
        self._in_a_row = 0
        self.count = 0

    def pause(self) -> float | None:
        """Count a restart: the seconds to wait before it, or None when there were too many.

        The first of a row comes at once, the others after a pause that doubles.
        """
        now = self._clock()
        while self._times and self._times[0] <= now - HOUR_S:
            self._times.popleft()
        if self._per_hour and len(self._times) >= self._per_hour:
            return None
        quiet = not self._times or self._times[-1] <= now - _QUIET_S
        self._in_a_row = 0 if quiet else self._in_a_row + 1
        self._times.append(now)
        self.count += 1
        if not self._in_a_row:
            return 0.0
        return float(min(_LONGEST_S, _FIRST_S * 2 ** (self._in_a_row - 1)))

"""How often, and after which pause, what has failed is started again."""

import math
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
        self._rows: dict[str, tuple[float, int]] = {}  # last failure of each, and those before it
        self.count = 0

    def pause(self, what: str) -> float | None:
        """Count a restart of this: the seconds to wait before it, or None when there were too many,
        of whatever.

        The first of a row comes at once, the others after a pause that doubles.
        """
        now = self._clock()
        while self._times and self._times[0] <= now - HOUR_S:
            self._times.popleft()
        if self._per_hour and len(self._times) >= self._per_hour:
            return None
        last, before = self._rows.get(what, (-math.inf, 0))
        in_a_row = 0 if last <= now - _QUIET_S else before + 1
        self._rows[what] = now, in_a_row
        self._times.append(now)
        self.count += 1
        return float(min(_LONGEST_S, _FIRST_S * 2 ** (in_a_row - 1))) if in_a_row else 0.0

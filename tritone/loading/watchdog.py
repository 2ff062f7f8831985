"""Says when something takes too long, and where every thread stands then."""

import faulthandler
import math
import os
import threading
import time
from collections.abc import Callable

_STDERR = 2  # the file descriptor
_GRACE_S = 2.0  # for our thread to run, before faulthandler's takes over


class Watchdog:
    """Watches one thing at a time.

    When its limit is over, and again at intervals that double, `late` is called in a thread of this
    object and all Python stacks are written to stderr. Native code that keeps the interpreter's
    lock stops that thread too: faulthandler, which needs no lock, then writes the stacks alone, 2 s
    later. What is watched goes on. deadline_s: with it the process is ended, with exit status 1,
    when something takes that long; native code cannot be interrupted otherwise.

    faulthandler has one timer for the whole process; nobody else may use it meanwhile. clock: in
    seconds, for all but that timer.
    """

    def __init__(
        self,
        late: Callable[[], None],
        *,
        deadline_s: float = math.inf,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._late, self._deadline_s, self._clock = late, deadline_s, clock
        self._changed = threading.Condition()
        self._interval = 0.0
        self._due = self._end = math.inf  # for the next report; of the process
        self._closed = False
        self._thread: threading.Thread | None = None

    def watch(self, limit_s: float) -> None:
        """From now on watch something new, in the place of what was watched."""
        with self._changed:
            assert not self._closed, "the watchdog is closed"
            now = self._clock()
            self._interval = limit_s
            self._end = now + self._deadline_s
            self._set_alarm(now)
            self._changed.notify()
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)
                self._thread.start()

    def rest(self) -> None:
        """What was watched is done."""
        with self._changed:
            self._due = self._end = math.inf
            faulthandler.cancel_dump_traceback_later()
            self._changed.notify()

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self.rest()

    def _set_alarm(self, now: float) -> None:
        """For the next report, and for faulthandler in case that our thread cannot run."""
        self._due, ends = min(now + self._interval, self._end), self._end < math.inf
        wait = max(0.0, self._end - now) if ends else self._interval
        faulthandler.dump_traceback_later(wait + _GRACE_S, repeat=True, file=_STDERR, exit=ends)

    def _run(self) -> None:
        while self._wait_until_due():
            self._late()
            faulthandler.dump_traceback(file=_STDERR, all_threads=True)
            if self._is_over():
                # Triton waits for ever for the answer of a model that ends in the midst of a log
                # line (stub and server confirm each to the other)
                time.sleep(_GRACE_S / 2)
            if self._is_over():
                over = f"ended: it took longer than the deadline of {self._deadline_s:g} s\n"
                os.write(_STDERR, over.encode())
                os._exit(1)

    def _is_over(self) -> bool:
        with self._changed:
            return self._end < math.inf and self._clock() >= self._end

    def _wait_until_due(self) -> bool:
        """Sleep until something is late; false when closed."""
        with self._changed:
            while not self._closed:
                now = self._clock()
                if self._due <= now:
                    self._interval *= 2
                    self._set_alarm(now)
                    return True
                self._changed.wait(min(self._due - now, threading.TIMEOUT_MAX))
            return False

"""Keeps apart what Triton's Python backend cannot do at the same time.

In Triton 2.51 (the fix is from 2026) a process can deadlock when one thread starts a decoupled call
while another waits for a response of an earlier one: the first holds the interpreter and wants the
table of calls, the receiving thread holds the table and wants the waiting call, and that one wants
the interpreter. Waiting for responses is therefore shared, and starting a call is exclusive.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class CallGate:
    """Many may wait for responses; starting a call waits for them to return and goes first."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting = 0  # threads inside `receiving`
        self._starters = 0  # threads inside or before `starting`

    @contextmanager
    def receiving(self) -> Iterator[None]:
        with self._changed:
            self._changed.wait_for(lambda: not self._starters)
            self._waiting += 1
        try:
            yield
        finally:
            with self._changed:
                self._waiting -= 1
                self._changed.notify_all()

    @contextmanager
    def starting(self) -> Iterator[None]:
        with self._changed:
            self._starters += 1
            try:
                self._changed.wait_for(lambda: not self._waiting)
                yield  # with the lock, so that nobody else can come in
            finally:
                self._starters -= 1
                self._changed.notify_all()

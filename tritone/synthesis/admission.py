"""How many streams are spoken at a time."""

import threading
from collections.abc import Callable

from tritone.errors import Overloaded


class StreamAdmission:
    """Counts streams and refuses those beyond a limit. Safe to use from several threads.

    changed: called with the number of streams whenever it changes, in order.
    """

    def __init__(self, most: int, changed: Callable[[int], object] = lambda _: None) -> None:
        self._most, self._changed = most, changed
        self._streams, self._counting = 0, threading.Lock()

    def enter(self) -> None:
        """Count one stream more; raises Overloaded at the limit."""
        with self._counting:
            if self._streams >= self._most:
                raise Overloaded(f"{self._streams} streams are running, the limit; retry later")
            self._count(1)

    def leave(self) -> None:
        with self._counting:
            self._count(-1)

    def _count(self, more: int) -> None:
        self._streams += more
        self._changed(self._streams)

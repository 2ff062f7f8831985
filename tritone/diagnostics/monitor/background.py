"""Looking at a server while the terminal waits for keys."""

import threading
from collections.abc import Iterator

from tritone.diagnostics.monitor.observer import Snapshot


class Background(threading.Thread):
    """Keeps the newest of some snapshots; a server that answers late does not hold up keys."""

    def __init__(self, snapshots: Iterator[Snapshot]) -> None:
        super().__init__(daemon=True)
        self._snapshots = snapshots
        self._newest: Snapshot | None = None
        self._error: Exception | None = None

    def run(self) -> None:
        try:
            for snapshot in self._snapshots:
                self._newest = snapshot
        except Exception as error:
            self._error = error  # for `newest` to raise

    @property
    def ended(self) -> bool:
        """Whether `newest` is the last."""
        return not self.is_alive()

    def newest(self) -> Snapshot | None:
        """None before the first; raises what went wrong in looking."""
        if self._error is not None:
            raise self._error
        return self._newest

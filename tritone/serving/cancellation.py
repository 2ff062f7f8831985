"""Whether the caller of a request has gone."""

import time
from typing import Any

_LOOK_S = 0.02  # a look is a message to the server and back, up to a millisecond on a busy machine


class CallerWatch:
    """Over the sender of a request that has just come. Looks again only after `_LOOK_S`."""

    def __init__(self, sender: Any) -> None:
        self._sender, self._gone = sender, False
        self._looked = time.monotonic()

    def gone(self) -> bool:
        now = time.monotonic()
        if not self._gone and now - self._looked >= _LOOK_S:
            self._looked = now
            self._gone = bool(self._sender.is_cancelled())
        return self._gone

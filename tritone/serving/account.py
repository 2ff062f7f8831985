"""The account of every request: its timing record in the metrics and as one line of the log."""

import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import Any

from tritone.errors import Cancelled, InvalidRequest, Overloaded
from tritone.serving.speech_metrics import SpeechMetrics
from tritone.synthesis.timing import Timing

_OUTCOMES: dict[type[Exception], str] = {
    Cancelled: "cancelled",
    InvalidRequest: "refused",
    Overloaded: "overloaded",
}
_STDOUT = 1  # of the server: a model's process inherits it


class Account:
    """One request. id: the client's, or one of our own where it sent none."""

    def __init__(self, request_id: str, timing: Timing, metrics: SpeechMetrics) -> None:
        self.id = request_id or secrets.token_hex(8)
        self.timing = timing
        self._metrics, self._count = metrics, metrics.count()
        self._error: Exception | None = None

    def packet(self) -> None:
        """Audio was sent."""
        self._metrics.packet(self._count, self.timing)

    @contextmanager
    def noting(self) -> Iterator[None]:
        """Note how the request ends; the exception goes on."""
        try:
            yield
        except Exception as error:
            self._error = error
            raise

    def record(self) -> dict[str, Any]:
        """The timing record, with the id, the outcome so far and the error if there is one."""
        error = self._error
        outcome = "ok" if error is None else _OUTCOMES.get(type(error), "failed")
        said = {} if error is None else {"error": f"{type(error).__name__}: {error}"}
        return {"id": self.id, "outcome": outcome, **said, **self.timing.record()}

    def close(self) -> None:
        record = self.record()
        self._metrics.ended(self._count, self.timing, record)
        write_line(record)


def write_line(record: dict[str, Any]) -> None:
    """One line of JSON on the server's standard output, without the notes, which quote the text.

    Of a text that cannot be spoken at all the error may still quote words. In one system call, so
    that lines of other processes do not get in between.
    """
    stamp = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
    line = {"event": "speech", "time": stamp, **record}
    line.pop("notes")
    os.write(_STDOUT, (json.dumps(line) + "\n").encode())


@contextmanager
def account(request_id: str, timing: Timing, metrics: SpeechMetrics) -> Iterator[Account]:
    """The account of a request, closed when it has been answered."""
    kept = Account(request_id, timing, metrics)
    try:
        yield kept
    finally:
        kept.close()

"""The last errors that a server wrote to its log."""

import json
import os
from collections import deque
from dataclasses import dataclass
from pathlib import Path

_BACKLOG = 1 << 20  # bytes of the log that are read back at first
_ERRORS = ("failed", "refused", "overloaded")


@dataclass(frozen=True)
class SpeechError:
    """A request that ended badly. time: ISO 8601, UTC; "" where the line has none."""

    time: str
    id: str
    outcome: str
    error: str


class SpeechLog:
    """Follows a log in which each request that ended is a line of JSON among other lines."""

    def __init__(self, path: Path, keep: int = 5) -> None:
        self._path = path
        self._errors: deque[SpeechError] = deque(maxlen=keep)
        self._file: tuple[int, int] | None = None  # device and inode
        self._offset = 0
        self._rest = b""

    @property
    def errors(self) -> tuple[SpeechError, ...]:
        """The last ones, the oldest first."""
        return tuple(self._errors)

    def read(self) -> str | None:
        """Take in what was appended; returns what keeps it from that, None if nothing."""
        try:
            with self._path.open("rb") as log:
                status = os.fstat(log.fileno())
                file, size = (status.st_dev, status.st_ino), status.st_size
                if self._file is None:
                    self._offset = max(0, size - _BACKLOG)
                elif file != self._file or size < self._offset:  # another log
                    self._offset, self._rest = 0, b""
                self._file = file
                log.seek(self._offset)
                added = log.read()
        except OSError as error:
            return f"no log: {self._path}: {error.strerror}; name it with --log"
        self._offset += len(added)
        *lines, self._rest = (self._rest + added).split(b"\n")
        self._errors.extend(found for line in lines if (found := _error_in(line)))
        return None


def _error_in(line: bytes) -> SpeechError | None:
    try:
        record = json.loads(line) if line.startswith(b"{") else {}
    except ValueError:
        return None
    if record.get("event") != "speech" or record.get("outcome") not in _ERRORS:
        return None
    texts = (str(record.get(name) or "") for name in ("time", "id", "outcome", "error"))
    return SpeechError(*texts)

"""The server's own log: kept in a file, read only to say why it failed."""

import re
import sys
import threading
from pathlib import Path
from typing import IO

from tritone.loading.lines import StepState, states

_LOADING = re.compile(r'"loading: ([^:"]+):')
_LOADED = re.compile(r"\"successfully loaded '([^']+)'")
_FAILED = re.compile(r"\"failed to load '([^']+)' version \d+: (.+?)(?:\\n|\"?$)")
_FATAL = re.compile(
    r"^(?:error: |\S*tritonserver: )?"
    r"(failed to .+?|creating server: .+?|unrecognized option .+?)\s*$"
)


class ServerLog:
    """A log file of one server run, written by the server itself or, with `echo`, through us.

    The log of the run before stays beside it, with `.1` appended to its name.
    """

    def __init__(self, path: Path, echo: bool) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_file():
            path.replace(f"{path}.1")
        self.path = path
        self._file = path.open("wb")
        self._echo = echo
        self._copier: threading.Thread | None = None

    @property
    def wants_pipe(self) -> bool:
        """Whether the server is to write to a pipe, for `copy_from`, and not to `descriptor`."""
        return self._echo

    @property
    def descriptor(self) -> int:
        return self._file.fileno()

    def copy_from(self, pipe: IO[bytes]) -> None:
        """Copy the pipe to the file and to stderr, line by line, until its last writer is gone."""
        self._copier = threading.Thread(target=self._copy, args=(pipe,), daemon=True)
        self._copier.start()

    def _copy(self, pipe: IO[bytes]) -> None:
        with pipe:
            for line in pipe:
                self._file.write(line)
                self._file.flush()
                sys.stderr.buffer.write(line)
                sys.stderr.buffer.flush()

    def close(self) -> None:
        if self._copier is not None:
            self._copier.join()
        self._file.close()

    def tail(self, count: int = 15) -> str:
        """The last lines, without the tables that Triton draws."""
        lines = [line for line in self._lines() if line.strip() and line[0] not in "+|"]
        return "\n".join(lines[-count:])

    def loading(self) -> list[str]:
        """Models whose loading began and has not succeeded."""
        text = "\n".join(self._lines())
        loaded = set(_LOADED.findall(text))
        return sorted(name for name in set(_LOADING.findall(text)) if name not in loaded)

    def steps(self) -> dict[str, StepState]:
        """Model -> the step of loading that it is in, or failed in, of those that report steps."""
        return states(self._lines())

    def failures(self) -> dict[str, str]:
        """Model -> the first line of its own message, of every model that could not be loaded."""
        found = (_FAILED.search(line) for line in self._lines())
        return {match[1]: match[2] for match in found if match}

    def fatal(self) -> str | None:
        """The server's last word on why it does not run; None if it said nothing of the kind."""
        found = [match[1] for line in self._lines() if (match := _FATAL.match(line))]
        return found[-1] if found else None

    def _lines(self) -> list[str]:
        return self.path.read_text(encoding="utf-8", errors="replace").splitlines()

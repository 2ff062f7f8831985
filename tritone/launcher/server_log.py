"""The server's own log: kept in a file, read to say what it is loading and why it failed."""

import logging
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import IO

from tritone.errors import EnvironmentProblem
from tritone.loading.catalogue import STEPS, doctor_command
from tritone.loading.reports import StepState, states

_LOG = logging.getLogger(__name__)

FIRST_TOLD_S = 20.0
_NO_STEP = (
    "no step has begun: its process starts or imports its packages (C++ models tell no steps)"
)

_LOADING = re.compile(r'"loading: ([^:"]+):')
_LOADED = re.compile(r"\"successfully loaded '([^']+)'")
_FAILED = re.compile(r"\"failed to load '([^']+)' version \d+: (.+?)(?:\\n|\"?$)")
_FATAL = re.compile(
    r"^(?:error: |\S*tritonserver: )?"
    r"(failed to .+?|creating server: .+?|unrecognized option .+?)\s*$"
)
_CRASH = re.compile(rb"^Signal \((?:4|6|7|8|11)\) received", re.MULTILINE)
_CRASHES = (signal.SIGABRT, signal.SIGBUS, signal.SIGSEGV)
_LONGEST_CRASH_LINE = 30  # bytes, of which a look may have seen the beginning


class ServerLog:
    """A log file of one server run, written by the server itself or, with `echo`, through us, and
    read by its user alone.

    The log of the run before stays beside it, with `.1` appended to its name. Raises
    EnvironmentProblem where the file cannot be written.
    """

    def __init__(self, path: Path, echo: bool) -> None:
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.is_file():
                path.replace(f"{path}.1")
            path.touch(mode=0o600)
            self._file = path.open("wb")
        except OSError as error:
            raise EnvironmentProblem(
                f"the server's log {path} cannot be written ({error.strerror}); choose another "
                "--cache-dir (or TRITONE_CACHE), or --log-file"
            ) from error
        self._echo = echo
        self._looked = 0  # bytes that `tells_of_crash` has seen
        self._told = False
        self._copier: threading.Thread | None = None

    @property
    def descriptor(self) -> int:
        """What the server is to write to: the file, or for an echo a pipe, for `copy_from`."""
        return subprocess.PIPE if self._echo else self._file.fileno()

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
        lines = [line for line in self.lines() if line.strip() and line[0] not in "+|"]
        return "\n".join(lines[-count:])

    def loading(self) -> list[str]:
        """Models whose loading began and has not succeeded."""
        text = "\n".join(self.lines())
        loaded = set(_LOADED.findall(text))
        return sorted(name for name in set(_LOADING.findall(text)) if name not in loaded)

    def failures(self) -> dict[str, str]:
        """Model -> the first line of its own message, of every model that could not be loaded."""
        found = (_FAILED.search(line) for line in self.lines())
        return {match[1]: match[2] for match in found if match}

    def fatal(self) -> str | None:
        """The server's last word on why it does not run; None if it said nothing of the kind."""
        found = [match[1] for line in self.lines() if (match := _FATAL.match(line))]
        return found[-1] if found else None

    def tells_of_crash(self) -> bool:
        """Whether the server has written that a signal of a crash came.

        Triton then writes where it was, which takes memory: where memory itself is damaged, it
        waits for a lock of its own for ever.
        """
        with self.path.open("rb") as file:
            file.seek(max(0, self._looked - _LONGEST_CRASH_LINE))
            written = file.read()
            self._looked = file.tell()
        self._told |= bool(_CRASH.search(written))
        return self._told

    def lines(self) -> list[str]:
        return self.path.read_text(encoding="utf-8", errors="replace").splitlines()


class LoadProgress:
    """Tells of a start that lasts, at 20 s and at intervals that double, and names what was being
    loaded when it failed."""

    def __init__(self, log: ServerLog, model_dir: Path, profile: str) -> None:
        self._log, self._model_dir, self._profile = log, model_dir, profile
        self._began, self._told_after = time.monotonic(), FIRST_TOLD_S

    def tell(self) -> None:
        """Log what is loading, if it is time to."""
        if time.monotonic() - self._began < self._told_after:
            return
        _LOG.info(
            "still loading after %g s; the log is %s\n%s",
            self._told_after,
            self._log.path,
            "\n".join(self._loading(advise=False)) or "no model is being loaded",
        )
        self._told_after *= 2

    def crashed(self, status: int) -> bool:
        """Whether a server that ended before it was ready said nothing of what it lacks."""
        return -status in _CRASHES and not (self._log.failures() or self._log.fatal())

    def why_ended(self, status: int) -> str:
        """Of a server that ended before it was ready; status: negative for a signal."""
        reason = f"signal {-status}" if status < 0 else f"status {status}"
        failures = self._log.failures()
        causes = [f"model {name} failed to load: {text}" for name, text in failures.items()]
        if not causes:
            causes = [self._log.fatal() or "it gave no reason"]
        return "\n".join(
            [
                f"the Triton server ended at start ({reason}): {'; '.join(causes)}",
                *self._loading(begun=True),
                f"Last lines of {self._log.path}:\n{self._log.tail()}",
            ]
        )

    def why_late(self, limit_s: float) -> str:
        """Of a server that was not ready in time."""
        models = ", ".join(self._log.loading()) or "none is loading"
        late = (
            f"the Triton server was not ready after {limit_s:g} s; models not ready: {models}; see "
            f"{self._log.path}, or give it more time with --start-timeout"
        )
        return "\n".join([late, *self._loading()])

    def _loading(self, *, advise: bool = True, begun: bool = False) -> list[str]:
        """A line for each model that is not loaded yet: the step that it failed in, or is in and
        for how long.

        advise: with the likely cause and the doctor's command for all, not only for late ones.
        begun: only of models that are in a step, or failed in one.
        """
        steps, models = states(self._log.lines()), self._log.loading()
        lines = [(model, steps.get(model)) for model in models if not begun or model in steps]
        return [f"  {model}: {self._words(state, advise)}" for model, state in lines]

    def _words(self, state: StepState | None, advise: bool) -> str:
        check = STEPS[state.step].check if state else "python"
        doctor = f"examine: {doctor_command(check, self._model_dir, self._profile)}"
        if state is None:
            where = f"{_NO_STEP}, {time.monotonic() - self._began:.0f} s"
            return f"{where}; {doctor}" if advise else where
        if state.failed:
            return f"failed in the step {state.step}; {doctor}"
        seconds = time.time() - state.since
        where = f"in the step {state.step} for {seconds:.0f} s"
        if not advise and seconds <= state.limit_s:
            return where
        return f"{where}; likely cause: {STEPS[state.step].cause}; {doctor}"

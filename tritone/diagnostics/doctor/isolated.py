"""A process of its own for what may hang, crash or leave processes behind.

Its output goes to files, never to a pipe: a launcher that MPI leaves running inherits the output,
and a pipe would then never end (Open MPI's orted; open-mpi/ompi, singleton start).
"""

import inspect
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from tritone.diagnostics.doctor import child
from tritone.diagnostics.doctor.child import ANSWER

if TYPE_CHECKING:
    import psutil

_MARK = "DOCTOR"  # in the environment of the process and of all that it starts
_INTERRUPT_S = 0.5  # time for a late process to write its stacks
_KILL_S, _KILL_POLL_S = 5.0, 0.01  # killed processes have so long to die, looked at so often
_KEPT = 20_000  # characters of each output
_IMPORTING = Lock()


@dataclass(frozen=True)
class Outcome:
    """How it went.

    status: the exit status, negative for a signal; None: it was late and has been killed.
    output, error: what it wrote, from the end. When it was late, waiting: what its main thread
    waited for in the kernel, and children: the names of processes that it had started.
    """

    status: int | None
    seconds: float
    output: str
    error: str
    waiting: str = ""
    children: tuple[str, ...] = ()

    @property
    def late(self) -> bool:
        return self.status is None

    @property
    def answer(self) -> Any:
        """What a function that was called returned; raises StopIteration where it did not."""
        lines = reversed(self.output.splitlines())
        return json.loads(next(line for line in lines if line.startswith(ANSWER))[len(ANSWER) :])

    @property
    def last_line(self) -> str:
        """Of what it wrote to stderr, or else to stdout."""
        lines = [line for line in (self.output + "\n" + self.error).splitlines() if line.strip()]
        return lines[-1].strip() if lines else "no message"

    @property
    def frames(self) -> list[str]:
        """Of its main thread when it was late, as faulthandler writes them, the newest first."""
        _, _, main = self.error.rpartition("Current thread ")
        lines = [line.strip() for line in main.splitlines()]
        return [line for line in lines if line.startswith("File ") and "<frozen " not in line]

    @property
    def place(self) -> str:
        return self.frames[0] if self.frames else "native code"

    @property
    def wait(self) -> str:
        """What it waited for in the kernel, to be put behind other words."""
        return f", waiting in {self.waiting}" if self.waiting else ""


def command_of(function: Callable[..., object], *arguments: str) -> list[str]:
    """The command that calls a function of a module with texts, in a process of its own."""
    file = str(Path(inspect.getfile(function)).absolute())
    where = (function.__module__, file, function.__qualname__)
    return [sys.executable, child.__file__, *where, *arguments]


def call(
    function: Callable[..., object],
    *arguments: str,
    limit_s: float,
    environment: Mapping[str, str] | None = None,
) -> Outcome:
    """Call a function of a module in a process of its own; see `run_isolated`."""
    return run_isolated(command_of(function, *arguments), limit_s, environment)


def run_isolated(
    command: Sequence[str], limit_s: float, environment: Mapping[str, str] | None = None
) -> Outcome:
    """Run a command in a session of its own, for limit_s at most; then nothing of it is left.

    Where psutil is missing, what has left that session may stay. Raises FileNotFoundError where the
    command does not exist.
    """
    mark = f"{_MARK}_{uuid4().hex}"
    variables = {**(os.environ if environment is None else environment), mark: "1"}
    with tempfile.TemporaryDirectory(prefix="tritone-") as folder:
        output, error = Path(folder, "output"), Path(folder, "error")
        began = time.monotonic()
        with output.open("wb") as to_output, error.open("wb") as to_error:
            process = subprocess.Popen(
                command,
                env=variables,
                stdin=subprocess.DEVNULL,
                stdout=to_output,
                stderr=to_error,
                start_new_session=True,
            )
        status: int | None = None
        waiting, children = "", tuple[str, ...]()
        try:
            status = process.wait(limit_s)
        except subprocess.TimeoutExpired:
            waiting, children = _waits_in(process.pid), _names_below(process.pid)
            _ask_for_stacks(process)
        finally:
            _kill_all(process, mark)
        seconds = time.monotonic() - began
        return Outcome(status, seconds, _tail(output), _tail(error), waiting, children)


def _ask_for_stacks(process: "subprocess.Popen[bytes]") -> None:
    """A process that does not answer this signal is ended by it, which is as well."""
    with suppress(ProcessLookupError):
        process.send_signal(signal.SIGUSR2)
    with suppress(subprocess.TimeoutExpired):
        process.wait(_INTERRUPT_S)


def _kill_all(process: "subprocess.Popen[bytes]", mark: str) -> None:
    """The whole session, and what left it but carries the mark in its environment.

    A kill takes effect a little later, and what has not felt it may still start another process.
    """
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    killed, until = set["psutil.Process"](), time.monotonic() + _KILL_S
    while _has_psutil() and time.monotonic() < until:
        killed |= _kill_marked(mark)
        if not any(map(_lives, killed)):
            return
        time.sleep(_KILL_POLL_S)


def _has_psutil() -> bool:
    """One thread at a time: of two that import what breaks, one gets a half-made module."""
    with _IMPORTING, suppress(ImportError):
        import psutil  # noqa: F401

        return True
    return False


def _kill_marked(mark: str) -> set["psutil.Process"]:
    import psutil

    killed = set()
    for process in psutil.process_iter(["environ"]):
        if mark in (process.info["environ"] or ()):
            with suppress(psutil.Error):
                process.kill()
                killed.add(process)
    return killed


def _lives(process: "psutil.Process") -> bool:
    """Neither gone nor a dead process that its parent has not waited for."""
    import psutil

    with suppress(psutil.NoSuchProcess):
        return process.status() not in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
    return False


def _waits_in(pid: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{pid}/wchan").read_text().strip("0 \n")
    return ""


def _names_below(pid: int) -> tuple[str, ...]:
    """Names of the process's descendants."""
    if _has_psutil():
        import psutil

        with suppress(psutil.Error):  # it has just ended
            return tuple(child.name() for child in psutil.Process(pid).children(recursive=True))
    return ()


def _tail(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")[-_KEPT:]

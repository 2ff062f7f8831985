"""A process of its own for what may hang, crash or leave processes behind.

Its output goes to files, never to a pipe: a launcher that MPI leaves running inherits the output,
and a pipe would then never end (Open MPI's orted; open-mpi/ompi, singleton start).
"""

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

_PROC = Path("/proc")
_MARK = "TRITONE_ISOLATED"  # in the environment of the process and of all that it starts
_INTERRUPT_S = 0.5  # time for a late process to write its stacks
_KILL_S, _KILL_POLL_S = 5.0, 0.01  # killed processes have so long to die, looked at so often
_KEPT = 20_000  # characters of each output

STACKS_ON_SIGNAL = (
    "import faulthandler, signal, sys\n"
    "faulthandler.register(signal.SIGUSR2, file=sys.stderr, all_threads=True)\n"
)
"""Put in front of Python code: it writes the stacks of all threads to stderr when it is late."""


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
    def last_line(self) -> str:
        """Of what it wrote to stderr, or else to stdout."""
        lines = [line for line in (self.output + "\n" + self.error).splitlines() if line.strip()]
        return lines[-1].strip() if lines else "no message"


def run_isolated(
    command: Sequence[str], limit_s: float, environment: Mapping[str, str] | None = None
) -> Outcome:
    """Run a command in a session of its own, for limit_s at most; then nothing of it is left.

    Raises FileNotFoundError where the command does not exist.
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
    killed, until = set[int](), time.monotonic() + _KILL_S
    while time.monotonic() < until:
        killed |= _kill_marked(mark)
        if not any(_lives(pid) for pid in killed):
            return
        time.sleep(_KILL_POLL_S)


def _kill_marked(mark: str) -> set[int]:
    killed = set()
    for folder in _PROC.glob("[0-9]*"):
        with suppress(OSError):
            if f"{mark}=1".encode() in (folder / "environ").read_bytes():
                os.kill(int(folder.name), signal.SIGKILL)
                killed.add(int(folder.name))
    return killed


def _lives(pid: int) -> bool:
    """Neither gone nor a dead process that its parent has not waited for."""
    with suppress(OSError):
        return (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    return False


def _waits_in(pid: int) -> str:
    with suppress(OSError):
        return (_PROC / str(pid) / "wchan").read_text().strip("0 \n")
    return ""


def _names_below(pid: int) -> tuple[str, ...]:
    """Names of the process's descendants."""
    parents, names = {}, {}
    for folder in _PROC.glob("[0-9]*"):
        with suppress(OSError, IndexError, ValueError):
            head, _, rest = (folder / "stat").read_text().rpartition(")")
            names[int(folder.name)] = head.partition("(")[2]
            parents[int(folder.name)] = int(rest.split()[1])
    below, found = {pid}, []
    for child in sorted(parents):
        if parents[child] in below:
            below.add(child)
            found.append(names[child])
    return tuple(found)


def _tail(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")[-_KEPT:]

"""The processes of a server on this machine, by /proc (proc(5))."""

import os
import re
import time
from dataclasses import dataclass
from pathlib import Path

from tritone.server.model_processes import watch

_PROC = Path("/proc")
_EXECUTABLE = "tritonserver"
_PORT = re.compile(r"--http-port[= ](\d+)")
_DEFAULT_PORT = 8000
_START_TIME = 22 - 3  # field 22 of stat, the fields after the command's name beginning with 3


@dataclass(frozen=True)
class Processes:
    """pss_bytes: proportional set size, shared pages divided among those who share them; None where
    this user may not know it. count: how many processes."""

    count: int
    pss_bytes: int | None


def server_pid(http_port: int) -> int | None:
    """The Triton server of this machine with that HTTP port; None unless there is exactly one."""
    found = [int(path.name) for path in _PROC.glob("[0-9]*") if _serves(path, http_port)]
    return found[0] if len(found) == 1 else None


def uptime_s(pid: int) -> float | None:
    """Seconds since that process was started; None if it is gone."""
    try:
        fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    started = int(fields[_START_TIME]) / os.sysconf("SC_CLK_TCK")
    return time.clock_gettime(time.CLOCK_BOOTTIME) - started


def memory(pid: int) -> Processes:
    """Of that one process."""
    return Processes(1, _pss(pid))


def by_model(server: int) -> dict[str, Processes] | None:
    """Model -> its processes; None where a process ended while we looked."""
    pids: dict[str, list[int]] = {}
    try:
        watched = watch(server)
    except OSError:
        return None
    for descriptor, model in watched.items():
        pids.setdefault(model, []).append(_pid_of(descriptor))
        os.close(descriptor)
    return {model: _together(numbers) for model, numbers in pids.items()}


def _together(pids: list[int]) -> Processes:
    sizes = [_pss(pid) for pid in pids]
    known = [size for size in sizes if size is not None]
    return Processes(len(pids), sum(known) if len(known) == len(sizes) else None)


def _serves(process: Path, http_port: int) -> bool:
    try:
        arguments = (process / "cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    if Path(os.fsdecode(arguments[0])).name != _EXECUTABLE:
        return False
    named = _PORT.findall(b" ".join(arguments).decode(errors="replace"))
    return int(named[-1] if named else _DEFAULT_PORT) == http_port


def _pid_of(pidfd: int) -> int:
    """The process behind a pidfd, -1 once it is gone."""
    text = (_PROC / "self" / "fdinfo" / str(pidfd)).read_text()
    found = re.search(r"^Pid:\t(-?\d+)$", text, re.MULTILINE)
    assert found is not None, text
    return int(found[1])


def _pss(pid: int) -> int | None:
    try:
        text = (_PROC / str(pid) / "smaps_rollup").read_text()
    except OSError:  # gone, another user's, or a kernel without it
        return None
    found = re.search(r"^Pss: +(\d+) kB$", text, re.MULTILINE)
    return int(found[1]) * 1024 if found else None

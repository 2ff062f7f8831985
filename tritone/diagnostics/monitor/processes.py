"""The processes of a server on this machine, by /proc (proc(5))."""

import os
import re
import time
from dataclasses import dataclass
from pathlib import Path

from tritone.launcher.model_processes import model_processes

_PROC = Path("/proc")
_PSS = re.compile(r"^Pss: +(\d+) kB$", re.MULTILINE)
_START_TIME = 22 - 3  # field 22 of stat, where the fields after the command's name begin with 3


@dataclass(frozen=True)
class Processes:
    """count: how many. pss_bytes: their proportional set size, in which a page that several share
    is divided among them; None where this user may not know it."""

    count: int
    pss_bytes: int | None


def uptime_s(pid: int) -> float | None:
    """Seconds since that process was started; None if it is gone."""
    try:
        fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    started = int(fields[_START_TIME]) / os.sysconf("SC_CLK_TCK")
    return time.clock_gettime(time.CLOCK_BOOTTIME) - started


def memory(*pids: int) -> Processes:
    """Of these processes together."""
    sizes = [_pss(pid) for pid in pids]
    known = [size for size in sizes if size is not None]
    return Processes(len(pids), sum(known) if len(known) == len(sizes) else None)


def by_model(server: int) -> dict[str, Processes]:
    """Model -> its processes, of the models that have any."""
    pids: dict[str, list[int]] = {}
    for pid, model in model_processes(server).items():
        pids.setdefault(model, []).append(pid)
    return {model: memory(*numbers) for model, numbers in pids.items()}


def _pss(pid: int) -> int | None:
    try:
        found = _PSS.search((_PROC / str(pid) / "smaps_rollup").read_text())
    except OSError:  # gone, another user's, or a kernel without it
        return None
    return int(found[1]) * 1024 if found else None

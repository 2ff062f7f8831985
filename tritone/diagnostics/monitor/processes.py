"""The processes of a server on this machine.

psutil is imported where it is used: the doctor must run where it cannot be.
"""

import time
from dataclasses import dataclass

from tritone.launcher.model_processes import model_processes


@dataclass(frozen=True)
class Processes:
    """count: how many. pss_bytes: their proportional set size, in which a page that several share
    is divided among them; None where this user may not know it."""

    count: int
    pss_bytes: int | None


def uptime_s(pid: int) -> float | None:
    """Seconds since that process was started; None if it is gone."""
    import psutil

    try:
        return float(time.time() - psutil.Process(pid).create_time())
    except psutil.Error:
        return None


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
    import psutil

    try:
        return int(psutil.Process(pid).memory_full_info().pss)
    except psutil.Error:  # gone, or another user's
        return None

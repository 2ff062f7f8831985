"""The processes of a server on this machine, those of Triton's Python models among them.

Triton 2.51 stays up and ready when a model's process dies (out of memory, a crash in native code),
and from then on answers every request of that model with an error.

psutil is imported where it is used: the doctor must run where it cannot be.
"""

import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tritone.launcher.binaries import STUB


@dataclass(frozen=True)
class Processes:
    """count: how many. pss_bytes: their proportional set size, in which a page that several share
    is divided among them; None where this user may not know it."""

    count: int
    pss_bytes: int | None


def model_processes(server_pid: int) -> dict[str, list[int]]:
    """Model -> its processes that live, of every model of this server that has any.

    The stub's first argument is <repository>/<model>/<version>/model.py, and the last but one
    the instance, <model>_0_0. A process that only asks a model for its configuration, as the first
    of every load, has no such number.
    """
    import psutil

    found: dict[str, list[int]] = {}
    with suppress(psutil.NoSuchProcess):
        for process in psutil.Process(server_pid).children():
            with suppress(psutil.Error):
                command = process.cmdline()
                if command and command[0].endswith(STUB):
                    model = Path(command[1]).parents[1].name
                    if command[-2].startswith(f"{model}_"):
                        found.setdefault(model, []).append(process.pid)
    return found


def by_model(server_pid: int) -> dict[str, Processes]:
    """Model -> what its processes are, of the models that have any."""
    return {model: memory(*pids) for model, pids in model_processes(server_pid).items()}


def memory(*pids: int) -> Processes:
    """Of these processes together."""
    import psutil

    try:
        sizes = [int(psutil.Process(pid).memory_full_info().pss) for pid in pids]
    except psutil.Error:  # gone, or another user's
        return Processes(len(pids), None)
    return Processes(len(pids), sum(sizes))


def uptime_s(pid: int) -> float | None:
    """Seconds since that process was started; None if it is gone."""
    import psutil

    try:
        return float(time.time() - psutil.Process(pid).create_time())
    except psutil.Error:
        return None


def find_server(http_port: int) -> int | None:
    """The process of a Triton server whose command line names this port, listening or not yet."""
    import psutil

    for process in psutil.process_iter(["cmdline"]):
        command = process.info["cmdline"] or [""]
        if Path(command[0]).name == "tritonserver" and f"--http-port={http_port}" in command:
            return int(process.pid)
    return None

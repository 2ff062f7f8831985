"""The processes in which Triton's Python models run, so that the death of one is noticed.

Triton 2.51 stays up and ready when such a process dies (out of memory, a crash in native code), and
from then on answers every request of that model with an error.

psutil is imported where it is used: the doctor must run where it cannot be.
"""

import os
from contextlib import suppress
from pathlib import Path

from tritone.launcher.binaries import STUB


def watch(server_pid: int) -> dict[int, str]:
    """Descriptor -> model, for every model process of this server; readable once it has ended."""
    return {os.pidfd_open(pid): model for pid, model in model_processes(server_pid).items()}


def model_processes(server_pid: int) -> dict[int, str]:
    """Process -> model, for every model process of this server that lives.

    The stub's first argument is <repository>/<model>/<version>/model.py.
    """
    import psutil

    found = {}
    with suppress(psutil.NoSuchProcess):
        for process in psutil.Process(server_pid).children():
            with suppress(psutil.Error):
                command = process.cmdline()
                if command and command[0].endswith(STUB):
                    found[process.pid] = Path(command[1]).parents[1].name
    return found


def find_server(http_port: int) -> int | None:
    """The process of a Triton server whose command line names this port, listening or not yet."""
    import psutil

    for process in psutil.process_iter(["cmdline"]):
        command = process.info["cmdline"] or [""]
        if Path(command[0]).name == "tritonserver" and f"--http-port={http_port}" in command:
            return int(process.pid)
    return None

"""The processes in which Triton's Python models run, so that the death of one is noticed.

Triton 2.51 stays up and ready when such a process dies (out of memory, a crash in native code), and
from then on answers every request of that model with an error.
"""

import os
from pathlib import Path

from tritone.launcher.binaries import STUB

_PROC = Path("/proc")


def watch(server_pid: int) -> dict[int, str]:
    """Descriptor -> model, for every model process of this server; readable once it has ended."""
    return {os.pidfd_open(pid): model for pid, model in model_processes(server_pid).items()}


def model_processes(server_pid: int) -> dict[int, str]:
    """Process -> model, for every model process of this server that lives."""
    found = {int(p.name): _model_of(p, server_pid) for p in _PROC.glob("[0-9]*")}
    return {pid: model for pid, model in found.items() if model is not None}


def find_server(http_port: int) -> int | None:
    """The process of a Triton server whose command line names this port, listening or not yet."""
    for process in _PROC.glob("[0-9]*"):
        try:
            arguments = (process / "cmdline").read_bytes().split(b"\0")
        except OSError:  # it has just ended
            continue
        is_triton = Path(os.fsdecode(arguments[0])).name == "tritonserver"
        if is_triton and f"--http-port={http_port}".encode() in arguments:
            return int(process.name)
    return None


def _model_of(process: Path, server_pid: int) -> str | None:
    """The model that this process runs for that server; None for any other process.

    The stub's first argument is <repository>/<model>/<version>/model.py.
    """
    try:
        status = (process / "status").read_text()
        arguments = (process / "cmdline").read_bytes().split(b"\0")
    except (FileNotFoundError, ProcessLookupError):
        return None
    if f"\nPPid:\t{server_pid}\n" not in status or not arguments[0].endswith(STUB.encode()):
        return None
    return Path(os.fsdecode(arguments[1])).parents[1].name

"""The processes in which Triton's Python models run, so that the death of one is noticed.

Triton 2.51 stays up and ready when such a process dies (out of memory, a crash in native code), and
from then on answers every request of that model with an error.
"""

import os
from pathlib import Path

from tritone.server.binaries import STUB

_PROC = Path("/proc")


def watch(server_pid: int) -> dict[int, str]:
    """Descriptor -> model, for every model process of this server; readable once it has ended."""
    watched = {}
    for process in _PROC.glob("[0-9]*"):
        model = _model_of(process, server_pid)
        if model is not None:
            watched[os.pidfd_open(int(process.name))] = model
    return watched


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

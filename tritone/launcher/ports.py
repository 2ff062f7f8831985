"""Whether a TCP port is free, and which process has it if not."""

import errno
import os
import socket
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from tritone.errors import EnvironmentProblem

_PROC = Path("/proc")
_LISTEN = "0A"  # TCP_LISTEN in /proc/net/tcp (include/net/tcp_states.h)


def check_free(address: str, ports: dict[str, int]) -> None:
    """Raise EnvironmentProblem for the first of `ports` (service -> port) that cannot be bound."""
    if len(set(ports.values())) < len(ports):
        raise EnvironmentProblem(f"ports: {ports}; each service needs a port of its own")
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    for service, port in ports.items():
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((address, port))
                probe.listen(1)
            except (OSError, OverflowError) as error:
                raise EnvironmentProblem(_refusal(address, service, port, error)) from error


def _refusal(address: str, service: str, port: int, error: OSError | OverflowError) -> str:
    if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
        holder = holder_of(port) or UNSEEN
        return (
            f"the {service} port {port} is taken by {holder}; stop that process, "
            f"or choose another with --{service}-port or --port-base"
        )
    return f"cannot listen on {address}:{port} for {service}: {error}"


@dataclass(frozen=True)
class Holder:
    """A process that listens on a port; command: the first two words of its command line."""

    pid: int
    command: str

    def __str__(self) -> str:
        return f"process {self.pid} ({self.command})"


UNSEEN = "another process"
"""Another user's, or one outside of this container, whose sockets are not ours to see."""


def holder_of(port: int) -> Holder | None:
    """The process that listens on `port`; None where /proc does not tell this user."""
    inodes = {inode for table in ("tcp", "tcp6") for inode in _listeners(table, port)}
    for process in _PROC.glob("[0-9]*"):
        if _sockets(process) & inodes:
            return Holder(int(process.name), _command(process))
    return None


def _command(process: Path) -> str:
    try:
        words = (process / "cmdline").read_bytes().split(b"\0")
    except OSError:  # it has just ended
        return "ended"
    return b" ".join(words[:2]).decode(errors="replace").strip()


def _listeners(table: str, port: int) -> list[str]:
    """Socket inodes listening on `port`, from /proc/net/{tcp,tcp6} (proc(5))."""
    lines = _PROC / "net" / table
    if not lines.is_file():
        return []
    rows = [line.split() for line in lines.read_text().splitlines()[1:]]
    return [row[9] for row in rows if row[3] == _LISTEN and int(row[1].split(":")[1], 16) == port]


def _sockets(process: Path) -> set[str]:
    """Inodes of the sockets this process has open; none where it is gone or not ours to see."""
    inodes = set()
    try:
        for descriptor in (process / "fd").iterdir():
            target = os.readlink(descriptor)
            if target.startswith("socket:["):
                inodes.add(target[8:-1])
    except OSError:
        return inodes
    return inodes


def free_ports(address: str = "127.0.0.1") -> tuple[int, int, int]:
    """Three ports, for HTTP, gRPC and metrics, that nobody listens on now."""
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(3)]
        for probe in probes:
            probe.bind((address, 0))
        http, grpc, metrics = (probe.getsockname()[1] for probe in probes)
        return http, grpc, metrics

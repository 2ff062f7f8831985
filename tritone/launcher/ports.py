"""Whether a TCP port is free, and which process has it if not."""

import errno
import socket
from contextlib import ExitStack
from dataclasses import dataclass

from tritone.errors import EnvironmentProblem


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
                refusal = f"cannot listen on {address}:{port} for {service}: {error}"
                if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
                    refusal = (
                        f"the {service} port {port} is taken by {holder_of(port) or UNSEEN}; stop "
                        f"that process, or choose another with --{service}-port or --port-base "
                        "(make: PORT_BASE=9000)"
                    )
                raise EnvironmentProblem(refusal) from error


@dataclass(frozen=True)
class Holder:
    """A process that listens on a port; command: the first two words of its command line."""

    pid: int
    command: str

    def __str__(self) -> str:
        return f"process {self.pid} ({self.command})"


UNSEEN = "another process"  # of another user or container: its sockets are not ours to see


def holder_of(port: int) -> Holder | None:
    """The process that listens on `port`; None where this user may not know it."""
    import psutil  # here, as the doctor must run where it cannot be imported

    for connection in psutil.net_connections("tcp"):
        listens = connection.status == psutil.CONN_LISTEN and connection.laddr.port == port
        if listens and connection.pid:
            try:
                command = " ".join(psutil.Process(connection.pid).cmdline()[:2])
            except psutil.Error:  # it has just ended
                command = "ended"
            return Holder(connection.pid, command)
    return None


def free_ports(count: int = 3) -> tuple[int, ...]:
    """Different ones on loopback that nobody listens on now; of three: HTTP, gRPC, metrics."""
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return tuple(probe.getsockname()[1] for probe in probes)

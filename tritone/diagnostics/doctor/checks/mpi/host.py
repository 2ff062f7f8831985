"""What MPI needs of the machine: a short, writable temporary folder, a host name, a loopback."""

import os
import socket
import tempfile
import threading
import time

from tritone.diagnostics.doctor.check import Finding, check, passed
from tritone.diagnostics.doctor.checks.mpi.installation import CHECK_COMMAND, problem, why_not
from tritone.diagnostics.doctor.target import Target

SOCKET_PATH_BYTES = 108  # sockaddr_un.sun_path, unix(7), with the zero at its end
HOSTNAME_BYTES = 63  # one label of a name, RFC 1035
RESOLVE_S = 1.0
REFUSE_S = 0.1
_CONNECT_S = 2.0
_TRIES = 3
_PID_MAX = 4_194_304  # proc(5), 64-bit


@check("mpi.tmpdir")
def tmpdir(target: Target) -> Finding:
    """The folder where Open MPI keeps a session: TMPDIR, TEMP, TMP or /tmp, as it looks for it."""
    variable = next((name for name in ("TMPDIR", "TEMP", "TMP") if os.environ.get(name)), "")
    folder = os.environ.get(variable, "/tmp")
    said = f"{variable} {folder}" if variable else folder
    fix = f"export TMPDIR=/tmp; to check: {CHECK_COMMAND}.tmpdir"
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix="tritone-"):
            pass
    except OSError as error:
        if not variable:
            fix = "mkdir -p /tmp && chmod 1777 /tmp"
        return problem(target, f"{said}: no file can be made there ({error.strerror})", fix)
    # the longest session directory of Open MPI 4 (orte, session_dir.c)
    session = f"{folder}/ompi.{socket.gethostname()}.{os.getuid()}/pid.{_PID_MAX}/0/0"
    length = len(os.fsencode(session))
    if length >= SOCKET_PATH_BYTES:
        long = f"a session of Open MPI there is {length} bytes ({session})"
        text = f"{said} is too long: {long}; the limit is {SOCKET_PATH_BYTES - 1}"
        return problem(target, text, fix)
    return passed(f"{said} is writable; a session path of {length} bytes, below the limit")


@check("mpi.hostname", unless=why_not)
def hostname(target: Target) -> Finding:
    """The host's own name, which MPI resolves when it starts."""
    name = socket.gethostname()
    if len(name) > HOSTNAME_BYTES:
        text = f"the host name has {len(name)} bytes, {HOSTNAME_BYTES} are the limit: {name}"
        return problem(target, text, f"export PMIX_HOSTNAME={name.split('.')[0][:HOSTNAME_BYTES]}")
    answer: list[str] = []
    began = time.monotonic()
    resolver = threading.Thread(target=lambda: answer.append(_address(name)), daemon=True)
    resolver.start()
    resolver.join(RESOLVE_S)
    seconds = time.monotonic() - began
    fix = f'echo "127.0.0.1 {name}" >> /etc/hosts'
    if not answer:
        return problem(target, f"the host name {name} is not resolved in {RESOLVE_S:g} s", fix)
    if not answer[0]:
        return problem(target, f"the host name {name} does not resolve", fix)
    return passed(f"{name} is {answer[0]}, resolved in {1000 * seconds:.0f} ms")


def _address(name: str) -> str:
    """Of a host; empty if its name does not resolve."""
    try:
        return str(socket.getaddrinfo(name, None)[0][4][0])
    except OSError:
        return ""


@check("mpi.loopback")
def loopback(target: Target) -> Finding:
    """A connection to a closed port of 127.0.0.1 must be refused, and at once.

    Where it is swallowed, as on WSL with mirrored networking, MPI waits for ever for a daemon.
    """
    seconds, refused = min(_refusal() for _ in range(_TRIES))
    if refused and seconds <= REFUSE_S:
        return passed(f"a closed port of 127.0.0.1 refuses in {1000 * seconds:.1f} ms")
    how = f"{'refused only' if refused else 'not refused'} after {seconds:.2f} s"
    must = f"it must be within {REFUSE_S:g} s, or MPI waits for ever"
    wsl = "on WSL set networkingMode=nat in .wslconfig and run wsl --shutdown"
    return problem(
        target,
        f"a connection to a closed port of 127.0.0.1 is {how}; {must}",
        f"iptables -I INPUT -i lo -j ACCEPT; {wsl}; to check: {CHECK_COMMAND}.loopback",
    )


def _refusal() -> tuple[float, bool]:
    """Seconds of a connection to a port that was just closed, and whether it was refused."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = closed.getsockname()
    began = time.monotonic()
    try:
        with socket.create_connection(address, timeout=_CONNECT_S):
            refused = False
    except OSError as error:
        refused = isinstance(error, ConnectionRefusedError)
    return time.monotonic() - began, refused

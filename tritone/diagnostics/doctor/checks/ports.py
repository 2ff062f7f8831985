"""The server's three ports: free, taken by a server of ours that is ready, or in the way."""

from contextlib import suppress

from tritone.diagnostics.doctor.check import Finding, check, failure, passed, refused
from tritone.diagnostics.doctor.checks.server import is_ready
from tritone.diagnostics.doctor.target import Target
from tritone.errors import EnvironmentProblem
from tritone.launcher.ports import UNSEEN, check_free, holder_of

_BASES = range(8010, 9000, 10)


@check("ports.http")
def http(target: Target) -> Finding:
    return port(target, "http")


@check("ports.grpc")
def grpc(target: Target) -> Finding:
    return port(target, "grpc")


@check("ports.metrics")
def metrics(target: Target) -> Finding:
    return port(target, "metrics")


def port(target: Target, service: str) -> Finding:
    """service: http, grpc or metrics."""
    number, address = target.ports[service], target.addresses[service]
    try:
        check_free(address, {service: number})
    except EnvironmentProblem as error:
        problem = refused(error).text
    else:
        return passed(f"{address}:{number} is free")
    holder = holder_of(number)
    if is_ready(target) and holder == holder_of(target.http_port):
        server = f"a Triton server that is ready and has {target.family}"
        return passed(f"{address}:{number} is held by {server}: {holder or UNSEEN}")
    elsewhere = target.serve_command(free_base(target.address))
    if holder:
        return failure(problem, f"kill {holder.pid}  # or: {elsewhere}")
    return failure(problem, f"{elsewhere}, or another --address")


def free_base(address: str) -> int | None:
    """The first of three neighbouring ports that are free; None if none was found."""
    for base in _BASES:
        with suppress(EnvironmentProblem):
            check_free(address, {"http": base, "grpc": base + 1, "metrics": base + 2})
            return base
    return None

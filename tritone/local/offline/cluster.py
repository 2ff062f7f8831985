"""A Ray cluster: how it is reached, and how many workers fit into it."""

import os
import re
import secrets
import socket
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tritone.errors import EnvironmentProblem, InvalidRequest

LOCAL = "local"  # the address of a cluster of this machine that ends with the run
_REMOTE = re.compile(r"auto|(?P<host>[^/\s]+):(?P<port>\d{1,5})")
_CONNECT_S = 10.0
_USUAL_CORES = 4
_LOCAL_STORE = 80 << 20  # bytes; results go to files, not through Ray
# No usage reports; and Ray is to leave a worker without GPUs as it is, which it warns of otherwise.
_QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}


def import_ray(address: str) -> Any:
    """Ray's module, for `connected`. Raises EnvironmentProblem where it is not installed, and
    InvalidRequest for an address that is neither `local` nor `auto` nor HOST:PORT."""
    if address != LOCAL and not _REMOTE.fullmatch(address):
        raise InvalidRequest("--ray", f"is {address!r}; it must be local, auto or HOST:PORT")
    variables = dict(_QUIET)
    if address == LOCAL and "ray" not in sys.modules:  # which reads them when it is imported
        # Ray listens on all interfaces and runs what it is sent: none but us may send.
        variables |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    for name, value in variables.items():
        os.environ.setdefault(name, value)
    try:
        import ray
    except ImportError as error:
        problem = f"--ray needs Ray: pip install 'tritone[ray]' ({error})"
        raise EnvironmentProblem(problem) from error
    return ray


@contextmanager
def connected(ray: Any, address: str) -> Iterator[None]:
    """Ray's module is connected to a cluster.

    address: `local`, `auto`, or HOST:PORT of a head. Raises EnvironmentProblem where there is none.
    """
    try:
        ray.init(address, logging_level="ERROR", log_to_driver=False, **_ready_for(address))
    except (ConnectionError, OSError, RuntimeError, ValueError) as error:
        raise EnvironmentProblem(
            f"--ray: no cluster at {address}: {error}; start one with `ray start --head`, or give "
            f"{LOCAL} for this machine alone"
        ) from error
    try:
        yield
    finally:
        ray.shutdown()


def _ready_for(address: str) -> dict[str, Any]:
    """What else `ray.init` is given."""
    if address == LOCAL:
        return {"include_dashboard": False, "object_store_memory": _LOCAL_STORE}
    found = _REMOTE.fullmatch(address)
    if found and found["host"]:  # Ray would try for most of a minute
        at = (found["host"].strip("[]"), int(found["port"]))
        socket.create_connection(at, timeout=_CONNECT_S).close()
    return {}


@dataclass(frozen=True)
class Size:
    """workers, and of each: cores and gpus."""

    workers: int
    cores: int
    gpus: int


def size_of(
    nodes: Iterable[Mapping[str, Any]], *, on_gpu: bool, workers: int | None, cores: int | None
) -> Size:
    """How many workers to have. nodes: as Ray tells them. workers, cores: what was asked for.

    Without a wish a worker has a GPU and its share of the cores, or 4 cores, or fewer where a node
    has fewer or so many workers do not fit else; and there are as many workers as fit. Raises
    EnvironmentProblem where they do not.
    """
    alive = [node["Resources"] for node in nodes if node["Alive"]]
    rooms = [(int(room.get("CPU", 0)), int(room.get("GPU", 0))) for room in alive]
    rooms = [(cpus, gpus) for cpus, gpus in rooms if cpus and (gpus or not on_gpu)]
    shares = [cpus // gpus if on_gpu else min(_USUAL_CORES, cpus) for cpus, gpus in rooms]
    wanted, fit = workers or 1, 0
    for each in [cores] if cores else range(max(1, min(shares, default=1)), 0, -1):
        fit = sum(min(cpus // each, gpus) if on_gpu else cpus // each for cpus, gpus in rooms)
        if fit >= wanted:
            return Size(workers or fit, each, int(on_gpu))
    share = f"{cores or 1} core{'s' * ((cores or 1) > 1)}{' and a GPU' * on_gpu}"
    have = ", ".join(f"{cpus} and {gpus}" for cpus, gpus in rooms) or "none"
    raise EnvironmentProblem(
        f"--workers: {wanted} with {share} each do not fit into the cluster, {fit} do; cores "
        f"and GPUs of its nodes: {have}"
    )

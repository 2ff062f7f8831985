"""That a run writes to a place: for its workers, which look for it, and for other runs."""

import json
import os
import secrets
import socket
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import psutil

from tritone.errors import EnvironmentProblem
from tritone.local.offline.place import Place

_PREFIX = ".running-"


@contextmanager
def marked(place: Place) -> Iterator[str]:
    """The name of a file that is in the place while the run lasts. Its writing fails where results
    would, before any work."""
    name = f"{_PREFIX}{os.getpid()}-{secrets.token_hex(4)}"
    born = psutil.Process().create_time()
    run = {"host": socket.gethostname(), "pid": os.getpid(), "born": born}
    place.write(name, json.dumps(run).encode())
    try:
        yield name
    finally:
        place.remove(name)


def take_over(place: Place, names: Iterable[str], own: str, tell: Callable[[str], object]) -> bool:
    """Remove what runs have left that were killed; whether there is no other that may go on.

    names: of all files in the place. Raises EnvironmentProblem where another run of this machine
    goes on. Of a run of another machine nobody knows, which `tell` is told.
    """
    alone = True
    for name in names:
        if not name.startswith(_PREFIX) or name == own:
            continue
        host, pid, born = _run(place, name)
        if host != socket.gethostname():
            alone = False
            tell(f"--out: a run of {host} writes there too, or was killed: then remove {name}")
        elif _is_alive(pid, born):
            raise EnvironmentProblem(f"--out: another run (process {pid}) writes there; let it end")
        else:
            place.remove(name)
    if alone:
        place.clear_drafts()
    return alone


def _run(place: Place, name: str) -> tuple[str, int, float]:
    """Host, process and its birth; a file that does not say is of nobody."""
    try:
        run = json.loads(place.read(name))
        return str(run["host"]), int(run["pid"]), float(run["born"])
    except (FileNotFoundError, ValueError, TypeError, KeyError):
        return socket.gethostname(), 0, 0.0


def _is_alive(pid: int, born: float) -> bool:
    try:
        return bool(pid) and abs(psutil.Process(pid).create_time() - born) < 1
    except psutil.Error:
        return False

"""The Python that serves: its version and libraries, as Triton would start it."""

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from tritone.diagnostics.doctor.check import check
from tritone.diagnostics.doctor.checks.launcher import settings_of
from tritone.diagnostics.doctor.checks.python.imports import IMPORTS
from tritone.diagnostics.doctor.checks.python.requirements import DISTRIBUTION, version_of
from tritone.diagnostics.doctor.finding import Finding, failure, passed, skipped, warning
from tritone.diagnostics.doctor.target import Target
from tritone.launcher.binaries import Binaries, choose_stub, find, find_libpython
from tritone.launcher.checks import check_interpreter
from tritone.launcher.command import server_environment
from tritone.resources import checkout

VERSIONS = ((3, 10), (3, 12))
"""Oldest and newest; requires-python of pyproject.toml."""

_SETUP = "make setup"


@check("python.version")
def version(target: Target) -> Finding:
    here = sys.version_info[:2]
    name = f"Python {sys.version.split()[0]} ({sys.executable})"
    oldest, newest = (".".join(map(str, limit)) for limit in VERSIONS)
    if not VERSIONS[0] <= here <= VERSIONS[1]:
        return failure(
            f"{name}; {oldest} to {newest} is needed",
            f"make setup PYTHON=python{newest}  # after: rm -rf .venv",
        )
    if sys.prefix == sys.base_prefix:
        return warning(
            f"{name} is no virtual environment: what else is installed there may clash",
            f"{_SETUP}  # makes .venv; then run .venv/bin/python tritone doctor",
        )
    return passed(f"{name}; {oldest} to {newest} will do")


@check("python.triton")
def triton(target: Target) -> Finding:
    """The server's binaries, and a Python backend for this very Python."""
    binaries = find(target.wheel_dir)
    stub = choose_stub(binaries) if binaries.stubs else None
    if not os.access(binaries.executable, os.X_OK):
        return failure(
            f"{binaries.executable} cannot be executed", f"chmod +x {binaries.executable}"
        )
    kind = "of the wheel" if binaries.from_wheel else "on PATH"
    backend = f", Python backend {stub.parent.name}" if stub else ""
    return passed(f"tritonserver {kind}: {binaries.executable}{backend}")


@check("python.libpython")
def libpython(target: Target) -> Finding:
    """The shared library that the wheel's backend stub loads; an installed server brings one."""
    if not find(target.wheel_dir).from_wheel:
        return skipped("an installed Triton server brings its own libpython")
    return passed(str(find_libpython()))


@check("python.interpreter", limit_s=35.0)
def interpreter(target: Target) -> Finding:
    """The package and numpy, as Triton's backend stub will see them: isolated, from PATH."""
    binaries = find(target.wheel_dir)
    environment = server_environment(settings_of(target), binaries)
    check_interpreter(binaries, _backends(binaries), environment)
    found = shutil.which("python3", path=environment["PATH"])
    return passed(
        f"{found}, isolated: tritone {version_of(DISTRIBUTION)}, numpy {version_of('numpy')}"
    )


@check("python.path")
def path(target: Target) -> Finding:
    """Variables that Triton's interpreter ignores, and the scripts do not."""
    home, listed = os.environ.get("PYTHONHOME"), os.environ.get("PYTHONPATH", "")
    if home:
        return warning(
            f"PYTHONHOME={home}: the scripts take their libraries from there and the server from "
            f"{sys.prefix}",
            "unset PYTHONHOME",
        )
    folders = [Path(name or ".") for name in listed.split(os.pathsep)] if listed else []
    shadows = [str(place) for folder in folders for place in _modules_in(folder)]
    if shadows:
        return warning(
            f"PYTHONPATH puts {', '.join(shadows)} before what is installed, for the scripts alone",
            "unset PYTHONPATH",
        )
    return passed(f"PYTHONPATH {listed or 'not set'}: no module of a server is put before others")


def _modules_in(folder: Path) -> Iterator[Path]:
    """What a folder has under the name of a module that a server imports."""
    names = [] if folder.resolve() == checkout() else [DISTRIBUTION, "tritone_client"]
    for name in [*names, *IMPORTS]:
        places = (folder / name / "__init__.py", folder / f"{name}.py")
        yield from (place for place in places if place.is_file())


def _backends(binaries: Binaries) -> Path | None:
    """Where an installed server has its stub; the wheel's is chosen among several."""
    return None if binaries.stubs else binaries.backends

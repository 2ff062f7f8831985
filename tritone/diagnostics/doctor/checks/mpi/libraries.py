"""Which MPI library each of mpi4py, tensorrt_llm and NVIDIA's backend needs: it must be one."""

import ctypes
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tritone.diagnostics.doctor.check import Finding, check, passed, skipped
from tritone.diagnostics.doctor.checks.mpi import installation as mpi
from tritone.diagnostics.doctor.checks.mpi.installation import MPI4PY, TRTLLM, problem
from tritone.diagnostics.doctor.child import mpi_libraries
from tritone.diagnostics.doctor.elf import Library, read_library
from tritone.diagnostics.doctor.isolated import call
from tritone.diagnostics.doctor.target import Target

OPEN_MPI = "libmpi.so.40"  # of Open MPI 2 to 5
KINDS = {OPEN_MPI: "Open MPI", "libmpi.so.12": "MPICH", "libmpi_abi.so.0": "MPI's standard ABI"}
_MPI = re.compile(r"libmpi(_abi)?\.so\.\d+")
_REBUILD = (
    "build mpi4py against Open MPI: apt-get install libopenmpi-dev && MPICC=$(command -v mpicc) "
    f"python -m pip install --force-reinstall --no-cache-dir --no-binary {MPI4PY} '{MPI4PY}>=4'"
)
_INSTALL = (
    "apt-get install openmpi-bin; in NVIDIA's containers: export OPAL_PREFIX=/opt/hpcx/ompi "
    "LD_LIBRARY_PATH=/usr/local/mpi/lib:$LD_LIBRARY_PATH"
)
_LOAD_S = 5.0


@dataclass(frozen=True)
class Users:
    """The libraries that need an MPI library, by its name.

    fixed: those that take no other. offered: the extension modules of mpi4py, whose wheels have one
    for each MPI and load the one that is found. multi_device: whether tensorrt_llm's libraries need
    MPI; None where it is not installed.
    """

    fixed: dict[str, list[Library]]
    offered: dict[str, list[Library]]
    multi_device: bool | None


@check("mpi.libraries", unless=mpi.why_not)
def libraries(target: Target) -> Finding:
    """One MPI library for all, and the loader finds it."""
    try:
        users = find_users(target)
    except ValueError as error:
        return problem(target, str(error), "python -m pip install --force-reinstall its package")
    fixed, offered = users.fixed, users.offered
    if not fixed and not offered:
        return skipped(f"no library of {MPI4PY} or {TRTLLM} needs MPI")
    if len(fixed) > 1:
        both = [f"{_kind(name)} for {_names(needing)}" for name, needing in sorted(fixed.items())]
        text = f"two MPI libraries in one process: {'; '.join(both)}"
        return problem(target, text, _REBUILD)
    if fixed and offered and not fixed.keys() & offered.keys():
        (name,) = fixed
        there = ", ".join(map(_kind, sorted(offered)))
        text = f"{_names(fixed[name])} needs {_kind(name)}; {MPI4PY} has modules for {there} alone"
        return problem(target, text, _REBUILD)
    return _resolved(target, users)


def find_users(target: Target) -> Users:
    """What is installed, by its files; nothing is loaded."""
    mpi4py, trtllm = mpi.folder_of(MPI4PY), mpi.folder_of(TRTLLM)
    offered = _by_mpi(sorted(mpi4py.glob("MPI*.so")) if mpi4py else [])
    modules = [library.path for libraries in offered.values() for library in libraries]
    ours = [*trtllm.glob("libs/*.so"), *trtllm.glob("bindings*.so")] if trtllm else []
    multi_device = bool(_by_mpi(ours)) if ours else None
    fixed = sorted(ours)
    if backend := mpi.backend_library(target):
        fixed.append(backend)
    if len(modules) == 1:
        fixed += modules
    return Users(_by_mpi(fixed), offered, multi_device)


def _by_mpi(paths: Iterable[Path]) -> dict[str, list[Library]]:
    """Name of an MPI library -> those of the libraries that need it."""
    grouped: dict[str, list[Library]] = {}
    for library in map(read_library, paths):
        if name := next(filter(_MPI.fullmatch, library.needed), ""):
            grouped.setdefault(name, []).append(library)
    return grouped


def _resolved(target: Target, users: Users) -> Finding:
    """Load the one library that all take, or else one that mpi4py takes, as the loader would."""
    wanted = users.fixed or users.offered
    names = sorted(wanted, key=lambda name: name != OPEN_MPI)
    needing = [library for name in names for library in wanted[name]]
    beside = [folder / name for library in needing for folder in library.folders for name in names]
    candidates = [str(path) for path in dict.fromkeys(beside) if path.exists()]
    outcome = call(load_first, *candidates, *names, limit_s=_LOAD_S)
    if outcome.status != 0:
        why = f"not within {_LOAD_S:g} s" if outcome.late else outcome.last_line
        text = f"{_names(needing)} needs {' or '.join(map(_kind, names))}: {why}"
        return problem(target, text, _INSTALL)
    built = ""
    if users.multi_device is not None:
        built = f"; {TRTLLM} is built {'with' if users.multi_device else 'without'} multi-device"
    return passed(f"{' or '.join(map(_kind, names))}: {' '.join(outcome.answer)}{built}")


def load_first(*names: str) -> list[str]:
    """In a process of its own: load the first that can be, and say which MPI libraries came."""
    errors = []
    for name in names:
        try:
            ctypes.CDLL(name)
        except OSError as error:
            errors.append(str(error))
        else:
            return mpi_libraries()
    sys.exit("; ".join(errors))


def _kind(name: str) -> str:
    return f"{KINDS.get(name, 'an unknown MPI')} ({name})"


def _names(libraries: Iterable[Library]) -> str:
    return ", ".join(f"{lib.path.parent.name}/{lib.path.name}" for lib in libraries)

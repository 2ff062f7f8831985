"""What there is of MPI: packages, programs, who needs it, and the job a process may be part of.

TensorRT-LLM initialises MPI when it is imported (tensorrt_llm/_utils.py). Nothing else uses it.
"""

import importlib.machinery
import importlib.util
import os
import shutil
from pathlib import Path

from tritone.diagnostics.doctor.check import Finding, check, failure, passed, skipped, warning
from tritone.diagnostics.doctor.checks.python import version_of
from tritone.diagnostics.doctor.target import Target
from tritone.errors import EnvironmentProblem
from tritone.launcher.binaries import find
from tritone.launcher.profiles import TRTLLM_BACKEND, TRTLLM_PROFILES
from tritone.llm.trtllm.environment import is_inherited

TRTLLM, MPI4PY = "tensorrt_llm", "mpi4py"
CHECK_COMMAND = "tritone doctor --only mpi"
DEFAULT_BACKENDS = Path("/opt/tritonserver/backends")  # of an installed Triton server
MPI4PY_MAJOR = 4  # imports hung with 3.x: TensorRT-LLM issues 2172 and 2286
_REINSTALL = f"python -m pip install --force-reinstall '{MPI4PY}>={MPI4PY_MAJOR}'"
_ABIS = ("", ".openmpi", ".mpich", ".mpiabi")  # a wheel's module for each MPI (mpi4py, _mpiabi.py)
_DAEMONS = ("orted", "prted", "prterun")  # of Open MPI 4, of Open MPI 5
_LAUNCHERS = ("mpirun", "mpiexec", "orterun", *_DAEMONS)
_WITHOUT_EFFECT = ("ENABLE_MULTI_DEVICE", "TLLM_DISABLE_MPI")


def folder_of(package: str) -> Path | None:
    """Where a top-level package lies; None if it is not installed. It is not imported."""
    found = importlib.util.find_spec(package)
    folders = None if found is None else found.submodule_search_locations
    return Path(next(iter(folders))) if folders else None


def needs_package(target: Target) -> bool:
    """Whether what is to be served imports tensorrt_llm."""
    return target.profile in TRTLLM_PROFILES


def needs_mpi(target: Target) -> bool:
    """Whether what is to be served initialises MPI, in Python or in NVIDIA's C++ backend."""
    return needs_package(target) or target.profile == "gpu-backend"


def why_not(target: Target) -> str:
    """The reason to leave MPI alone; empty where it is installed or needed."""
    if needs_mpi(target) or folder_of(TRTLLM) is not None or folder_of(MPI4PY) is not None:
        return ""
    return f"profile {target.profile} needs no {TRTLLM}, and neither it nor {MPI4PY} is installed"


def problem(target: Target, text: str, fix: str) -> Finding:
    """A failure where MPI is needed, a warning where it is only there."""
    return failure(text, fix) if needs_mpi(target) else warning(text, fix)


def backend_library(target: Target) -> Path | None:
    """NVIDIA's C++ backend of the server that would be started; None if it has none."""
    try:
        backends = find(target.wheel_dir).backends or DEFAULT_BACKENDS
    except EnvironmentProblem:
        return None
    library = backends / TRTLLM_BACKEND
    return library if library.is_file() else None


def program(*names: str) -> Path | None:
    """The first of these programs on PATH or in $OPAL_PREFIX/bin."""
    prefix = os.environ.get("OPAL_PREFIX")
    path = os.environ.get("PATH", os.defpath) + (f"{os.pathsep}{prefix}/bin" if prefix else "")
    found = (shutil.which(name, path=path) for name in names)
    return next((Path(name) for name in found if name), None)


def leftovers() -> list[str]:
    """Names of variables here that tie a process to an MPI job."""
    return sorted(filter(is_inherited, os.environ))


def without_leftovers() -> tuple[str, ...]:
    """The start of a command that runs without them; empty if there are none."""
    names = leftovers()
    return ("env", *(part for name in names for part in ("-u", name))) if names else ()


@check("mpi.versions", unless=why_not)
def versions(target: Target) -> Finding:
    """mpi4py and tensorrt_llm by their metadata, and whether mpi4py is for this interpreter."""
    ours, folder = version_of(TRTLLM), folder_of(MPI4PY)
    trtllm = f"{TRTLLM} {ours or 'is not installed'}"
    if folder is None:
        text = f"{MPI4PY} is not installed; {trtllm}"
        if ours is None and not needs_package(target):
            return skipped(text)
        return problem(target, text, f"python -m pip install '{MPI4PY}>={MPI4PY_MAJOR}'")
    version = version_of(MPI4PY) or "of unknown version"
    text = f"{MPI4PY} {version}, {trtllm}"
    first = version.partition(".")[0]
    if first.isdecimal() and int(first) < MPI4PY_MAJOR:
        text = f"{text}; imports are known to hang with {MPI4PY} below {MPI4PY_MAJOR}"
        return problem(target, text, _REINSTALL)
    suffixes = importlib.machinery.EXTENSION_SUFFIXES
    modules = [folder / f"MPI{abi}{suffix}" for abi in _ABIS for suffix in suffixes]
    if not any(module.is_file() for module in modules):
        return problem(target, f"{text}; {folder} has no MPI*{suffixes[0]}", _REINSTALL)
    return passed(text)


@check("mpi.environment")
def environment(target: Target) -> Finding:
    """Variables of a launcher that this process is not part of."""
    names = leftovers()
    said = ", ".join(names)
    useless = [name for name in _WITHOUT_EFFECT if name in os.environ]
    note = f"; {' and '.join(useless)} cannot stop MPI at import" if useless else ""
    if not names:
        return passed(f"no variables of an MPI job{note}")
    if above := _launcher_above():
        return passed(f"{said}: this runs under {above}, whose they are{note}")
    job = f"a launcher (mpirun, srun) that this process is not part of: {said}{note}"
    text = f"left over from {job}. MPI looks for that job's daemon and hangs"
    command = " ".join(without_leftovers())
    serve = f"{command} tritone serve --profile {target.profile}"
    # Tritone's own model drops them before its import; the C++ backend runs in the server itself.
    report = failure if target.profile == "gpu-backend" else warning
    return report(text, f"{serve}; to check: {command} {CHECK_COMMAND}")


def _launcher_above() -> str:
    """Name of the MPI launcher that this process descends from; empty if there is none."""
    import psutil

    names = (parent.name() for parent in psutil.Process().parents())
    return next((name for name in names if name in _LAUNCHERS), "")


@check("mpi.launcher", unless=why_not)
def launcher(target: Target) -> Finding:
    """The daemon that Open MPI starts for a process without mpirun."""
    prefix = os.environ.get("OPAL_PREFIX")
    if prefix and not Path(prefix).is_dir():
        text = f"OPAL_PREFIX is {prefix}, which is no directory: Open MPI finds nothing of its own"
        return problem(target, text, "unset OPAL_PREFIX")
    found = program(*_DAEMONS)
    if found is None:
        places = "PATH" + (f" and {prefix}/bin" if prefix else "")
        text = "MPI started without mpirun has no daemon to talk to"
        exported = "export OPAL_PREFIX=/opt/hpcx/ompi PATH=/opt/hpcx/ompi/bin:$PATH"
        fix = f"apt-get install openmpi-bin, or where it is installed: {exported}"
        return warning(f"neither of {', '.join(_DAEMONS)} is in {places}: {text}", fix)
    return passed(f"{found}" + (f", OPAL_PREFIX {prefix}" if prefix else ""))

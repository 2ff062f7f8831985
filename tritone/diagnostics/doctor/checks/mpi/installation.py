"""What there is of MPI: packages, programs, and who needs it.

TensorRT-LLM initialises MPI when it is imported (tensorrt_llm/_utils.py). Nothing else uses it.
"""

import importlib.util
import os
import shutil
from pathlib import Path

from tritone.diagnostics.doctor.finding import Finding, failure, warning
from tritone.diagnostics.doctor.target import Target
from tritone.errors import EnvironmentProblem
from tritone.launcher.binaries import find
from tritone.launcher.profiles import TRTLLM_BACKEND, TRTLLM_PROFILES
from tritone.llm.trtllm.environment import is_inherited

TRTLLM, MPI4PY = "tensorrt_llm", "mpi4py"
CHECK_COMMAND = "python tritone doctor --only mpi"
DEFAULT_BACKENDS = Path("/opt/tritonserver/backends")  # of an installed Triton server


def folder_of(package: str) -> Path | None:
    """Where a top-level package lies; None if it is not installed. It is not imported."""
    found = importlib.util.find_spec(package)
    folders = None if found is None else found.submodule_search_locations
    return Path(next(iter(folders))) if folders else None


def major(version: str) -> int | None:
    """The first number of a version; None if it starts with none."""
    first = version.partition(".")[0]
    return int(first) if first.isdecimal() else None


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

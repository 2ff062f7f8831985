"""mpi4py and tensorrt_llm as they are installed, and the MPI job that a process may be part of."""

import importlib.machinery
import os
from pathlib import Path

from tritone.diagnostics.doctor.check import check
from tritone.diagnostics.doctor.checks.mpi.installation import (
    CHECK_COMMAND,
    MPI4PY,
    TRTLLM,
    folder_of,
    leftovers,
    major,
    needs_package,
    problem,
    program,
    why_not,
    without_leftovers,
)
from tritone.diagnostics.doctor.checks.python.requirements import version_of
from tritone.diagnostics.doctor.finding import Finding, failure, passed, skipped, warning
from tritone.diagnostics.doctor.target import Target

MPI4PY_MAJOR = 4  # imports hung with 3.x: TensorRT-LLM issues 2172 and 2286
_REINSTALL = f"python -m pip install --force-reinstall '{MPI4PY}>={MPI4PY_MAJOR}'"
_ABIS = ("", ".openmpi", ".mpich", ".mpiabi")  # a wheel's module for each MPI (mpi4py, _mpiabi.py)
_DAEMONS = ("orted", "prted", "prterun")  # of Open MPI 4, of Open MPI 5
_LAUNCHERS = ("mpirun", "mpiexec", "orterun", *_DAEMONS)
_WITHOUT_EFFECT = ("ENABLE_MULTI_DEVICE", "TLLM_DISABLE_MPI")


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
    number = major(version)
    if number is not None and number < MPI4PY_MAJOR:
        text = f"{text}; imports are known to hang with {MPI4PY} below {MPI4PY_MAJOR}"
        return problem(target, text, _REINSTALL)
    if not _built_for_this_python(folder):
        suffix = importlib.machinery.EXTENSION_SUFFIXES[0]
        return problem(target, f"{text}; {folder} has no MPI*{suffix}", _REINSTALL)
    return passed(text)


def _built_for_this_python(folder: Path) -> bool:
    suffixes = importlib.machinery.EXTENSION_SUFFIXES
    return any((folder / f"MPI{abi}{suffix}").is_file() for abi in _ABIS for suffix in suffixes)


@check("mpi.environment")
def environment(target: Target) -> Finding:
    """Variables of a launcher that this process is not part of."""
    names = leftovers()
    said = ", ".join(names)
    useless = [name for name in _WITHOUT_EFFECT if name in os.environ]
    note = f"; {' and '.join(useless)} cannot stop MPI at import" if useless else ""
    if not names:
        return passed(f"no variables of an MPI job{note}")
    if above := launcher_above():
        return passed(f"{said}: this runs under {above}, whose they are{note}")
    text = (
        f"left over from a launcher (mpirun, srun) that this process is not part of: {said}{note}. "
        "MPI looks for that job's daemon and hangs"
    )
    command = " ".join(without_leftovers())
    serve = f"{command} tritone serve --profile {target.profile}"
    # Tritone's own model drops them before its import; the C++ backend runs in the server itself.
    report = failure if target.profile == "gpu-backend" else warning
    return report(text, f"{serve}; to check: {command} {CHECK_COMMAND}")


def launcher_above() -> str:
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
        return warning(
            f"neither of {', '.join(_DAEMONS)} is in {places}: MPI started without mpirun has no "
            "daemon to talk to",
            "apt-get install openmpi-bin, or where it is installed: "
            "export OPAL_PREFIX=/opt/hpcx/ompi PATH=/opt/hpcx/ompi/bin:$PATH",
        )
    return passed(f"{found}" + (f", OPAL_PREFIX {prefix}" if prefix else ""))

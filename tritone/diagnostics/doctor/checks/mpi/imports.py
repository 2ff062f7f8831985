"""Imports that may never return, each in a process of its own, and what helps where one hangs.

The ways out are starts of a command line. They are tried all at once, as what they start waits for
something else than the processor, and only after the plain import has hung.
"""

import os
import shlex
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from tritone.diagnostics.doctor.check import Finding, check, passed, skipped, warning
from tritone.diagnostics.doctor.checks.mpi import installation as mpi
from tritone.diagnostics.doctor.checks.mpi.installation import (
    CHECK_COMMAND,
    MPI4PY,
    TRTLLM,
    problem,
)
from tritone.diagnostics.doctor.child import import_module
from tritone.diagnostics.doctor.isolated import Outcome, command_of, run_isolated
from tritone.diagnostics.doctor.target import Target
from tritone.llm.trtllm.environment import VERSION

ALONE = "OMPI_MCA_ess_singleton_isolated=1"
"""Open MPI 4: a process without mpirun starts no daemon (orte, ess_singleton)."""

UNDER_MPIRUN = ("-n", "1", "--allow-run-as-root")
BUILD_WITHOUT = (
    f"in a checkout of TensorRT-LLM v{VERSION}.0: python3 scripts/build_wheel.py --clean "
    "-D ENABLE_MULTI_DEVICE=0 && pip install --force-reinstall --no-deps build/tensorrt_llm-*.whl"
)
"""Takes MPI out of TensorRT-LLM's libraries; its Python code still imports mpi4py."""

_MPIRUN_S = 10.0


@dataclass(frozen=True)
class Import:
    """A module as code would import it, and seconds: at first, and again in each way out."""

    module: str
    statement: str
    first_s: float
    again_s: float


MPI4PY_IMPORT = Import("mpi4py.MPI", "from mpi4py import MPI", 15.0, 10.0)
TRTLLM_IMPORT = Import(TRTLLM, "import tensorrt_llm", 25.0, 18.0)


@check("mpi.mpirun", unless=mpi.why_not, limit_s=_MPIRUN_S + 2)
def mpirun(target: Target) -> Finding:
    """The launcher with a program that does nothing: it hangs where the machine is the cause."""
    launcher = mpi.program("mpirun")
    if launcher is None:
        text = "no mpirun in PATH or $OPAL_PREFIX/bin: one way out of a hanging import is missing"
        return warning(text, "apt-get install openmpi-bin")
    return launched((str(launcher), *UNDER_MPIRUN, "true"), target, _MPIRUN_S)


def launched(command: Sequence[str], target: Target, limit_s: float) -> Finding:
    outcome = run_isolated(command, limit_s)
    said = shlex.join(command)
    if outcome.late:
        text = f"`{said}` does not end within {limit_s:g} s{_waiting(outcome)}: not Python's fault"
        return problem(target, text, f"see mpi.environment, hostname, loopback: {CHECK_COMMAND}")
    if outcome.status != 0:
        text = f"`{said}` fails with status {outcome.status}: {outcome.last_line}"
        return problem(target, text, f"see all that it says: {said}")
    return passed(f"`{said}` took {outcome.seconds:.1f} s")


@check("mpi.import", limit_s=MPI4PY_IMPORT.first_s + MPI4PY_IMPORT.again_s + 3)
def import_mpi4py(target: Target) -> Finding:
    """mpi4py alone; where it hangs, tensorrt_llm cannot but hang too."""
    if mpi.folder_of(MPI4PY) is None and not mpi.needs_package(target):
        return skipped(mpi.why_not(target) or f"{MPI4PY} is not installed")
    return imported(MPI4PY_IMPORT, target)


@check("mpi.tensorrt_llm", limit_s=TRTLLM_IMPORT.first_s + TRTLLM_IMPORT.again_s + 3)
def import_tensorrt_llm(target: Target) -> Finding:
    """The import itself."""
    if mpi.folder_of(TRTLLM) is None and not mpi.needs_package(target):
        return skipped(f"profile {target.profile} needs no {TRTLLM}, and it is not installed")
    return imported(TRTLLM_IMPORT, target)


def imported(what: Import, target: Target) -> Finding:
    """Try an import, and where it hangs try it in each way out."""
    first = _run(what, (), what.first_s)
    if first.late:
        return _hangs(what, target, first)
    if first.status != 0:
        text = f"`{what.statement}` fails with status {first.status}: {first.last_line}"
        return problem(target, text, _repair(what, first))
    mapped = sorted({os.path.realpath(path) for path in first.answer})
    if len(mapped) > 1:
        text = f"`{what.statement}` loads two MPI libraries: {', '.join(mapped)}"
        return problem(target, text, f"{CHECK_COMMAND}.libraries")
    library = mapped[0] if mapped else "no MPI library"
    return passed(f"`{what.statement}` took {first.seconds:.1f} s and loaded {library}")


def ways_out() -> dict[str, tuple[str, ...]]:
    """What goes in front of the command, by what it is; the simplest first."""
    clean = mpi.without_leftovers()
    ways = {"without the launcher's variables": clean} if clean else {}
    ways["without a daemon"] = (*(clean or ("env",)), ALONE)
    if launcher := mpi.program("mpirun"):
        ways["under mpirun"] = (*clean, str(launcher), *UNDER_MPIRUN)
    return ways


def _run(what: Import, start: Sequence[str], limit_s: float) -> Outcome:
    return run_isolated([*start, *command_of(import_module, what.module)], limit_s)


def _hangs(what: Import, target: Target, first: Outcome) -> Finding:
    ways = ways_out()
    with ThreadPoolExecutor(len(ways)) as pool:
        again = pool.map(lambda start: _run(what, start, what.again_s), ways.values())
        outcomes = dict(zip(ways, again, strict=True))
    place = f"; it was in {first.frames[0]}" if first.frames else ""
    late = f"`{what.statement}` did not return within {what.first_s:g} s{place}{_waiting(first)}"
    tried = [f"{way} it {_told(outcome, what)}" for way, outcome in outcomes.items()]
    text = "; ".join([late, *tried])
    helpful = next((way for way, outcome in outcomes.items() if outcome.status == 0), "")
    return problem(target, text, _advice(target, shlex.join(ways.get(helpful, ())), what))


def _told(outcome: Outcome, what: Import) -> str:
    if outcome.late:
        return f"hangs too ({what.again_s:g} s)"
    if outcome.status != 0:
        return f"fails: {outcome.last_line}"
    return f"takes {outcome.seconds:.1f} s"


def _advice(target: Target, start: str, what: Import) -> str:
    """start: what helps in front of a command; empty where nothing does."""
    profile = target.profile if mpi.needs_mpi(target) else "gpu"
    serve = f"tritone serve --profile {profile}"
    if start:
        return f"{start} {serve}; to check: {start} {CHECK_COMMAND}"
    return (
        f"see whether it is only slow: timeout 600 python -c {shlex.quote(what.statement)}; "
        f"without MPI: {BUILD_WITHOUT}; to check: {CHECK_COMMAND}; or --profile gpu-torch"
    )


def _waiting(outcome: Outcome) -> str:
    """What a late process waited for in the kernel, and the processes below it."""
    below = f", with {', '.join(outcome.children)} below it" if outcome.children else ""
    return outcome.wait + below


def _repair(what: Import, outcome: Outcome) -> str:
    if "libmpi" in outcome.error:
        return f"{CHECK_COMMAND}.libraries mpi.launcher"
    if "No module named" in outcome.last_line:
        return "use NVIDIA's container, which has it, or --profile gpu-torch"
    return f"see the whole error: python -c {shlex.quote(what.statement)}"

"""Which tensorrt_llm is wanted, its import, and the environment of processes that import it.

Its import initialises MPI at once and may never return: by variables of a job that the process is
not part of (mpirun, srun or a scheduler's step started it) Open MPI looks for that job's daemon;
two MPI libraries, or a loopback that swallows connections, hang it too. So the variables are taken
away, and another process tries the import first.
"""

import importlib
import importlib.metadata
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from types import ModuleType

from tritone.errors import EnvironmentProblem
from tritone.loading.steps import step

PACKAGE = "tensorrt_llm"
VERSION = "0.20"
WHY_THIS_VERSION = (
    f"engines are built and run with TensorRT-LLM {VERSION} alone: other versions have other "
    "defaults and names, and the latest have no engines"
)

# Names of a job's variables. All but SLURM_* are what NVIDIA's LLM API model for Triton deletes
# before its import. Settings of the user (PMIX_MCA_*, other OMPI_MCA_*) are not among them.
_INHERITED = re.compile(
    r"OMPI_COMM_WORLD_(SIZE|RANK|LOCAL_SIZE|LOCAL_RANK|NODE_RANK)"
    r"|OMPI_(UNIVERSE_SIZE|FIRST_RANKS|APP_CTX_NUM_PROCS|MCA_orte_.*)"
    r"|PMIX_(RANK|NAMESPACE|VERSION|HOSTNAME|SECURITY_MODE|SYSTEM_TMPDIR)"
    r"|PMIX_(SERVER_(URI|URI2|URI21|URI3|TMPDIR)|(GDS|BFROPS|PTL)_MODULE)"
    r"|PMI_(RANK|SIZE|FD|SPAWNED|APPNUM)"
    r"|(ORTE|SLURM)_.*"
)


def is_inherited(name: str) -> bool:
    """Whether a variable of this name ties a process to a job that it is not part of."""
    return _INHERITED.fullmatch(name) is not None


def clean_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """A copy of `environment` (os.environ, say) without such variables."""
    return {name: value for name, value in environment.items() if not is_inherited(name)}


def is_supported(version: str) -> bool:
    """Whether engines of this TensorRT-LLM version can be built and served."""
    return version.split(".")[:2] == VERSION.split(".")


def installed_version() -> str:
    """Version of tensorrt_llm by its metadata; raises EnvironmentProblem when it is missing."""
    try:
        return importlib.metadata.version(PACKAGE)
    except importlib.metadata.PackageNotFoundError as error:
        raise EnvironmentProblem(
            f"the package {PACKAGE} is not installed: use NVIDIA's container, or the profile "
            "gpu-torch, which does without it"
        ) from error


def import_tensorrt_llm(seconds: float) -> ModuleType:
    """The package, after a trial import of at most `seconds` in a process of its own.

    Variables of an MPI job that this process is not part of are removed from os.environ first.
    Raises EnvironmentProblem when the import fails or hangs.
    """
    for name in filter(is_inherited, list(os.environ)):
        del os.environ[name]
    with step("TensorRT-LLM import"):
        _try_import(seconds)
        return importlib.import_module(PACKAGE)


def _try_import(seconds: float) -> None:
    """Raise EnvironmentProblem unless the import returns in another process."""
    python = sys.executable or shutil.which("python3") or "python3"
    # the interpreter that runs models inside Triton does not tell a child its sys.path
    statement = f"import sys; sys.path[:] = {sys.path}; import {PACKAGE}"
    with tempfile.TemporaryFile() as output:  # a daemon of MPI would hold a pipe open
        probe = subprocess.Popen(
            [python, "-c", statement],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            status = probe.wait(seconds)
        except subprocess.TimeoutExpired as error:
            os.killpg(probe.pid, signal.SIGKILL)  # with what MPI started
            probe.wait()
            raise EnvironmentProblem(
                f"import tensorrt_llm did not return within {seconds:g} s: MPI hangs in this "
                "container. Try `mpirun -n 1 --allow-run-as-root true`; if that hangs too, the "
                "cause is Open MPI or the loopback interface. Else start the server under "
                "`mpirun -n 1 --allow-run-as-root`, or use the profile gpu-torch"
            ) from error
        if status != 0:
            output.seek(0)
            last = output.read().decode(errors="replace").strip().splitlines()[-1:]
            raise EnvironmentProblem(
                f"import tensorrt_llm fails with status {status}: {''.join(last) or 'no message'}; "
                "repair the installation, or use the profile gpu-torch"
            )

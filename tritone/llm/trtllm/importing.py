"""Importing tensorrt_llm, whose import may never return.

It initialises MPI at once. In rented containers that can hang for ever: variables inherited from a
job, two MPI libraries, a loopback that swallows connections. So another process tries it first.
"""

import importlib
import importlib.metadata
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from types import ModuleType

from tritone.errors import EnvironmentProblem
from tritone.llm.trtllm.environment import is_inherited
from tritone.loading.steps import step

PACKAGE = "tensorrt_llm"
_PROBE = Path(__file__).with_name("import_probe.py")


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
    """Raise EnvironmentProblem unless the import returns in another process.

    Its output goes to a file: a daemon that MPI leaves behind would hold a pipe open.
    """
    python = sys.executable or shutil.which("python3") or "python3"
    with tempfile.TemporaryFile() as output:
        probe = subprocess.Popen(
            [python, str(_PROBE), json.dumps(sys.path)],
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

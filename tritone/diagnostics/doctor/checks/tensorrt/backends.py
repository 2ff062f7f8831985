"""The backends of the Triton server that would be started."""

from tritone.diagnostics.doctor.check import check
from tritone.diagnostics.doctor.checks.mpi.installation import DEFAULT_BACKENDS
from tritone.diagnostics.doctor.finding import Finding, failure, passed
from tritone.diagnostics.doctor.target import Target
from tritone.errors import EnvironmentProblem
from tritone.launcher.binaries import find
from tritone.launcher.profiles import TRTLLM_BACKEND

_BACKEND_FIX = "use NVIDIA's container (tag ...-trtllm-python-py3), or --profile gpu"


@check("tensorrt.backends")
def backends(target: Target) -> Finding:
    """The backends of the Triton server that would be started."""
    try:
        folder = find(target.wheel_dir).backends or DEFAULT_BACKENDS
    except EnvironmentProblem as error:
        return failure(str(error), "make setup")
    there = sorted(path.parent.name for path in folder.glob("*/libtriton_*.so"))
    text = f"{folder}: {', '.join(there) or 'none'}"
    if "python" not in there:
        return failure(f"{text}; every model needs the backend python", "make setup")
    if target.profile == "gpu-backend" and not (folder / TRTLLM_BACKEND).is_file():
        return failure(f"{text}; profile gpu-backend needs {TRTLLM_BACKEND}", _BACKEND_FIX)
    return passed(text)

"""The GPU: its driver, and what it can compute."""

import shutil

from tritone.diagnostics.doctor.check import check
from tritone.diagnostics.doctor.checks.gpu.driver import (
    LIBRARY,
    Driver,
    ask_driver,
    device_index,
    has_driver,
    why_not,
)
from tritone.diagnostics.doctor.finding import Finding, failure, passed, skipped, warning
from tritone.diagnostics.doctor.isolated import run_isolated
from tritone.diagnostics.doctor.target import Target
from tritone.errors import EnvironmentProblem
from tritone.launcher.profiles import DRIVER_FILES, torch_cuda

BFLOAT16_CAPABILITY = (8, 0)  # Ampere
_SMI = ("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader")
_SMI_S = 15.0
NO_GPU = (
    "in a container: docker run --gpus all, with nvidia-container-toolkit on the host; without a "
    "GPU: --profile cpu"
)


@check("gpu.driver", limit_s=35)
def driver(target: Target) -> Finding:
    """The driver answers, and is new enough for the CUDA that torch is built with."""
    if not has_driver():
        text = f"no NVIDIA driver: neither {' nor '.join(map(str, DRIVER_FILES))} exists"
        if target.on_gpu:
            return failure(text, NO_GPU)
        return skipped(f"{text}, and profile cpu needs none")
    report = failure if target.on_gpu else warning
    try:
        answer = ask_driver()
        answer.device(device_index())
    except EnvironmentProblem as error:
        return report(f"{LIBRARY}: {error}", f"nvidia-smi; {NO_GPU}")
    version, unknown = driver_version()
    names = ", ".join(gpu.name for gpu in answer.gpus)
    text = f"driver {version or 'of unknown version'} runs CUDA {_dotted(answer.cuda)}: {names}"
    if unknown and target.profile == "gpu":
        text = f"{text}; {unknown}, but engines are kept by the driver's version"
        return warning(text, "in a container: -e NVIDIA_DRIVER_CAPABILITIES=compute,utility")
    return _against_torch(text, answer) if target.on_gpu else passed(text)


def _against_torch(text: str, answer: Driver) -> Finding:
    """A driver runs every CUDA of its major version and of those before (NVIDIA's guide "CUDA
    Compatibility", minor version compatibility)."""
    built = torch_cuda()
    if built is None:
        return passed(text)
    if int(built.split(".")[0]) > answer.cuda[0]:
        ours = f"cu{answer.cuda[0]}{answer.cuda[1]}"
        return failure(
            f"{text}; torch is built for CUDA {built}, which this driver does not run",
            f"install a newer driver, or a build of torch for {ours}: "
            "https://pytorch.org/get-started/locally",
        )
    return passed(f"{text}; torch is built for CUDA {built}")


def driver_version() -> tuple[str, str]:
    """By nvidia-smi: the version, or "" and why it is not known."""
    if shutil.which(_SMI[0]) is None:
        return "", f"{_SMI[0]} is not on PATH"
    outcome = run_isolated(_SMI, _SMI_S)
    if outcome.late:
        return "", f"{_SMI[0]} does not end within {_SMI_S:g} s"
    if outcome.status != 0:
        return "", f"{_SMI[0]} fails: {outcome.last_line}"
    return outcome.output.split("\n")[0].strip(), ""


@check("gpu.capability", unless=why_not, limit_s=20)
def capability(target: Target) -> Finding:
    """What the GPU can compute: bfloat16 needs compute capability 8.0."""
    try:
        gpu = ask_driver().device(device_index())
    except EnvironmentProblem as error:
        return skipped(f"{error}: see gpu.driver")
    has, needs = _dotted(gpu.capability), _dotted(BFLOAT16_CAPABILITY)
    if gpu.capability < BFLOAT16_CAPABILITY:
        return failure(
            f"{gpu.name} has compute capability {has}; bfloat16, in which the models run on a GPU, "
            f"needs {needs} (Ampere)",
            "use a newer GPU, or --profile cpu",
        )
    return passed(f"{gpu.name}: compute capability {has}, at least {needs}: bfloat16")


def _dotted(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"

"""The GPU: its driver, what it can compute, what the models' processes share on it, torch."""

import os
import shutil
from pathlib import Path
from typing import Any

from tritone.diagnostics.doctor.check import Finding, check, failure, passed, skipped, warning
from tritone.diagnostics.doctor.checks.gpu import driver as nvidia
from tritone.diagnostics.doctor.isolated import call, run_isolated
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
PROCESSES = 3  # tensorrt_llm, token2wav, vocoder
CONTEXT_BYTES = 512 << 20  # of one process, for CUDA and its libraries; an estimate
WORKING_BYTES = 2 << 30  # keys and values of a few streams, scratch memory; an estimate
_WHO = "nvidia-smi --query-compute-apps=pid,process_name,used_memory --format=csv"
_CONTROL = "nvidia-cuda-mps-control"
_CONTROL_S = 5.0
_PIPES_VARIABLE, _PIPES = "CUDA_MPS_PIPE_DIRECTORY", "/tmp/nvidia-mps"
_TORCH_S = 40.0
_TORCH_BUILDS = "https://pytorch.org/get-started/locally"


@check("gpu.driver", limit_s=35)
def driver(target: Target) -> Finding:
    """The driver answers, and is new enough for the CUDA that torch is built with."""
    if not nvidia.has_driver():
        text = f"no NVIDIA driver: neither {' nor '.join(map(str, DRIVER_FILES))} exists"
        needless = f"{text}, and profile cpu needs none"
        return failure(text, NO_GPU) if target.on_gpu else skipped(needless)
    report = failure if target.on_gpu else warning
    try:
        answer = nvidia.ask_driver()
        answer.device(nvidia.device_index())
    except EnvironmentProblem as error:
        return report(f"{nvidia.LIBRARY}: {error}", f"nvidia-smi; {NO_GPU}")
    version, unknown = driver_version()
    names = ", ".join(gpu.name for gpu in answer.gpus)
    text = f"driver {version or 'of unknown version'} runs CUDA {_dotted(answer.cuda)}: {names}"
    if unknown and target.profile == "gpu":
        text = f"{text}; {unknown}, but engines are kept by the driver's version"
        return warning(text, "in a container: -e NVIDIA_DRIVER_CAPABILITIES=compute,utility")
    return _against_torch(text, answer) if target.on_gpu else passed(text)


def _against_torch(text: str, answer: nvidia.Driver) -> Finding:
    """A driver runs every CUDA of its major version and of those before (NVIDIA's guide "CUDA
    Compatibility", minor version compatibility)."""
    built = torch_cuda()
    if built is None:
        return passed(text)
    text = f"{text}; torch is built for CUDA {built}"
    if int(built.split(".")[0]) > answer.cuda[0]:
        ours = f"cu{answer.cuda[0]}{answer.cuda[1]}"
        fix = f"install a newer driver, or a build of torch for {ours}: {_TORCH_BUILDS}"
        return failure(f"{text}, which this driver does not run", fix)
    return passed(text)


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


@check("gpu.capability", unless=nvidia.why_not, limit_s=20)
def capability(target: Target) -> Finding:
    """What the GPU can compute: bfloat16 needs compute capability 8.0."""
    try:
        gpu = nvidia.ask_driver().device(nvidia.device_index())
    except EnvironmentProblem as error:
        return skipped(f"{error}: see gpu.driver")
    has, needs = _dotted(gpu.capability), _dotted(BFLOAT16_CAPABILITY)
    if gpu.capability < BFLOAT16_CAPABILITY:
        why = f"bfloat16, in which the models run on a GPU, needs {needs} (Ampere)"
        text = f"{gpu.name} has compute capability {has}; {why}"
        return failure(text, "use a newer GPU, or --profile cpu")
    return passed(f"{gpu.name}: compute capability {has}, at least {needs}: bfloat16")


def _dotted(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"


@check("gpu.memory", unless=nvidia.why_not, limit_s=20)
def memory(target: Target) -> Finding:
    """Free memory against the weights of the model directory and what serving takes beside them."""
    index = nvidia.device_index()
    try:
        answer = nvidia.ask_driver(memory_of=index)
        name = answer.device(index).name
    except EnvironmentProblem as error:
        return failure(f"no memory to be had on cuda:{index}: {error}", f"{_WHO}; see gpu.driver")
    assert answer.memory is not None, "it was asked for"
    free, total = answer.memory
    weights = weight_bytes(target.model_dir)
    least = weights + (PROCESSES - 1) * CONTEXT_BYTES  # the process that asked has its own already
    text = (
        f"{name}: {_gib(free)} of {_gib(total)} free; {PROCESSES} processes with {_gib(weights)} "
        f"of weights take {_gib(least)}, and streams about {_gib(WORKING_BYTES)}"
    )
    if free < least:
        return failure(text, f"stop what uses it: {_WHO}")
    if free < least + WORKING_BYTES:
        lower = "set cache_mb and left_context_chunks in model_repo/token2wav/config.pbtxt"
        return warning(text, f"stop what uses it ({_WHO}), or {lower}")
    return passed(text)


def weight_bytes(model_dir: Path) -> int:
    """Of the files that go to the GPU: flow, vocoder and language model, as far as they exist."""
    files = [*model_dir.glob("*.safetensors"), *model_dir.glob("llm/model.safetensors")]
    return sum(file.stat().st_size for file in files)


def _gib(nbytes: int) -> str:
    return f"{nbytes / 2**30:.1f} GiB"


@check("gpu.mps", unless=nvidia.why_not, limit_s=30)
def mps(target: Target) -> Finding:
    """NVIDIA's Multi-Process Service, through which processes use the GPU at the same time."""
    pipes = Path(os.environ.get(_PIPES_VARIABLE, _PIPES))
    if not pipes.is_dir():
        text = f"no MPS: {pipes} does not exist; the models' processes take turns on the GPU"
        unset = f"unset {_PIPES_VARIABLE}, or " if _PIPES_VARIABLE in os.environ else ""
        return warning(text, f"{unset}before the server starts: {_CONTROL} -d")
    if not os.access(pipes, os.W_OK | os.X_OK):
        whose = f"{pipes} belongs to user {pipes.stat().st_uid}"
        text = f"{whose}, and user {os.getuid()} may not write there"
        fix = f"run as that user, or without MPS: export {_PIPES_VARIABLE}=/nonexistent"
        return failure(f"{text}: MPS serves the processes of one user", fix)
    if shutil.which(_CONTROL) is not None and (fault := _daemon_fault(pipes)):
        return fault
    return _attached(pipes)


def _daemon_fault(pipes: Path) -> Finding | None:
    outcome = run_isolated(["sh", "-c", f"echo get_server_list | {_CONTROL}"], _CONTROL_S)
    dead = "Cannot find MPS control daemon" in outcome.output + outcome.error
    if outcome.status != 0 or dead:
        how = f"not within {_CONTROL_S:g} s" if outcome.late else outcome.last_line
        text = f"{pipes} is there, but the daemon of MPS does not answer ({how})"
        fix = f"rm -r {pipes}, or start it: {_CONTROL} -d"
        return failure(f"{text}: CUDA may hang or fail when it starts", fix)
    return None


def _attached(pipes: Path) -> Finding:
    """Whether a process that starts here, as the server's do, would use the GPU through it."""
    try:
        gpu = nvidia.ask_driver().device(nvidia.device_index())
    except EnvironmentProblem as error:
        return failure(f"CUDA does not start with the pipes in {pipes}: {error}", "see gpu.driver")
    if gpu.mps is None:
        return passed(f"{pipes} is there; this driver is too old to say whether MPS is used")
    if not gpu.mps:
        text = f"{pipes} is there, but processes do not use the GPU through MPS"
        return warning(f"{text}: they take turns on it", f"before the server starts: {_CONTROL} -d")
    share = os.environ.get("CUDA_MPS_ACTIVE_THREAD_PERCENTAGE")
    limit = f"; each process gets {share} % of the GPU's threads" if share else ""
    return passed(f"processes use the GPU through MPS, pipes in {pipes}{limit}")


@check("gpu.torch", unless=nvidia.why_not, limit_s=_TORCH_S + 5)
def torch(target: Target) -> Finding:
    """torch is built with CUDA, sees the device and computes on it."""
    return torch_computes(f"cuda:{nvidia.device_index()}", _TORCH_S)


def torch_computes(device: str, limit_s: float) -> Finding:
    outcome, see_driver = call(product, device, limit_s=limit_s), "tritone doctor --only gpu.driver"
    if outcome.late:
        text = f"torch did not compute on {device} within {limit_s:g} s{outcome.wait}"
        return failure(text, f"{see_driver} gpu.mps")
    if outcome.status != 0:
        return failure(f"torch on {device}: {outcome.last_line}", see_driver)
    seen = outcome.answer
    if seen["cuda"] is None:
        fix = f"install a CUDA build ({_TORCH_BUILDS}), or --profile cpu"
        return failure(f"torch {seen['version']} is built for the CPU alone", fix)
    text = f"torch {seen['version']} for CUDA {seen['cuda']}"
    if not seen["names"]:
        return failure(f"{text} sees no GPU", f"{see_driver}; {NO_GPU}")
    return passed(f"{text} sees {', '.join(seen['names'])}; products on {device} are right")


def product(device: str) -> dict[str, Any]:
    """In a process of its own: a product of matrices in bfloat16, and what torch sees."""
    import torch

    if torch.cuda.is_available():
        tensor = torch.ones(256, 256, device=device, dtype=torch.bfloat16)
        assert float((tensor @ tensor)[0, 0]) == 256, "a product of ones in bfloat16 is wrong"
    names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return {"version": torch.__version__, "cuda": torch.version.cuda, "names": names}

"""What the models' processes share on the GPU: its memory, and its time (MPS)."""

import os
import shutil
from pathlib import Path

from tritone.diagnostics.doctor.check import check
from tritone.diagnostics.doctor.checks.gpu.driver import ask_driver, device_index, why_not
from tritone.diagnostics.doctor.finding import Finding, failure, passed, skipped, warning
from tritone.diagnostics.doctor.isolated import run_isolated
from tritone.diagnostics.doctor.target import Target
from tritone.errors import EnvironmentProblem

PROCESSES = 3  # tensorrt_llm, token2wav, vocoder
CONTEXT_BYTES = 512 << 20  # of one process, for CUDA and its libraries; an estimate
WORKING_BYTES = 2 << 30  # keys and values of a few streams, scratch memory; an estimate
_WHO = "nvidia-smi --query-compute-apps=pid,process_name,used_memory --format=csv"
_CONTROL = "nvidia-cuda-mps-control"
_CONTROL_S = 5.0
_PIPES_VARIABLE, _PIPES = "CUDA_MPS_PIPE_DIRECTORY", "/tmp/nvidia-mps"


@check("gpu.memory", unless=why_not, limit_s=20)
def memory(target: Target) -> Finding:
    """Free memory against the weights of the model directory and what serving takes beside them."""
    index = device_index()
    try:
        answer = ask_driver(memory_of=index)
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


@check("gpu.mps", unless=why_not)
def mps(target: Target) -> Finding:
    """NVIDIA's Multi-Process Service, through which processes use the GPU at the same time."""
    pipes = Path(os.environ.get(_PIPES_VARIABLE, _PIPES))
    if not pipes.is_dir():
        text = f"no MPS: {pipes} does not exist; the models' processes take turns on the GPU"
        if _PIPES_VARIABLE in os.environ:
            return warning(text, f"unset {_PIPES_VARIABLE}, or: {_CONTROL} -d")
        return skipped(text)
    if not os.access(pipes, os.W_OK | os.X_OK):
        return failure(
            f"{pipes} belongs to user {pipes.stat().st_uid}, and user {os.getuid()} may not write "
            "there: MPS serves the processes of one user",
            f"run as that user, or without MPS: export {_PIPES_VARIABLE}=/nonexistent",
        )
    if shutil.which(_CONTROL) is None:
        return passed(f"{pipes} is there; without {_CONTROL} on PATH its state is not known")
    return _daemon(pipes)


def _daemon(pipes: Path) -> Finding:
    outcome = run_isolated(["sh", "-c", f"echo get_server_list | {_CONTROL}"], _CONTROL_S)
    dead = "Cannot find MPS control daemon" in outcome.output + outcome.error
    if outcome.status != 0 or dead:
        how = f"not within {_CONTROL_S:g} s" if outcome.late else outcome.last_line
        return failure(
            f"{pipes} is there, but the daemon of MPS does not answer ({how}): CUDA may hang or "
            "fail when it starts",
            f"rm -r {pipes}, or start it: {_CONTROL} -d",
        )
    share = os.environ.get("CUDA_MPS_ACTIVE_THREAD_PERCENTAGE")
    limit = f"; each process gets {share} % of the GPU's threads" if share else ""
    return passed(f"MPS runs, pipes in {pipes}{limit}")

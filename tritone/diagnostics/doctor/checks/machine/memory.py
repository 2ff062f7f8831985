"""Main memory against what the processes and the weights of a server take."""

import re

from tritone.diagnostics.doctor.check import Finding, check, failure, passed, skipped, warning
from tritone.diagnostics.doctor.checks.machine.control_groups import ControlGroups
from tritone.diagnostics.doctor.checks.model import no_model
from tritone.diagnostics.doctor.target import Target
from tritone.launcher.model_processes import find_server

_GIB = 2**30

PROCESSES_BYTES = 1.1 * _GIB
"""All of a server of the embedded voice, after some hundred utterances: README, Measured."""

WORKING_FACTOR = 2.5
"""Bytes on top for each byte of weights that is read, a stream's caches included: full size took
3.4 GiB with 0.95 GB of weights and one stream (docs/performance.md)."""


@check("machine.memory")
def memory(target: Target) -> Finding:
    free, facts = available_memory()
    if problem := no_model(target):
        return skipped(f"{facts}; what is needed is not known: {problem}")
    if (server := find_server(target.http_port)) is not None:
        return passed(f"{facts}; the server of process {server} runs and has its own")
    return memory_for(weight_bytes(target), free, facts)


def memory_for(weights: int, free: int, facts: str) -> Finding:
    """weights: bytes that a server reads. free: bytes that it can have; facts: both, in words."""
    wanted = PROCESSES_BYTES + WORKING_FACTOR * weights
    weights_too = f"{WORKING_FACTOR:g} times {weights / 1e9:.2f} GB of weights"
    parts = f"{PROCESSES_BYTES / _GIB:.1f} for the processes and {weights_too}"
    need = f"about {wanted / _GIB:.1f} GiB needed with one stream ({parts})"
    fix = (
        "give the container or machine more memory (docker run --memory), stop what else runs, or "
        "serve a smaller model: --model checkpoints/embedded"
    )
    if free < PROCESSES_BYTES / 2 + weights:
        return failure(f"{facts}: the model does not fit; {need}", fix)
    if free < wanted:
        return warning(f"{facts}; {need}", fix)
    return passed(f"{facts}; {need}")


def available_memory() -> tuple[int, str]:
    """Bytes that can still be taken, here and within the control group, and where they end."""
    import psutil

    free, room = int(psutil.virtual_memory().available), ControlGroups().memory_room()
    if room is not None and room < free:
        return room, f"{room / _GIB:.1f} GiB free within the control group's limit"
    return free, f"{free / _GIB:.1f} GiB free"


def weight_bytes(target: Target) -> int:
    """Bytes of weights that the server of this profile reads into memory."""
    folder = target.model_dir
    graph = folder / "llm" / "onnx" / f"{_precision(target)}.onnx.data"
    built = not target.on_gpu and graph.is_file()
    llm = graph if built else folder / "llm" / "model.safetensors"
    files = [*folder.glob("*.safetensors"), *folder.glob("*.onnx"), llm]
    return sum(file.stat().st_size for file in files if file.is_file())


def _precision(target: Target) -> str:
    """Of the language model on a CPU, as the repository sets it."""
    config = target.model_repository / "tensorrt_llm" / "configs" / "cpu.pbtxt"
    text = config.read_text(encoding="utf-8") if config.is_file() else ""
    named = re.search(r'"precision"[^"]*string_value: *"([^"]*)"', text)
    return named[1] if named else "int8"

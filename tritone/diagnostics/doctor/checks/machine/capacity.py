"""The processor, its instructions and cores, and main memory, against what a server takes."""

import os
import platform
import re
from pathlib import Path

from tritone.diagnostics.doctor.check import Finding, check, failure, passed, warning
from tritone.diagnostics.doctor.checks.machine.control_groups import ControlGroups
from tritone.diagnostics.doctor.target import Target
from tritone.launcher.profiles import language_model_parameters
from tritone.llm.onnx.instructions import INT8_UNITS

_CPUINFO = Path("/proc/cpuinfo")
_BFLOAT16_UNITS = ("amx_bf16", "avx512_bf16")  # as tritone.compute asks torch for them
_GIB = 2**30

PROCESSES_BYTES = 1.1 * _GIB
"""All of a server of the embedded voice, after some hundred utterances: README, Measured."""

WORKING_FACTOR = 2.5
"""Bytes on top for each byte of weights that is read, a stream's caches included: full size took
3.4 GiB with 0.95 GB of weights and one stream (docs/performance.md)."""


@check("machine.cpu")
def cpu(target: Target) -> Finding:
    return instructions(platform.machine(), _CPUINFO.read_text(encoding="utf-8", errors="replace"))


def instructions(machine: str, cpuinfo: str) -> Finding:
    """What a processor of this kind, described as /proc/cpuinfo does, can do for the model."""
    if machine != "x86_64":
        return passed(f"{machine}; figures were measured on x86_64 alone")
    said = dict(re.findall(r"^(model name|flags)\s*: (.+)$", cpuinfo, re.MULTILINE))
    name, flags = said.get("model name", machine), said.get("flags", "").split()
    if "avx2" not in flags:
        return warning(
            f"{name}: no AVX2; PyTorch and ONNX Runtime fall back to slow code, several times "
            "slower than real time at full size",
            "use a processor with AVX2 (Intel from 2013, AMD from 2015; in a virtual machine "
            "pass the host's CPU model through), or --profile gpu-torch",
        )
    units = [unit for unit in _BFLOAT16_UNITS if unit in flags]
    flow = f"{units[0]} (a full-size flow runs in bfloat16)" if units else "flow in float32"
    integer = [unit for unit in INT8_UNITS if unit in flags]
    return passed(f"{name}; avx2, {flow}, int8 with {integer[0] if integer else 'avx2'}")


@check("machine.cores")
def cores(target: Target) -> Finding:
    quota = ControlGroups().processors()
    return processors(len(os.sched_getaffinity(0)), quota, os.environ.get("OMP_NUM_THREADS"))


def processors(allowed: int, quota: float | None, threads: str | None) -> Finding:
    """allowed: by affinity. quota: of the control group, in cores. threads: OMP_NUM_THREADS."""
    usable = allowed if quota is None else min(allowed, quota)
    limit = "" if quota is None else f", limited to {quota:g} by the control group"
    facts = f"{allowed} of {os.cpu_count()} cores{limit}; OMP_NUM_THREADS {threads or 'not set'}"
    if threads and (not threads.isdigit() or int(threads) < 1):  # a list is for nested regions
        return warning(f"{facts}, which is no number of threads", "export OMP_NUM_THREADS=1")
    if usable < 1:
        text = f"{facts}: less than one core, so all of the server's processes are stopped in turn"
        more = "give the container a core or more: docker run --cpus=2, or resources.limits.cpu"
        return warning(text, more)
    if threads and int(threads) > usable:
        each = "each of the server's five processes starts that many threads"
        fix = "export OMP_NUM_THREADS=1, or tritone serve --threads 1"
        return warning(f"{facts}: {each}, and they slow each other down", fix)
    if usable < 2:
        late = "the language model and the flow share one core, so the first packet is late"
        more = "give it two cores or more: docker run --cpus=2, taskset -c 0,1"
        return warning(f"{facts}: {late}", more)
    return passed(f"{facts}{'' if threads else ' (the launcher sets 1)'}")


def memory_for(weights: int, free: int, facts: str) -> Finding:
    """For a family that does not predict what it takes. weights: bytes that a server reads. free:
    bytes that it can have, which facts say in words."""
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
    precision = language_model_parameters(target.settings()).get("precision", "int8")
    graph = folder / "llm" / "onnx" / f"{precision}.onnx.data"
    built = not target.on_gpu and graph.is_file()
    llm = graph if built else folder / "llm" / "model.safetensors"
    files = [*folder.glob("*.safetensors"), *folder.glob("*.onnx"), llm]
    return sum(file.stat().st_size for file in files if file.is_file())

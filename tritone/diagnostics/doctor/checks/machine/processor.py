"""The processor: its instructions, and how many cores there are."""

import os
import platform
import re
from pathlib import Path

from tritone.diagnostics.doctor.check import Finding, check, passed, warning
from tritone.diagnostics.doctor.checks.machine.control_groups import ControlGroups
from tritone.diagnostics.doctor.target import Target

_CPUINFO = Path("/proc/cpuinfo")
_BFLOAT16_UNITS = ("amx_bf16", "avx512_bf16")  # as tritone.compute.device asks torch for them
_INT8_UNITS = ("amx_int8", "avx512_vnni", "avx_vnni")


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
    integer = [unit for unit in _INT8_UNITS if unit in flags]
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
        return warning(
            f"{facts}: less than one core, so all of the server's processes are stopped in turn",
            "give the container a core or more: docker run --cpus=2, or resources.limits.cpu",
        )
    if threads and int(threads) > usable:
        return warning(
            f"{facts}: each of the server's five processes starts that many threads, and they "
            "slow each other down",
            "export OMP_NUM_THREADS=1, or tritone serve --threads 1",
        )
    if usable < 2:
        return warning(
            f"{facts}: the language model and the flow share one core, so the first packet is late",
            "give it two cores or more: docker run --cpus=2, taskset -c 0,1",
        )
    return passed(f"{facts}{'' if threads else ' (the launcher sets 1)'}")

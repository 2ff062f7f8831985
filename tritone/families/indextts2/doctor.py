"""A folder of IndexTTS2 as upstream would load it, and why loading stops at 5 GB.

On a GPU the weights of the emotion model and of GPT are 4.5 GiB, with the CUDA context 5 GB, and
"GPT weights restored" is the last line for a while. Three steps follow that say nothing: 5
(DeepSpeed), 6 (the vocoder's kernel is compiled, under a lock) and 7 (2.3 GB of w2v-bert are read).
"""

import os
import time
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import accumulate
from pathlib import Path

from tritone.diagnostics.doctor.check import Finding, check, failure, passed, skipped, warning
from tritone.diagnostics.doctor.checks.gpu.driver import ask_driver, has_driver
from tritone.diagnostics.doctor.checks.machine.capacity import available_memory
from tritone.diagnostics.doctor.target import Target
from tritone.errors import EnvironmentProblem
from tritone.families.indextts2 import build_state, model_checks, release_folder
from tritone.families.indextts2.release_folder import FAMILY, W2V_BERT, no_folder

_SLOW_S = 60.0
_SAMPLE = 8 << 20  # bytes read at each of the places
_PLACES = 8
_READ_S = 4.0
HOST_PEAK = 7 << 30  # bytes: GPT and its checkpoint at once, as measured
_SMALLER = "use_fp16=True and use_qwen_emo=False"


@dataclass(frozen=True)
class Step:
    """MiB of GPU memory that a step adds, in float32 and with use_fp16; by parameter count."""

    number: int
    name: str
    single: int
    half: int


STEPS = (
    Step(3, "the emotion model", 1137, 1137),
    Step(4, "GPT", 3458, 1806),
    Step(7, "w2v-bert", 2214, 2214),
    Step(9, "the semantic codec", 169, 169),
    Step(10, "s2mel", 463, 463),
    Step(12, "the speaker encoder", 26, 26),
    Step(13, "BigVGAN", 428, 428),
)


def needed(*, half: bool, emotion: bool = True) -> list[tuple[Step, int]]:
    """Each step and the MiB of weights on the GPU after it, beside the CUDA context."""
    steps = [step for step in STEPS if emotion or step.number != 3]
    return list(zip(steps, accumulate(s.half if half else s.single for s in steps), strict=True))


def first_misfit(free_mib: int, *, half: bool, emotion: bool = True) -> Step | None:
    """The first step that does not fit; None if all do."""
    table = needed(half=half, emotion=emotion)
    return next((step for step, total in table if total > free_mib), None)


@check("indextts2.gpu_memory", unless=no_folder, limit_s=20)
def gpu_memory(target: Target) -> Finding:
    """Free memory of the first GPU against the sum after each step."""
    found = free_gpu()
    if isinstance(found, str):
        return skipped(found)
    free, total = found
    rows = zip(needed(half=False), needed(half=True), strict=True)
    table = ", ".join(f"{s.number}: {mib} (fp16 {less})" for (s, mib), (_, less) in rows)
    facts = f"{free} of {total} MiB are free; weights take, after step {table} MiB"
    misfit = first_misfit(free, half=False)
    if misfit is None:
        return passed(facts)
    step = f"in float32 step {misfit.number}, {misfit.name}, does not fit"
    if first_misfit(free, half=True) is None:
        return warning(f"{facts}; {step}, in half precision all do", "use_fp16=True")
    if first_misfit(free, half=True, emotion=False) is None:
        return warning(f"{facts}; {step}", _SMALLER)
    end = "end what else holds the GPU (nvidia-smi names it), or take a larger one"
    return failure(f"{facts}; {step}, nor does everything with {_SMALLER}", end)


def free_gpu() -> tuple[int, int] | str:
    """(free, total) MiB of the first GPU beside a CUDA context, or why they are not known."""
    if not has_driver():
        return "no NVIDIA driver"
    try:
        memory = ask_driver(memory_of=0).memory
    except EnvironmentProblem as error:
        return f"{error}: see gpu.driver"
    return (memory[0] >> 20, memory[1] >> 20) if memory else "CUDA sees no GPU: see gpu.driver"


@check("indextts2.host_memory", unless=no_folder)
def host_memory(target: Target) -> Finding:
    """Free main memory against the peak of step 4: the model and its checkpoint at once."""
    free, facts = available_memory()
    facts = f"{facts}; step 4 peaks at {HOST_PEAK / 2**30:.0f} GiB"
    if free < HOST_PEAK:
        more = "end other processes, or give the machine or container 16 GiB"
        fix = f"{more}; use_qwen_emo=False spares 1.2 GB before"
        return warning(f"{facts}: it swaps, or the kernel kills it", fix)
    return passed(facts)


@check("indextts2.stops_at_5gb", unless=no_folder, limit_s=30)
def stops_at_5gb(target: Target) -> Finding:
    """Which of the three silent steps after the GPT weights would stop or last here."""
    steps = [_deepspeed(), _kernel(target), _w2v_bert(target.releases[FAMILY]), _memory()]
    worst = max(steps, key=lambda finding: finding.severity)
    facts = "; ".join(finding.text for finding in steps)
    head = "5 GB is what GPT's weights and the CUDA context take (step 4). Then, without a line: "
    if not worst.severity:
        return passed(f"{head}{facts}. Nothing here would stop it")
    return Finding(worst.status, f"{head}{facts}", worst.fix)


def _deepspeed() -> Finding:
    if find_spec("deepspeed") is None:
        return passed("step 5, DeepSpeed: not installed")
    return warning(
        "step 5, DeepSpeed: installed; with use_deepspeed=True its import looks for a compiler and "
        "its first use builds kernels under a lock",
        "start upstream with use_deepspeed=False",
    )


def _kernel(target: Target) -> Finding:
    step = "step 6, the vocoder's kernel: "
    for finding in (build_state.jit_lock(target), build_state.compiler(target)):
        if finding.severity:
            return Finding(finding.status, step + finding.text, finding.fix)
    return passed(f"{step}no lock, {finding.text}")


def _w2v_bert(folder: Path) -> Finding:
    step, place = "step 7, w2v-bert: ", folder / W2V_BERT
    fault = release_folder.w2v_bert_fault(folder) if place.is_dir() else "is missing"
    if fault:
        fix = release_folder.fetch(folder, release_folder.W2V_BERT_PARTS)
        return failure(f"{step}{W2V_BERT} {fault}", fix)
    weights = place / "model.safetensors"
    size, speed = weights.stat().st_size, read_speed(weights)
    read = f"{release_folder.megabytes(size)} at the {speed / 1e6:.0f} MB/s of this disk"
    facts = f"{step}{read} take {size / speed:.0f} s"
    if size / speed > _SLOW_S:
        return warning(facts, f"wait, or copy {folder} to a local disk")
    return passed(facts)


def _memory() -> Finding:
    """Whether it is not a stop but a lack of memory: then the next step raises."""
    found = free_gpu()
    if isinstance(found, str):
        return skipped(f"GPU memory: {found}")
    facts, misfit = f"GPU memory: {found[0]} MiB are free", first_misfit(found[0], half=False)
    if misfit is None:
        return passed(f"{facts}, enough for all steps")
    text = f"{facts}, step {misfit.number} ({misfit.name}) does not fit"
    return warning(text, "use_fp16=True; see indextts2.gpu_memory")


def read_speed(path: Path) -> float:
    """Bytes a second in which a large file can be read now, tried at some places of it."""
    size, began, done = path.stat().st_size, time.monotonic(), 0
    with path.open("rb", buffering=0) as file:
        for place in range(_PLACES):
            os.lseek(file.fileno(), size * place // _PLACES, os.SEEK_SET)
            done += len(file.read(_SAMPLE))
            if time.monotonic() - began > _READ_S:
                break
    return done / max(time.monotonic() - began, 1e-6)


CHECKS = (
    *(release_folder.files, release_folder.downloads, release_folder.w2v_bert),
    *(release_folder.truncated, release_folder.lfs),
    *(build_state.jit_lock, build_state.compiler, build_state.text_cache),
    *(gpu_memory, host_memory, stops_at_5gb),
    *model_checks.CHECKS,
)

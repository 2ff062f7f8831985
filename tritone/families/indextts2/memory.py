"""Memory that loading IndexTTS2 takes, step by step, against what is free."""

from dataclasses import dataclass
from itertools import accumulate

from tritone.diagnostics.doctor.check import Finding, check, failure, passed, skipped, warning
from tritone.diagnostics.doctor.checks.gpu.driver import ask_driver, has_driver
from tritone.diagnostics.doctor.checks.machine.memory import available_memory
from tritone.diagnostics.doctor.target import Target
from tritone.errors import EnvironmentProblem
from tritone.families.indextts2.release_folder import no_folder

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
    return failure(
        f"{facts}; {step}, nor does everything with {_SMALLER}",
        "end what else holds the GPU (nvidia-smi names it), or take a larger one",
    )


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
        return warning(
            f"{facts}: it swaps, or the kernel kills it",
            "end other processes, or give the machine or container 16 GiB; use_qwen_emo=False "
            "spares 1.2 GB before",
        )
    return passed(facts)

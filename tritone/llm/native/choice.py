"""What computes the language model on this processor: a kernel in C, or ONNX Runtime."""

import os
from collections.abc import Iterator

from tritone.errors import EnvironmentProblem
from tritone.resources.kernels.build import DECODER_KERNELS, Kernel
from tritone.resources.kernels.library import opened

AUTO, ONNX = "auto", "onnx"
NAMES = (AUTO, *(kernel.name for kernel in DECODER_KERNELS), ONNX)
PRECISION = "int8_rows"  # the only one that kernels are written for


def chosen(asked: str, precision: str, threads: int) -> tuple[Kernel | None, str]:
    """The kernel, None for ONNX Runtime, as `asked`, one of NAMES, has it; and why, in a few words.

    auto takes the best kernel that is built and can be loaded, where there is one for what is
    wanted. Raises EnvironmentProblem for an unknown name, and for a kernel by name that cannot be.
    """
    if asked not in NAMES:
        raise EnvironmentProblem(f"kernels is {asked!r}; take one of {', '.join(NAMES)}")
    if asked == ONNX:
        return None, "ONNX Runtime, as asked for"
    fault = ""
    if precision != PRECISION:
        fault = f"kernels are for the precision {PRECISION}, not {precision}"
    elif threads > 1:
        fault = f"kernels compute on one thread, not {threads}"
    problems = [fault] if fault else []
    for kernel in () if fault else _wanted(asked):
        if problem := _problem(kernel):
            problems.append(problem)
        else:
            return kernel, f"kernel {kernel.name}"
    if asked != AUTO:
        raise EnvironmentProblem(f"kernels is {asked}: {problems[0]}; take auto or {ONNX}")
    return None, f"ONNX Runtime: {problems[0]}"


def _wanted(asked: str) -> Iterator[Kernel]:
    """The better ones first; of those that are left out by themselves, the last tells why."""
    named = [kernel for kernel in DECODER_KERNELS if asked in (AUTO, kernel.name)]
    usable = [kernel for kernel in named if kernel.runs_here]
    yield from usable or named[-1:]


def _problem(kernel: Kernel) -> str:
    """What keeps it from being used here."""
    if not kernel.runs_here:
        return f"this processor lacks {kernel.lacking}"
    if not os.path.exists(kernel.path):  # pathlib raises where the folder is closed to this user
        return f"kernel {kernel.name} is not built: run `tritone kernels`"
    try:
        opened(kernel.path)
    except EnvironmentProblem as problem:
        return str(problem)
    return ""

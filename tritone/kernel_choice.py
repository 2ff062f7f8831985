"""Whether a model on a GPU takes the fused operators: where they give what torch's own give."""

from collections.abc import Callable
from importlib.util import find_spec

import torch

from tritone.errors import EnvironmentProblem
from tritone.loading.steps import note

AUTO, TRITON, TORCH = NAMES = ("auto", "triton", "torch")
_MOST = 0.1  # of what torch's operators give; rounding to bfloat16 is a hundredth


def check(asked: str) -> None:
    """Raises EnvironmentProblem for a name that is none of NAMES."""
    if asked not in NAMES:
        raise EnvironmentProblem(f"gpu_kernels is {asked!r}; take one of {', '.join(NAMES)}")


def choose(
    asked: str,
    model: str,
    device: torch.device,
    dtype: torch.dtype,
    difference: Callable[[], float],
) -> bool:
    """Whether to take fused operators; asked: one of NAMES. The step of loading that runs tells why
    they are not.

    model: its name in a sentence. difference: the trial, of what it gives by fused operators to
    what it gives by torch's own, as a share; whatever it raises is a reason.

    Raises EnvironmentProblem for an unknown name, and for "triton" where that cannot be.
    """
    check(asked)
    if asked == TORCH:
        return False
    problem = _impossible(asked, model, device, dtype) or _failed(difference)
    if problem and asked == TRITON:
        raise EnvironmentProblem(f"gpu_kernels is triton: {problem}; auto takes torch's operators")
    note(f"kernels torch: {problem}" if problem else "kernels triton")
    return not problem


def _impossible(asked: str, model: str, device: torch.device, dtype: torch.dtype) -> str:
    """Why no trial is worth while, or nothing."""
    if device.type != "cuda":
        return f"{model} is on {device}"
    if find_spec("triton") is None:
        return "the package triton is not installed"
    if asked == AUTO and dtype == torch.float32:
        return "products in float32 are faster there"
    return ""


def _failed(difference: Callable[[], float]) -> str:
    """What the trial is failed by, or nothing."""
    try:
        found = difference()
    except Exception as error:  # whatever a compiler, a driver or a machine without one says
        return f"they failed with {type(error).__name__}: {str(error).strip()[-200:]}"
    return "" if found < _MOST else f"they differ from torch's by {found:.0%}"

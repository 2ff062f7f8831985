"""Whether a flow's steps are taken by fused operators: where they give what torch's own give."""

from importlib.util import find_spec

import torch
from torch import Tensor

from tritone.acoustic.estimator import VelocityEstimator
from tritone.acoustic.paged_solver import PagedSolver
from tritone.acoustic.solver import ChunkInput, EulerSolver, StreamState
from tritone.acoustic.solver_config import SolverConfig
from tritone.compute import on_device
from tritone.errors import EnvironmentProblem
from tritone.loading.steps import note

AUTO, TRITON, TORCH = NAMES = ("auto", "triton", "torch")
_MOST = 0.1  # of what torch's operators give; rounding to bfloat16 is a hundredth
_CHUNKS = 2  # of the trial: the second reads what the first has written


def check(asked: str, *, pooled: bool = True) -> None:
    """Raises EnvironmentProblem for a name that is none of NAMES, and for "triton" where the flow
    is not solved in a GPU's pool."""
    if asked not in NAMES:
        raise EnvironmentProblem(f"gpu_kernels is {asked!r}; take one of {', '.join(NAMES)}")
    if asked == TRITON and not pooled:
        raise EnvironmentProblem(
            "gpu_kernels is triton, and the flow runs on a CPU or as a TensorRT plan: take auto"
        )


def choose(asked: str, estimator: VelocityEstimator) -> bool:
    """Whether to take fused operators; asked: one of NAMES. The step of loading that runs tells why
    they are not.

    Raises EnvironmentProblem for an unknown name, and for "triton" where that cannot be.
    """
    check(asked)
    if asked == TORCH:
        return False
    problem = _problem(asked, estimator)
    if problem and asked == TRITON:
        raise EnvironmentProblem(f"gpu_kernels is triton: {problem}; auto takes torch's operators")
    note(f"kernels torch: {problem}" if problem else "kernels triton")
    return not problem


def _problem(asked: str, estimator: VelocityEstimator) -> str:
    """Why not, or nothing."""
    if estimator.device.type != "cuda":
        return f"the flow is on {estimator.device}"
    if find_spec("triton") is None:
        return "the package triton is not installed"
    if asked == AUTO and estimator.dtype == torch.float32:
        return "products in float32 are faster there"
    try:
        found = difference(estimator)
    except Exception as error:  # whatever a compiler, a driver or a machine without one says
        return f"they failed with {type(error).__name__}: {str(error).strip()[-200:]}"
    return "" if found < _MOST else f"they differ from torch's by {found:.0%}"


@torch.inference_mode()
def difference(estimator: VelocityEstimator) -> float:
    """Of what one step from noise gives to what it gives by torch's operators, as a share."""
    with on_device(estimator.device):
        try:
            plain, fused = (_moved(estimator, fused=fused) for fused in (False, True))
            return float((fused - plain).norm() / plain.norm())
        finally:
            if estimator.device.type == "cuda":
                torch.cuda.empty_cache()  # the flow's pages take what is free


def _moved(estimator: VelocityEstimator, *, fused: bool) -> Tensor:
    euler = EulerSolver(estimator, SolverConfig(n_timesteps=1))
    solver = PagedSolver(euler, pages=4, streams=1, batch=1, fused=fused)
    state: StreamState = solver.start()
    moved, draw = [], torch.Generator().manual_seed(0)
    for _ in range(_CHUNKS):
        noise, conditions = (
            torch.randn(estimator.chunk_frames, channels, generator=draw).to(estimator.device)
            for channels in (estimator.mel_bins, estimator.condition_channels)
        )
        [(mel, state)] = solver.solve([ChunkInput(noise, conditions, solver.extend(state))])
        moved.append(mel - noise)
    return torch.cat(moved)

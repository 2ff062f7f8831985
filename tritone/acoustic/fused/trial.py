"""What a flow's step gives by fused operators, compared with what it gives by torch's own."""

import torch
from torch import Tensor

from tritone import kernel_choice
from tritone.acoustic.estimator import VelocityEstimator
from tritone.acoustic.paged_solver import PagedSolver
from tritone.acoustic.solver import ChunkInput, EulerSolver, StreamState
from tritone.acoustic.solver_config import SolverConfig
from tritone.compute import on_device
from tritone.errors import EnvironmentProblem

_CHUNKS = 2  # of the trial: the second reads what the first has written


def check(asked: str, *, pooled: bool = True) -> None:
    """Raises EnvironmentProblem for a name that is none of `kernel_choice.NAMES`, and for "triton"
    where the flow is not solved in a GPU's pool."""
    kernel_choice.check(asked)
    if asked == kernel_choice.TRITON and not pooled:
        raise EnvironmentProblem(
            "gpu_kernels is triton, and the flow runs on a CPU or as a TensorRT plan: take auto"
        )


def choose(asked: str, estimator: VelocityEstimator) -> bool:
    """As `kernel_choice.choose`, of a flow."""
    return kernel_choice.choose(
        asked, "the flow", estimator.device, estimator.dtype, lambda: difference(estimator)
    )


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

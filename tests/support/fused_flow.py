"""Estimators as small as the interpreter of the fused kernels wants them, and streams on them."""

from types import ModuleType

import torch
from torch import Tensor

from benchmarks.full_size import COSYVOICE2, COSYVOICE3
from tritone.acoustic.paged_solver import PagedSolver
from tritone.acoustic.solver import ChunkInput, EulerSolver, SolverSettings, StreamState
from tritone.acoustic.solver_config import SolverConfig
from tritone.families.cosyvoice2 import estimator as cosyvoice2
from tritone.families.cosyvoice3 import estimator as cosyvoice3

FRAMES, MEL = 4, 6  # of a chunk
FAMILIES = [cosyvoice2, cosyvoice3]
_SIZES = {
    cosyvoice2: {
        "channels": 24,
        "attention_head_dim": 6,
        "num_heads": 2,
        "n_blocks": 1,
        "num_mid_blocks": 1,
    },
    cosyvoice3: {"dim": 32, "heads": 2, "dim_head": 6, "depth": 2, "ff_mult": 2},
}
_CONFIGS = {cosyvoice2: COSYVOICE2.flow, cosyvoice3: COSYVOICE3.flow}


def euler(family: ModuleType, dtype: torch.dtype = torch.float32, count: int = 2) -> EulerSolver:
    """Of `count` steps, of which the last alone is guided, on random weights."""
    whole = _CONFIGS[family]
    part = whole.estimator.model_copy(update=_SIZES[family])
    sizes = {"chunk_size": FRAMES // whole.token_mel_ratio, "output_size": MEL, "estimator": part}
    estimator = family.Estimator(whole.model_copy(update=sizes))
    generator = torch.Generator().manual_seed(0)
    for weight in estimator.parameters():
        weight.data = 0.2 * torch.randn(weight.shape, generator=generator)
    steps = SolverConfig(n_timesteps=count, guided_from=count)
    return EulerSolver(estimator.to(dtype), steps, SolverSettings(left_chunks=1))


def paged(solver: EulerSolver, *, fused: bool) -> PagedSolver:
    return PagedSolver(solver, pages=12, streams=4, batch=2, fused=fused)


def spoken(solver: PagedSolver) -> Tensor:
    """The mel of two streams of one voice: its prompt of two chunks at once, then three steps of
    both, in the last of which one is shorter: the past is longer than what is in view."""
    generator = torch.Generator().manual_seed(1)

    def chunk(state: StreamState, frames: int, chunks: int = 1) -> ChunkInput:
        for _ in range(chunks):
            state = solver.extend(state)
        noise = torch.randn(frames, MEL, generator=generator)
        return ChunkInput(noise, torch.randn(frames, 3 * MEL, generator=generator), state)

    [(mel, voice)] = solver.solve([chunk(solver.start(), 2 * FRAMES, 2)])
    mels, states = [mel], [voice.fork(), voice.fork()]
    for frames in (FRAMES, FRAMES, FRAMES - 1):
        solved = solver.solve([chunk(states[0], FRAMES), chunk(states[1], frames)])
        mels += [mel for mel, _ in solved]
        states = [state for _, state in solved]
    return torch.cat(mels)

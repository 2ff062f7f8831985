"""The tiny golden flow on a pool of pages."""

from collections.abc import Sequence

import torch
from token2wav_model import some_tokens, tiny_network
from torch import Tensor

from tritone.acoustic.paged_solver import PagedSolver
from tritone.acoustic.solver import SolverSettings
from tritone.families.cosyvoice2.flow import Flow, FlowNetwork, FlowState

CLOSE = 1e-4


def paged_flow(
    *,
    pages: int = 40,
    streams: int = 12,
    batch: int = 4,
    left_chunks: int = 0,
    network: FlowNetwork | None = None,
    fused: bool = False,
) -> Flow:
    settings = SolverSettings(left_chunks=left_chunks)
    flow = Flow.of(network or tiny_network(), settings)
    solver = PagedSolver(flow.euler, pages=pages, streams=streams, batch=batch, fused=fused)
    return Flow(flow.network, flow.euler, solver)


def places(flow: Flow) -> tuple[int, int]:
    """Free pages and free tails."""
    assert isinstance(flow.solver, PagedSolver)
    return len(flow.solver._pages.free), len(flow.solver._tails.free)


def spoken(flow: Flow, state: FlowState, parts: Sequence[Tensor]) -> Tensor:
    mels = []
    for part in parts:
        mel, state = flow.step(part, state, finalize=False)
        mels.append(mel)
    mels.append(flow.step(some_tokens(0), state, finalize=True)[0])
    return torch.cat(mels, dim=1)

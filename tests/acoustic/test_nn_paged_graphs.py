"""The flow under emulated CUDA graphs: what is replayed equals what a CPU computes."""

from collections.abc import Iterator

import fake_cuda_graphs
import pytest
import torch
from paged_flow import CLOSE, paged_flow, spoken
from token2wav_model import some_prompt, some_tokens, tiny_flow

from tritone.acoustic.paged_solver import PagedSolver
from tritone.compute import GraphCache
from tritone.families.cosyvoice2.flow import Flow

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def no_gradients() -> Iterator[None]:
    with torch.inference_mode():
        yield


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> fake_cuda_graphs.Gpu:
    return fake_cuda_graphs.plug_in(monkeypatch)


def graphed_flow() -> Flow:
    flow = paged_flow(batch=2, left_chunks=2)
    assert isinstance(flow.solver, PagedSolver)
    flow.solver._graphs = GraphCache(fake_cuda_graphs.GPU)
    return flow


def test_a_recorded_stream_equals_the_euler_solver(gpu: fake_cuda_graphs.Gpu) -> None:
    """To its end, also beyond the pages for which there are graphs."""
    prompt, parts = some_prompt(53), torch.split(some_tokens(110), 40)
    plain, flow = tiny_flow(left_chunks=2), graphed_flow()
    assert isinstance(flow.solver, PagedSolver)
    flow.solver.record(4)
    gpu.allowed = False
    expected = spoken(plain, plain.start(prompt).fork(), parts)
    found = spoken(flow, flow.start(prompt).fork(), parts)
    assert (found - expected).abs().max() < CLOSE
    assert sum(graph.replays for graph in gpu.graphs) == 3  # the prompt's two chunks are one

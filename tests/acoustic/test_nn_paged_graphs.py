"""The flow under emulated CUDA graphs: what is replayed equals what a CPU computes."""

from collections.abc import Iterator
from typing import Any

import fake_cuda_graphs
import pytest
import torch
from paged_flow import CLOSE, paged_flow, spoken
from token2wav_model import some_prompt, some_tokens, tiny_network

from tritone.acoustic.paged_solver import PagedSolver
from tritone.acoustic.solver import SolverSettings
from tritone.compute import GraphCache
from tritone.families.cosyvoice2.flow import Flow, FlowNetwork

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def no_gradients() -> Iterator[None]:
    with torch.inference_mode():
        yield


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> fake_cuda_graphs.Gpu:
    return fake_cuda_graphs.plug_in(monkeypatch)


def graphed_flow(network: FlowNetwork) -> Flow:
    flow = paged_flow(batch=2, left_chunks=2, network=network)
    assert isinstance(flow.solver, PagedSolver)
    flow.solver._graphs = GraphCache(fake_cuda_graphs.GPU)
    return flow


@pytest.mark.parametrize("solver", [{}, {"steps": 5, "solver": "dpm2m", "guided_from": 2}])
def test_a_recorded_stream_equals_that_of_caches(
    gpu: fake_cuda_graphs.Gpu, solver: dict[str, Any]
) -> None:
    """To its end, also beyond the pages for which there are graphs."""
    network = tiny_network(**solver)
    prompt, parts = some_prompt(53), torch.split(some_tokens(110), 40)
    plain, flow = Flow.of(network, SolverSettings(left_chunks=2)), graphed_flow(network)
    assert isinstance(flow.solver, PagedSolver)
    flow.solver.record(4)
    gpu.allowed = False
    expected = spoken(plain, plain.start(prompt).fork(), parts)
    found = spoken(flow, flow.start(prompt).fork(), parts)
    assert (found - expected).abs().max() < CLOSE
    assert sum(graph.replays for graph in gpu.graphs) == 3  # the prompt's two chunks are one

"""Streams by fused operators equal those by torch's own, with the kernels interpreted."""

from collections.abc import Iterator
from types import ModuleType

import fake_cuda_graphs
import pytest
import torch
from fused_flow import FAMILIES, euler, paged, spoken

from tritone.compute import GraphCache

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def no_gradients() -> Iterator[None]:
    with torch.inference_mode():
        yield


@pytest.mark.parametrize("family", FAMILIES)
def test_streams_equal_those_of_plain_operators(family: ModuleType) -> None:
    solver = euler(family)
    expected, found = (spoken(paged(solver, fused=fused)) for fused in (False, True))
    assert (found - expected).abs().max() < 1e-4
    assert expected.std() > 0.5


@pytest.mark.parametrize("family", FAMILIES)
def test_in_bfloat16_they_are_about_as_near_to_float32(family: ModuleType) -> None:
    exact = spoken(paged(euler(family, count=1), fused=False))
    short = euler(family, torch.bfloat16, count=1)
    plain, fused = (
        (spoken(paged(short, fused=fused)) - exact).square().mean().sqrt()
        for fused in (False, True)
    )
    assert fused < 2 * plain  # the interpreter cuts off the bits that a GPU rounds


@pytest.mark.parametrize("family", FAMILIES)
def test_what_is_recorded_equals_what_is_called(
    family: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpu, solver = fake_cuda_graphs.plug_in(monkeypatch), euler(family, count=1)
    expected = spoken(paged(solver, fused=False))
    recorded = paged(solver, fused=True)
    recorded._graphs = GraphCache(fake_cuda_graphs.GPU)
    recorded.record(4)
    gpu.allowed = False
    assert (spoken(recorded) - expected).abs().max() < 1e-4
    assert sum(graph.replays for graph in gpu.graphs) == 4  # the prompt is one

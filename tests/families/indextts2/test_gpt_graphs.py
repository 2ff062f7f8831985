"""The language model as a GPU runs it, under emulated CUDA graphs: what is replayed equals what is
computed."""

from pathlib import Path
from types import SimpleNamespace

import fake_cuda_graphs
import numpy as np
import pytest
import torch
from fake_cuda_graphs import GPU, Gpu
from indextts2_front import tiny_gpt
from parity.gpt_sessions import torch_session
from safetensors.torch import save_file

from tritone.arrays import Float32
from tritone.compute import GraphCache
from tritone.errors import EnvironmentProblem
from tritone.families.indextts2 import gpt_torch
from tritone.families.indextts2.gpt_config import DrawingConfig
from tritone.families.indextts2.gpt_runtime import DECODER_FILE
from tritone.families.indextts2.gpt_slots import PairedSlots
from tritone.families.indextts2.gpt_torch import fitting
from tritone.llm.torch.slots import TorchSlots
from tritone.loading.steps import Loader, Report

SLOTS, STEPS = 3, 8
DRAW = np.random.default_rng(7)


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Gpu:
    return fake_cuda_graphs.plug_in(monkeypatch)


def sessions() -> tuple[PairedSlots, PairedSlots]:
    with torch.inference_mode():
        gpt, _ = tiny_gpt()
    return torch_session(gpt, SLOTS), torch_session(gpt, SLOTS)


def recorded(session: PairedSlots) -> TorchSlots:
    slots = session._session
    assert isinstance(slots, TorchSlots)
    slots._graphs = GraphCache(GPU)
    slots.record_graphs()
    return slots


def rows(*shape: int) -> Float32:
    return DRAW.standard_normal(shape).astype(np.float32)


def test_a_replay_equals_eager_steps_at_different_positions(gpu: Gpu) -> None:
    """Of one, two and three generations; one moves to another slot on the way."""
    plain, graphed = sessions()
    slots = recorded(graphed)
    captured = len(gpu.graphs)
    assert captured == len({slots._bucket(n, 1) for n in range(1, 2 * SLOTS + 1)}) == 4
    gpu.allowed = False
    prompts = [rows(count, 48) for count in (5, 31, 12)]
    lengths = np.array([len(prompt) for prompt in prompts], np.int32)
    for session in (plain, graphed):
        for slot, prompt in enumerate(prompts):
            session.prefill(slot, prompt)
    moved = STEPS // 2
    for step in range(STEPS):
        count = SLOTS - step % 3 if step < moved else 2
        if step == moved:
            lengths[1] = lengths[2]
            for session in (plain, graphed):
                session.move(2, 1, int(lengths[2]))
        given = rows(count, 2 * 48)
        expected, found = (s.decode(given, lengths[:count]).copy() for s in (plain, graphed))
        np.testing.assert_allclose(found, expected, atol=1e-5)
        for slot in range(count):
            np.testing.assert_allclose(graphed.latent(slot), plain.latent(slot), atol=1e-5)
        lengths[:count] += 1
    assert len(gpu.graphs) == captured
    assert sum(graph.replays for graph in gpu.graphs) == STEPS
    assert {device for _, device in gpu.devices} == {GPU}


def test_captures_after_captures_lie_in_one_pool_and_stay_apart(gpu: Gpu) -> None:
    """All sizes are captured again, as by a second process of the server: the same steps."""
    first, second = sessions()
    for session in (first, second):
        recorded(session)
    assert len(gpu.graphs) == 8
    prompt, given = rows(9, 48), rows(1, 2 * 48)
    said = []
    for session in (first, second):
        session.prefill(0, prompt)
        said.append(session.decode(given, np.array([9], np.int32)).copy())
    np.testing.assert_array_equal(*said)
    pools = {id(graph.pool()) for graph in gpu.graphs}
    assert len(pools) == 2


def test_there_are_as_many_slots_as_memory_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = SimpleNamespace(free=24 << 30)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (memory.free, 80 << 30))
    assert fitting(64, 1 << 29, GPU) == 24
    assert fitting(8, 1 << 29, GPU) == 8
    assert fitting(64, 1 << 29, torch.device("cpu")) == 64
    memory.free = (1 << 30) - 1
    with pytest.raises(
        EnvironmentProblem, match=r"cuda:0 has 1\.0 GiB free.* set max_tokens lower"
    ):
        fitting(64, 1 << 29, GPU)


def test_slots_that_do_not_fit_are_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Each takes as much as was reckoned."""
    with torch.inference_mode():
        gpt, _ = tiny_gpt()
    save_file(
        {name: value.contiguous() for name, value in gpt.state_dict().items()},
        tmp_path / DECODER_FILE,
    )
    sizes, reports = list[int](), list[Report]()
    monkeypatch.setattr(gpt_torch, "fitting", lambda _, size, device: sizes.append(size) or 2)
    config = SimpleNamespace(gpt=gpt.config, drawing=DrawingConfig())
    with Loader("tensorrt_llm", reports.append):
        model = gpt_torch.open_gpt_torch(tmp_path, config, device="cpu", dtype="fp32", slots=5)
    model.close()
    assert model.slots == 2
    assert [report.note for report in reports if report.kind == "done"] == ["2 of 5 slots"]
    cache = model._session._session._cache  # type: ignore[attr-defined]
    assert cache.numel() * cache.element_size() == 2 * sizes[0]

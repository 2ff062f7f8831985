"""Streams by fused operators are those by torch's own, with the kernels interpreted."""

from collections.abc import Callable, Iterator

import fake_cuda_graphs
import numpy as np
import pytest
import torch
from fake_cuda_graphs import GPU, Gpu, Graph
from llm_model import Built, TinyConfig, build_tiny, request, tokens_of
from operators import Operators

from tritone.arrays import Float32
from tritone.checkpoints.safetensors_file import Checkpoint
from tritone.compute import GraphCache
from tritone.errors import EnvironmentProblem
from tritone.llm.checkpoint import WEIGHTS_NAME, EmbeddingTable
from tritone.llm.contract import SamplingParams
from tritone.llm.sampler import Sampler
from tritone.llm.slots.scheduler import SlotLanguageModel
from tritone.llm.slots.speech import QwenSpeech
from tritone.llm.torch import fused, fused_slots, qwen2, trial
from tritone.llm.torch.fused_slots import FusedSlots
from tritone.llm.torch.opening import open_torch
from tritone.llm.torch.qwen2 import TorchQwen2
from tritone.llm.torch.slots import TorchSlots

pytestmark = pytest.mark.slow

SLOTS, LENGTH = 4, 48
HEADS = ((0, 1), (1, 2))  # that look at the text

Make = Callable[..., TorchSlots]


@pytest.fixture(autouse=True)
def few_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    """The interpreter takes milliseconds for each."""
    monkeypatch.setattr(fused, "_PROGRAMS", 8)
    monkeypatch.setattr(fused_slots, "_FEWEST", 4)
    monkeypatch.setattr(FusedSlots, "prefill_part", 8)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    directory = tmp_path_factory.mktemp("model")
    config = build_tiny(directory)
    llm = config.llm.model_copy(update={"text_heads": HEADS})
    return directory, TinyConfig(llm, config.sampling)


@pytest.fixture
def decoder(built: Built) -> TorchQwen2:
    directory, config = built
    checkpoint = Checkpoint(directory / "llm" / WEIGHTS_NAME)
    return TorchQwen2(checkpoint, config.llm, torch.device("cpu"), torch.float32)


@pytest.fixture
def make(decoder: TorchQwen2) -> Make:
    return lambda kind: kind(decoder, slots=SLOTS, slot_length=LENGTH, window=10)


def recorded(session: TorchSlots) -> TorchSlots:
    session._graphs = GraphCache(GPU)
    session.record_graphs()
    return session


def embeds(built: Built, count: int, seed: int) -> Float32:
    directory, _ = built
    table = EmbeddingTable(Checkpoint(directory / "llm" / WEIGHTS_NAME))
    return table(np.random.default_rng(seed).integers(0, 264, count).astype(np.int32))


def play(session: TorchSlots, built: Built) -> list[Float32]:
    """Two prompts in parts, steps of three streams, one of which is moved on the way."""
    seen = [session.prefill(0, embeds(built, 3, 0)), session.prefill(1, embeds(built, 9, 1))]
    seen += [session.text_query(0, 8).copy(), session.text_keys(1, 9)]
    seen += [session.prefill(2, embeds(built, 2, 2)), session.prefill(2, embeds(built, 5, 3), 2)]
    lengths = np.array([3, 9, 7], np.int32)
    for step in range(2):
        seen.append(session.decode(embeds(built, 3, 10 + step), lengths + step).copy())
        seen += [session.text_query(row, int(lengths[row]) + step).copy() for row in range(3)]
    session.move(2, 0, 9)
    seen.append(session.decode(embeds(built, 1, 99), np.array([9], np.int32)).copy())
    return seen


def assert_alike(found: list[Float32], expected: list[Float32]) -> None:
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5 * np.abs(theirs).max())


def test_logits_and_text_queries(make: Make, built: Built) -> None:
    """Whatever the slots held before, numbers or not."""
    session = make(FusedSlots)
    with torch.inference_mode():
        session._cache.fill_(torch.nan)
    assert_alike(play(session, built), play(make(TorchSlots), built))


def test_what_is_recorded(make: Make, built: Built, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prompts and steps are replayed: of 1, 2 and 4 streams, of up to 4 and 8 positions."""
    gpu = fake_cuda_graphs.plug_in(monkeypatch)
    session = recorded(make(FusedSlots))
    assert len(gpu.graphs) == 5
    gpu.allowed = False
    monkeypatch.delattr(TorchQwen2, "advance")
    assert_alike(play(session, built), play(make(TorchSlots), built))


@pytest.fixture
def speaking(built: Built) -> Iterator[Callable[[TorchSlots], SlotLanguageModel]]:
    directory, config = built
    opened: list[SlotLanguageModel] = []

    def speak(session: TorchSlots) -> SlotLanguageModel:
        table = EmbeddingTable(Checkpoint(directory / "llm" / WEIGHTS_NAME))
        opened.append(SlotLanguageModel(session, QwenSpeech(table, config), 8))
        return opened[-1]

    yield speak
    for model in opened:
        model.close()


def test_generations_are_the_same_tokens(
    make: Make, speaking: Callable[..., SlotLanguageModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Greedy and drawn, side by side, from recorded graphs alone."""
    asked = [
        request(0, tokens=8),
        request(1, tokens=6, sampling=SamplingParams(seed=4, temperature=2.0)),
    ]
    expected = [tokens_of(speaking(make(TorchSlots)).submit(one)) for one in asked]
    gpu: Gpu = fake_cuda_graphs.plug_in(monkeypatch)
    session = recorded(make(FusedSlots))
    gpu.allowed = False
    model = speaking(session)
    assert [tokens_of(g) for g in [model.submit(one) for one in asked]] == expected
    assert sum(graph.replays for graph in gpu.graphs) > 8


def test_beside_a_replay_there_are_copies_alone(
    make: Make, built: Built, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A token makes nothing new on the device, and waits for it once: for what was drawn."""
    gpu = fake_cuda_graphs.plug_in(monkeypatch)
    session = recorded(make(FusedSlots))
    monkeypatch.setattr(Graph, "replay", lambda graph: None)
    _, config = built
    asked = Sampler(config.sampling, SamplingParams(seed=1), waiting=slice(0)).asked()
    given = embeds(built, 2, 5), np.array([3, 4], np.int32), [asked] * 2
    with Operators() as operators:
        session.decode_drawn(*given)
    assert set(operators.launched) == {"copy_", "fill_"}  # buffers of the host are filled too
    assert len(gpu.graphs) == 5


def test_a_trial_sees_what_is_wrong(decoder: TorchQwen2, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "_PROMPT", 3)
    monkeypatch.setattr(trial, "_ROWS", 2)
    assert trial.difference(decoder) < 1e-4
    with monkeypatch.context() as patch:
        patch.setattr(qwen2, "gated_silu", lambda given: given.chunk(2, dim=1)[1])
        assert trial.difference(decoder) > 0.1
    monkeypatch.setattr(trial.FusedDrawing, "__call__", lambda self, logits: torch.zeros(2, 2))
    assert trial.difference(decoder) > 0.1


@pytest.mark.parametrize(
    ("asked", "problem"),
    [("tritn", "'tritn'; take one of auto"), ("triton", "the language model is on cpu; auto")],
)
def test_what_a_cpu_cannot_have_is_refused_by_name(built: Built, asked: str, problem: str) -> None:
    with pytest.raises(EnvironmentProblem, match=problem):
        open_torch(*built, device="cpu", dtype="fp32", slots=1, gpu_kernels=asked)

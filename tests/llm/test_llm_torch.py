from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from llm_model import Built, build_tiny, request, tokens_of

from tritone.arrays import Float32
from tritone.checkpoints.safetensors_file import Checkpoint
from tritone.compute import GraphCache, torch_device, torch_dtype
from tritone.errors import EnvironmentProblem
from tritone.llm.checkpoint import WEIGHTS_NAME, EmbeddingTable
from tritone.llm.onnx.slots import OnnxSlots
from tritone.llm.slots.opening import open_onnx
from tritone.llm.slots.scheduler import SlotLanguageModel, SlotSession
from tritone.llm.torch.opening import open_torch
from tritone.llm.torch.qwen2 import TorchQwen2
from tritone.llm.torch.slots import TorchSlots

LENGTH = 300  # more than the smallest bucket of positions


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    directory = tmp_path_factory.mktemp("model")
    return directory, build_tiny(directory, "fp32")


def torch_slots(built: Built, dtype: torch.dtype = torch.float32, slots: int = 4) -> TorchSlots:
    directory, config = built
    checkpoint = Checkpoint(directory / "llm" / WEIGHTS_NAME)
    decoder = TorchQwen2(checkpoint, config.llm, torch.device("cpu"), dtype)
    return TorchSlots(decoder, slots=slots, slot_length=LENGTH)


def onnx_slots(built: Built, slots: int = 4) -> OnnxSlots:
    directory, config = built
    return OnnxSlots(
        directory / "llm", config.llm, precision="fp32", slots=slots, slot_length=LENGTH
    )


def embeds(built: Built, count: int, seed: int) -> Float32:
    directory, _ = built
    table = EmbeddingTable(Checkpoint(directory / "llm" / WEIGHTS_NAME))
    return table(np.random.default_rng(seed).integers(0, 264, count).astype(np.int32))


def play(session: SlotSession, built: Built) -> list[Float32]:
    """Prompts of several lengths, one of them in parts, then steps of three streams."""
    seen = [
        session.prefill(0, embeds(built, 5, 0)),
        session.prefill(1, embeds(built, 250, 1)),
        session.prefill(2, embeds(built, 20, 2)),
        session.prefill(2, embeds(built, 9, 3), 20),
    ]
    lengths = np.array([5, 250, 29], np.int32)
    for step in range(12):  # the second stream passes 256 positions on the way
        seen.append(session.decode(embeds(built, 3, 10 + step), lengths).copy())
        lengths += 1
    session.move(2, 0, int(lengths[2]))
    seen.append(session.decode(embeds(built, 1, 99), lengths[2:]).copy())
    return seen


def test_logits_are_those_of_onnx_runtime(built: Built) -> None:
    expected = play(onnx_slots(built), built)
    found = play(torch_slots(built), built)
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.shape == theirs.shape and ours.dtype == np.float32
        np.testing.assert_allclose(ours, theirs, atol=1e-4)


def test_bfloat16_stays_near(built: Built) -> None:
    exact = play(torch_slots(built), built)
    short = play(torch_slots(built, torch.bfloat16), built)
    whole, rounded = (np.concatenate([x.reshape(-1) for x in run]) for run in (exact, short))
    error = float(np.linalg.norm(rounded - whole) / np.linalg.norm(whole))
    assert 1e-4 < error < 0.08


def test_a_step_leaves_the_slot_of_a_joining_stream_alone(built: Built) -> None:
    """Three streams step as four rows; a prompt half read stands in the fourth slot."""
    prompt = embeds(built, 40, 5)
    alone = torch_slots(built).prefill(3, prompt)
    session = torch_slots(built)
    session.prefill(3, prompt[:25])
    session.decode(embeds(built, 3, 6), np.zeros(3, np.int32))
    np.testing.assert_allclose(session.prefill(3, prompt[25:], 25), alone, atol=1e-5)


def test_what_a_broken_stream_leaves_harms_nobody(built: Built) -> None:
    """Neither who has its slot next nor who is moved there."""
    prompt, step = embeds(built, 20, 8), embeds(built, 1, 9)
    length = np.array([20], np.int32)
    alone = torch_slots(built)
    alone.prefill(0, prompt)
    expected = alone.decode(step, length).copy()
    session = torch_slots(built)
    for move in (False, True):
        with torch.inference_mode():
            session._cache[:, :, 0] = torch.nan
        session.prefill(int(move), prompt)
        if move:
            session.move(1, 0, 20)
        np.testing.assert_allclose(session.decode(step, length), expected, atol=1e-5)


def test_a_slot_can_be_filled_to_its_last_position(built: Built) -> None:
    expected, found = onnx_slots(built, 1), torch_slots(built, slots=1)
    last = embeds(built, LENGTH, 7)
    lengths = np.array([LENGTH - 1], np.int32)
    for session in (expected, found):
        session.prefill(0, last[:-1])
    ours, theirs = (s.decode(last[-1:], lengths) for s in (found, expected))
    np.testing.assert_allclose(ours, theirs, atol=1e-4)


@pytest.fixture
def model(built: Built) -> Iterator[SlotLanguageModel]:
    model = open_torch(*built, device="cpu", dtype="fp32", slots=3, max_tokens=256)
    yield model
    model.close()


def test_greedy_generations_equal_those_of_onnx_runtime(
    built: Built, model: SlotLanguageModel
) -> None:
    requests = [request(seed, tokens=6 + 5 * seed) for seed in range(7)]
    other = open_onnx(*built, precision="fp32", slots=1, max_tokens=256)
    alone = [tokens_of(other.submit(one)) for one in requests]
    other.close()
    generations = [model.submit(one) for one in requests]
    with ThreadPoolExecutor(7) as pool:
        assert list(pool.map(tokens_of, generations)) == alone


def test_on_a_cpu_a_graph_is_its_function() -> None:
    calls: list[int] = []
    graphs: GraphCache[None] = GraphCache(torch.device("cpu"))
    for _ in range(2):
        graphs("key", lambda: calls.append(1))
    assert calls == [1, 1]


@pytest.mark.parametrize(
    ("name", "problem"),
    [("tpu", "unknown"), ("meta", "not supported"), ("cuda:7", "torch")],
)
def test_a_device_that_cannot_be_used_is_refused(name: str, problem: str) -> None:
    with pytest.raises(EnvironmentProblem, match=problem):
        torch_device(name)


def test_an_unknown_precision_is_refused() -> None:
    assert torch_dtype("bf16") is torch.bfloat16
    assert torch_dtype("auto") is None
    with pytest.raises(EnvironmentProblem, match="'int8' is none of auto, fp32, bf16, fp16"):
        torch_dtype("int8")

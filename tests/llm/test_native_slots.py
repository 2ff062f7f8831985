"""The language model by a kernel in C: what ONNX Runtime gives of the same codes, row by row."""

import mmap
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from llm_model import build_tiny
from memory_pages import pages
from paths import EMBEDDED
from safetensors.numpy import load_file, save_file

from tritone.arrays import Float32
from tritone.checkpoints.safetensors_file import Checkpoint
from tritone.errors import ModelDirectoryError
from tritone.families.cosyvoice2.config import CosyVoice2Config, SpeechIds
from tritone.llm.checkpoint import WEIGHTS_NAME, EmbeddingTable
from tritone.llm.native.slots import NativeSlots
from tritone.llm.onnx.graph import build_graph
from tritone.llm.onnx.slots import OnnxSlots

LENGTH = 112
HEADS = ((1, 2), (0, 0), (1, 3))
LENGTHS = np.arange(20, 60, 2, dtype=np.int32)  # of prompts, more than tiles have rows
Opened = Callable[..., NativeSlots]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, SpeechIds]:
    folder = tmp_path_factory.mktemp("model")
    llm = build_tiny(folder).llm.model_copy(update={"text_heads": HEADS})
    for precision in ("fp32", "int8_rows"):
        build_graph(folder / "llm", llm, precision)
    return folder / "llm", llm


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, SpeechIds]:
    folder = tmp_path_factory.mktemp("embedded") / "llm"
    shutil.copytree(EMBEDDED / "llm", folder, ignore=shutil.ignore_patterns("onnx"))
    llm = CosyVoice2Config.read(EMBEDDED).llm
    for precision in ("fp32", "int8_rows"):
        build_graph(folder, llm, precision)
    return folder, llm


@pytest.fixture(params=["tiny", "embedded"])
def model(request: pytest.FixtureRequest) -> tuple[Path, SpeechIds]:
    found: tuple[Path, SpeechIds] = request.getfixturevalue(request.param)
    return found


def native(model: tuple[Path, SpeechIds], kernel: Path, slots: int = 4) -> NativeSlots:
    return NativeSlots(*model, kernel, slots=slots, slot_length=LENGTH)


def onnx(model: tuple[Path, SpeechIds], precision: str = "int8_rows", slots: int = 4) -> OnnxSlots:
    return OnnxSlots(*model, precision=precision, slots=slots, slot_length=LENGTH)


def rows(model: tuple[Path, SpeechIds], count: int, seed: int = 0) -> Float32:
    folder, llm = model
    ids = np.random.default_rng(seed).integers(0, llm.prompt_ids - 1, count).astype(np.int32)
    return EmbeddingTable(Checkpoint(folder / WEIGHTS_NAME))(ids)


def far(found: Float32, wanted: Float32) -> float:
    """1 - cosine."""
    both = (found.astype(np.float64), wanted.astype(np.float64))
    return float(1 - (both[0] * both[1]).sum() / np.prod([np.linalg.norm(x) for x in both]))


def test_it_gives_what_the_graph_of_the_same_codes_gives(
    tiny: tuple[Path, SpeechIds], kernel: Path
) -> None:
    """But for a number now and then that falls to the other side of a half."""
    sessions = native(tiny, kernel), onnx(tiny)
    lengths = np.array([1, 15, 64, 100], np.int32)
    off: list[float] = []

    def compare(found: list[Float32]) -> None:
        assert found[0].shape == found[1].shape
        off.extend(np.abs(found[0] - found[1]).reshape(-1, found[0].shape[-1]).max(1))

    for slot, length in enumerate(lengths):
        prompt = rows(tiny, length, slot)
        compare([session.prefill(slot, prompt) for session in sessions])
        compare([session.text_keys(slot, length) for session in sessions])
        compare([session.text_query(0, length - 1) for session in sessions])
    token = rows(tiny, 4, 9)
    for step in range(3):
        compare([session.decode(token, lengths + step) for session in sessions])
        for row, length in enumerate(lengths + step):
            compare([session.text_query(row, length) for session in sessions])
    assert np.quantile(off, 0.9) < 1e-5 and max(off) < 0.3


def test_it_is_as_near_to_float32_as_that_graph(
    embedded: tuple[Path, SpeechIds], kernel: Path
) -> None:
    """Of many layers: a number that falls to the other side of a half makes others do so too."""
    ours, theirs, exact = native(embedded, kernel), onnx(embedded), onnx(embedded, "fp32")
    found = []
    for seed in range(8):
        prompt = rows(embedded, 60, seed)
        wanted = exact.prefill(0, prompt)
        found.append([far(each.prefill(0, prompt), wanted) for each in (ours, theirs)])
    own, graph = np.median(found, axis=0)
    assert own < 1.5 * graph and own < 0.002


def test_a_row_is_the_same_in_every_batch(model: tuple[Path, SpeechIds], kernel: Path) -> None:
    """Whether vectors or tiles compute it."""
    count = len(LENGTHS)
    slots, token = native(model, kernel, count), rows(model, count, 99)
    for slot, length in enumerate(LENGTHS):
        slots.prefill(slot, rows(model, length, slot))
    whole = slots.decode(token, LENGTHS).copy()
    for fewer in (19, 17, 16, 9, 8, 7, 5, 2, 1):
        assert np.array_equal(slots.decode(token[:fewer], LENGTHS[:fewer]), whole[:fewer])


def test_a_prompt_gives_the_same_in_any_parts(model: tuple[Path, SpeechIds], kernel: Path) -> None:
    slots, prompt = native(model, kernel), rows(model, 100)
    whole = slots.prefill(0, prompt)
    for part in (1, 7, 8, 33, 99):
        for start in range(0, len(prompt), part):
            logits = slots.prefill(1, prompt[start : start + part], start)
        assert np.array_equal(logits, whole)
    slots.prefill(0, prompt[:-1])
    assert np.array_equal(slots.decode(prompt[-1:], np.array([99], np.int32))[0], whole)
    assert np.array_equal(slots.latent(0), slots.latent(0)) and np.isfinite(slots.latent(0)).all()


def test_it_goes_on_after_moves_and_exchanges(tiny: tuple[Path, SpeechIds], kernel: Path) -> None:
    """Also where the target has the first positions, and where neither ends with a block."""
    slots, token = native(tiny, kernel), rows(tiny, 2, 50)
    first, second = rows(tiny, 37, 1), rows(tiny, 53, 2)
    lengths = np.array([37, 53], np.int32)
    slots.prefill(0, first)
    slots.prefill(1, second)
    wanted = slots.decode(token, lengths).copy()
    for place in range(4):
        slots.clear(place)
    slots.prefill(2, first[:21])
    slots.move(2, 0, 21)
    slots.prefill(2, first[21:], 21)
    slots.move(2, 0, 37, start=21)
    slots.prefill(1, second)
    assert np.array_equal(slots.decode(token, lengths), wanted)
    slots.swap(0, 1, 54)
    assert np.array_equal(slots.decode(token[::-1], lengths[::-1]), wanted[::-1])


def test_a_row_that_is_no_number_stays_alone(tiny: tuple[Path, SpeechIds], kernel: Path) -> None:
    count = 9
    slots, token = native(tiny, kernel, count), rows(tiny, count, 99)
    for slot in range(count):
        slots.prefill(slot, rows(tiny, LENGTHS[slot], slot))
    wanted = slots.decode(token, LENGTHS[:count]).copy()
    broken = token.copy()
    broken[3, 5], broken[6, 0] = np.nan, np.inf
    others = np.delete(np.arange(count), [3, 6])
    found = slots.decode(broken, LENGTHS[:count])
    assert not np.isfinite(found[[3, 6]]).any()
    assert np.array_equal(found[others], wanted[others])
    assert np.array_equal(slots.decode(token, LENGTHS[:count]), wanted), "something was left"


def test_a_slot_that_a_stream_left_takes_no_memory(
    tiny: tuple[Path, SpeechIds], kernel: Path
) -> None:
    slots = NativeSlots(*tiny, kernel, slots=2, slot_length=1024)
    taken = [pages(memory.array).sum() for memory in slots._memory]
    assert sum(taken) == 0
    slots.prefill(1, rows(tiny, 700))
    assert min(pages(memory.array).sum() for memory in slots._memory) >= 700 * 64 // mmap.PAGESIZE
    slots.clear(1)
    assert sum(pages(memory.array).sum() for memory in slots._memory) == 0


def test_logits_of_a_prompt_are_a_copy(tiny: tuple[Path, SpeechIds], kernel: Path) -> None:
    slots = native(tiny, kernel)
    first = slots.prefill(0, rows(tiny, 5, 1))
    kept = first.copy()
    slots.prefill(1, rows(tiny, 5, 2))
    assert np.array_equal(first, kept)


def test_positions_that_are_not_there_are_never_written(
    tiny: tuple[Path, SpeechIds], kernel: Path
) -> None:
    slots = native(tiny, kernel)
    for call in (
        lambda: slots.prefill(0, rows(tiny, 2), LENGTH - 1),
        lambda: slots.prefill(4, rows(tiny, 2)),
        lambda: slots.decode(rows(tiny, 1), np.array([LENGTH], np.int32)),
        lambda: slots.decode(rows(tiny, 1), np.array([-1], np.int32)),
        lambda: slots.decode(rows(tiny, 5), np.zeros(5, np.int32)),
    ):
        with pytest.raises((AssertionError, ValueError, IndexError)):
            call()


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("model.layers.0.mlp.up_proj.weight", lambda w: w[:, :-1], "has shape .*, expected"),
        ("lm_head.bias", lambda w: w[:-1], "has shape .*, expected"),
        ("model.norm.weight", lambda w: np.where(w < np.inf, np.nan, w), "NaN or infinite"),
        ("model.layers.1.self_attn.k_proj.bias", lambda w: w - np.inf, "NaN or infinite"),
        ("model.layers.1.self_attn.o_proj.weight", None, "is missing"),
    ],
)
def test_a_damaged_checkpoint_is_named(
    tiny: tuple[Path, SpeechIds],
    kernel: Path,
    tmp_path: Path,
    name: str,
    change: Callable[[Float32], Float32] | None,
    said: str,
) -> None:
    weights = load_file(tiny[0] / WEIGHTS_NAME)
    damaged = weights.pop(name)
    if change:
        weights[name] = np.ascontiguousarray(change(damaged), np.float32)
    save_file(weights, tmp_path / WEIGHTS_NAME)
    with pytest.raises(ModelDirectoryError, match=rf"{name} .*{said}|{name} {said}"):
        NativeSlots(tmp_path, tiny[1], kernel, slots=1, slot_length=8)

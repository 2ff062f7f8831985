import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from llm_model import GOLDEN, build_tiny, merge_tiny
from parity.llm import cases
from paths import EMBEDDED
from safetensors.numpy import load_file, save_file

from tritone.checkpoints.safetensors_file import Checkpoint
from tritone.errors import ModelDirectoryError
from tritone.families.cosyvoice2.config import CosyVoice2Config
from tritone.families.cosyvoice2.merge_llm import read_merged
from tritone.llm.checkpoint import EmbeddingTable
from tritone.llm.head_padding import pad_heads
from tritone.llm.onnx.graph import build_graph
from tritone.llm.onnx.graph_files import graph_path
from tritone.llm.onnx.precision import PRECISIONS
from tritone.llm.onnx.slots import OnnxSlots

LOGITS = load_file(GOLDEN / "llm_logits.safetensors")


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("model")
    build_tiny(directory, "fp32", "int8", "int8_rows")
    return directory


def open_slots(model_dir: Path, precision: str, slots: int = 4) -> OnnxSlots:
    llm = read_merged(model_dir / "llm")
    return OnnxSlots(model_dir / "llm", llm, precision=precision, slots=slots, slot_length=96)


def prompts() -> list[np.ndarray]:
    return [LOGITS[f"c{index}.merged_input_ids"][0] for index in range(3)]


def test_every_golden_case_passes() -> None:
    results = list(cases(GOLDEN))
    assert [result for result in results if not result.passed] == []
    assert len({result.case for result in results}) == len(results) >= 28


@pytest.mark.parametrize("precision", ["fp32", "int8", "int8_rows"])
def test_batch_neighbours_do_not_change_logits(model_dir: Path, precision: str) -> None:
    embed = EmbeddingTable(Checkpoint(model_dir / "llm" / "model.safetensors"))
    together, alone = open_slots(model_dir, precision), open_slots(model_dir, precision, slots=1)
    lengths = np.array([len(ids) for ids in prompts()], np.int32)
    for slot, ids in enumerate(prompts()):
        together.prefill(slot, embed(ids))
    steps = np.array([[300, 400, 500], [301, 401, 501], [302, 402, 502]], np.int32)
    batched = [together.decode(embed(ids), lengths + t).copy() for t, ids in enumerate(steps)]
    for slot, ids in enumerate(prompts()):
        alone.prefill(0, embed(ids))
        for t, step in enumerate(steps):
            logits = alone.decode(embed(step[slot : slot + 1]), lengths[slot : slot + 1] + t)
            assert np.array_equal(logits[0], batched[t][slot])


@pytest.mark.parametrize("precision", ["fp32", "int8", "int8_rows", "int4", "int4_mixed"])
def test_a_row_of_the_embedded_voice_is_the_same_in_every_batch(
    tmp_path: Path, precision: str
) -> None:
    """Kernels choose their order of sums by the number of rows, at widths beyond the tiny ones."""
    shutil.copytree(EMBEDDED / "llm", tmp_path / "llm", ignore=shutil.ignore_patterns("onnx"))
    llm = CosyVoice2Config.read(EMBEDDED).llm
    build_graph(tmp_path / "llm", llm, precision)
    embed = EmbeddingTable(Checkpoint(tmp_path / "llm" / "model.safetensors"))
    slots = OnnxSlots(tmp_path / "llm", llm, precision=precision, slots=7, slot_length=128)
    ids = np.random.default_rng(1).integers(0, llm.prompt_ids - 1, (7, 40)).astype(np.int32)
    lengths = np.arange(20, 41, 3).astype(np.int32)
    for slot, length in enumerate(lengths):
        slots.prefill(slot, embed(ids[slot, :length]))
    steps = np.full(7, llm.speech_offset + 5, np.int32)
    whole = slots.decode(embed(steps), lengths).copy()
    for count in range(6, 0, -1):  # the slots behind the batch are free
        assert np.array_equal(slots.decode(embed(steps[:count]), lengths[:count]), whole[:count])


def test_a_half_read_prompt_is_not_disturbed_by_odd_batches(model_dir: Path) -> None:
    embed = EmbeddingTable(Checkpoint(model_dir / "llm" / "model.safetensors"))
    slots, (spoken, ids, _) = open_slots(model_dir, "int8"), prompts()
    expected = slots.prefill(1, embed(ids))
    slots.prefill(0, embed(spoken))
    slots.prefill(1, embed(ids[:8]))
    for step in range(3):
        lengths = np.array([len(spoken) + step], np.int32)
        slots.decode(embed(np.array([777], np.int32)), lengths, 8)
    assert np.array_equal(slots.prefill(1, embed(ids[8:]), 8), expected)


def test_decoding_equals_prefill_of_the_longer_prompt(model_dir: Path) -> None:
    embed = EmbeddingTable(Checkpoint(model_dir / "llm" / "model.safetensors"))
    slots, ids = open_slots(model_dir, "fp32"), prompts()[0]
    slots.prefill(0, embed(ids[:-1]))
    stepped = slots.decode(embed(ids[-1:]), np.array([len(ids) - 1], np.int32))[0].copy()
    assert np.abs(slots.prefill(2, embed(ids)) - stepped).max() < 2e-5


@pytest.mark.parametrize(
    ("precision", "tolerance"), [("fp32", 2e-5), ("int8", 0.0), ("int8_rows", 2e-5)]
)
def test_a_prompt_in_parts_equals_the_whole(
    model_dir: Path, precision: str, tolerance: float
) -> None:
    embed = EmbeddingTable(Checkpoint(model_dir / "llm" / "model.safetensors"))
    slots, ids = open_slots(model_dir, precision), prompts()[0]
    whole = slots.prefill(0, embed(ids))
    for start in range(0, len(ids), 16):
        logits = slots.prefill(1, embed(ids[start : start + 16]), start)
    assert np.abs(logits - whole).max() <= tolerance


def test_a_moved_slot_goes_on_unchanged(model_dir: Path) -> None:
    embed = EmbeddingTable(Checkpoint(model_dir / "llm" / "model.safetensors"))
    slots, ids = open_slots(model_dir, "fp32"), prompts()[1]
    token, length = embed(np.array([777], np.int32)), np.array([len(ids)], np.int32)
    slots.prefill(0, embed(ids))
    expected = slots.decode(token, length)[0].copy()
    slots.prefill(0, embed(prompts()[0]))
    slots.prefill(3, embed(ids))
    slots.move(3, 0, len(ids))
    assert np.array_equal(slots.decode(token, length)[0], expected)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_every_precision_runs_from_a_single_token(tmp_path: Path, precision: str) -> None:
    llm = build_tiny(tmp_path, precision).llm
    slots = OnnxSlots(tmp_path / "llm", llm, precision=precision, slots=1, slot_length=8)
    embed = EmbeddingTable(Checkpoint(tmp_path / "llm" / "model.safetensors"))
    logits = slots.prefill(0, embed(np.array([llm.sos_id], np.int32)))
    assert logits.shape == (llm.speech_head_size,)
    assert np.isfinite(logits).all()


@pytest.mark.parametrize("part", ["mlp.up_proj.weight", "post_attention_layernorm.weight"])
def test_an_infinite_weight_is_named(tmp_path: Path, part: str) -> None:
    llm, path = merge_tiny(tmp_path), tmp_path / "model.safetensors"
    weights = load_file(path)
    weights[f"model.layers.0.{part}"].flat[0] = -np.inf
    save_file(weights, path)
    with pytest.raises(ModelDirectoryError, match=rf"layers\.0\.{part} has values that are NaN"):
        build_graph(tmp_path, llm, "int8")


def test_padding_of_heads_keeps_scores() -> None:
    rng = np.random.default_rng(2)
    query, key = rng.standard_normal((2, 3 * 8, 1)).astype(np.float32)
    padded = [pad_heads(rows, 3).reshape(3, 16) for rows in (query, key)]
    plain = [rows.reshape(3, 8) for rows in (query, key)]
    assert np.allclose((padded[0] * padded[1]).sum(1), (plain[0] * plain[1]).sum(1))
    assert np.array_equal(padded[0][:, [0, 1, 2, 3, 8, 9, 10, 11]], plain[0])
    whole = rng.standard_normal((4 * 64, 7)).astype(np.float32)
    assert np.array_equal(pad_heads(whole, 4), whole)


def test_graph_is_valid_and_weights_lie_outside(model_dir: Path) -> None:
    path = graph_path(model_dir / "llm", "int8")
    model = onnx.load(path, load_external_data=False)
    assert path.stat().st_size < 64_000
    assert {entry.domain for entry in model.opset_import} == {"", "com.microsoft"}
    names = [node.name for node in model.graph.node]
    assert len(set(names)) == len(names)


def test_graph_of_another_checkpoint_is_refused(model_dir: Path, tmp_path: Path) -> None:
    shutil.copytree(model_dir / "llm", tmp_path / "llm")
    other = read_merged(model_dir / "llm").model_copy(update={"rope_theta": 1e4})
    with pytest.raises(ModelDirectoryError, match="another checkpoint"):
        OnnxSlots(tmp_path / "llm", other, precision="fp32", slots=1, slot_length=8)


def test_missing_graph_and_unknown_precision_are_named(model_dir: Path, tmp_path: Path) -> None:
    llm = merge_tiny(tmp_path)
    with pytest.raises(ModelDirectoryError, match=r"int8\.onnx does not exist \(built: nothing\)"):
        OnnxSlots(tmp_path, llm, precision="int8", slots=1, slot_length=8)
    with pytest.raises(ModelDirectoryError, match="precision is 'int7', expected one of fp32"):
        build_graph(tmp_path, llm, "int7")


def test_new_weights_make_old_graphs_go(tmp_path: Path) -> None:
    llm = merge_tiny(tmp_path)
    path = build_graph(tmp_path, llm, "int8")
    merge_tiny(tmp_path)
    assert not path.parent.exists()


def test_a_failed_build_keeps_the_graph_before(tmp_path: Path) -> None:
    llm = merge_tiny(tmp_path)
    path = build_graph(tmp_path, llm, "fp32")
    more = llm.model_copy(update={"num_hidden_layers": 3})
    with pytest.raises(ModelDirectoryError, match=r"layers\.2\..* is missing"):
        build_graph(tmp_path, more, "fp32")
    assert {file.name for file in path.parent.iterdir()} == {"fp32.onnx", "fp32.onnx.data"}
    OnnxSlots(tmp_path, llm, precision="fp32", slots=1, slot_length=8)

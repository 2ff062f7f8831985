import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from llm_model import GOLDEN, TEXT_IDS, TINY, merge_tiny
from safetensors.torch import load_file, save_file

from tritone.checkpoints.safetensors_file import Checkpoint, TensorSpec, write_tensors
from tritone.errors import ModelDirectoryError
from tritone.families.cosyvoice2.merge_llm import copy_merged, merge_llm, read_merged
from tritone.llm.checkpoint import EmbeddingTable

BASE = TINY / "CosyVoice-BlankEN"


@pytest.fixture(scope="module")
def merged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("merged")
    merge_tiny(directory)
    return directory


def test_ids_equal_the_published_layout(merged: Path) -> None:
    meta = json.loads((GOLDEN / "llm_meta.json").read_text())
    config = read_merged(merged)
    assert config == read_merged(TINY / "merged_hf")
    assert config.speech_offset == meta["offset"]
    assert list(config.stop_ids) == meta["eos"]
    assert (config.sos_id, config.task_id) == (meta["sos"], meta["task_id"])
    assert config.vocab_size == meta["padded"]


def test_fp32_is_kept_bit_by_bit(merged: Path) -> None:
    released = torch.load(TINY / "llm.pt", weights_only=True)
    ours = load_file(merged / "model.safetensors")
    embedding = ours["model.embed_tokens.weight"]
    speech = slice(TEXT_IDS, TEXT_IDS + 6564)
    assert torch.equal(
        embedding[:TEXT_IDS], released["llm.model.model.embed_tokens.weight"][:TEXT_IDS]
    )
    assert torch.equal(embedding[speech], released["speech_embedding.weight"])
    assert torch.equal(embedding[6848:6850], released["llm_embedding.weight"])
    assert not embedding[6850:].any()
    assert torch.equal(ours["lm_head.weight"][speech], released["llm_decoder.weight"])
    assert not ours["lm_head.weight"][:TEXT_IDS].any()
    bias = ours["lm_head.bias"]
    assert torch.equal(bias[speech], released["llm_decoder.bias"])
    assert bias.isneginf().sum() == len(bias) - 6564
    for name in ours.keys() - {"model.embed_tokens.weight", "lm_head.weight", "lm_head.bias"}:
        assert torch.equal(ours[name], released[f"llm.model.{name}"]), name


def test_bf16_equals_the_published_checkpoint(tmp_path: Path) -> None:
    merge_llm(TINY / "llm.pt", BASE, tmp_path, text_ids=TEXT_IDS, dtype="bf16")
    ours = load_file(tmp_path / "model.safetensors")
    published = load_file(TINY / "merged_hf" / "model.safetensors")
    assert ours.keys() == published.keys()
    for name, tensor in ours.items():
        rows = slice(0, 6850) if name == "model.embed_tokens.weight" else slice(None)
        assert torch.equal(tensor[rows], published[name][rows]), name


def test_published_checkpoint_is_adopted(tmp_path: Path) -> None:
    config = copy_merged(TINY / "merged_hf", tmp_path)
    assert config == read_merged(tmp_path)
    ours = load_file(tmp_path / "model.safetensors")
    assert {tensor.dtype for tensor in ours.values()} == {torch.bfloat16}
    assert not ours["model.embed_tokens.weight"][6850:].any()
    head = load_file(TINY / "merged_hf" / "model.safetensors")["lm_head.weight"]
    assert torch.equal(ours["lm_head.weight"], head)


@pytest.mark.parametrize("dtype", ["fp32", "fp16", "bf16"])
def test_embedding_rows_are_exact(tmp_path: Path, dtype: str) -> None:
    merge_llm(TINY / "llm.pt", BASE, tmp_path, text_ids=TEXT_IDS, dtype=dtype)
    stored = load_file(tmp_path / "model.safetensors")["model.embed_tokens.weight"]
    ids = np.array([6848, 0, 283, 284, 6847], np.int32)
    rows = EmbeddingTable(Checkpoint(tmp_path / "model.safetensors"))(ids)
    assert rows.dtype == np.float32
    assert np.array_equal(rows, stored[torch.from_numpy(ids)].float().numpy())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("llm_decoder.bias"), r"llm_decoder\.bias is missing, expected .*6564"),
        (lambda s: s.update(epoch_weight=torch.zeros(2)), r"epoch_weight \(2,\) is unexpected"),
        (
            lambda s: s.update({"llm_embedding.weight": torch.zeros(3, 32)}),
            r"llm_embedding\.weight has shape \(3, 32\), expected \(2, 32\)",
        ),
        (lambda s: s.update(step=7), "step is int, expected a float tensor"),
        (lambda s: s["llm_decoder.weight"].fill_(torch.nan), r"lm_head\.weight .* not finite"),
        (
            lambda s: s.update({k: v[:3].clone() for k, v in s.items() if len(v) == 6564}),
            "has 3 rows, expected speech codes and 3 stop ids",
        ),
    ],
    ids=["missing", "unexpected", "shape", "no-tensor", "nan", "no-codes"],
)
def test_wrong_state_dict_is_named(tmp_path: Path, change, message: str) -> None:
    state = torch.load(TINY / "llm.pt", weights_only=True)
    change(state)
    torch.save(state, tmp_path / "llm.pt")
    with pytest.raises(ModelDirectoryError, match=message):
        merge_llm(tmp_path / "llm.pt", BASE, tmp_path / "llm", text_ids=TEXT_IDS)


def test_fp16_overflow_is_an_error(tmp_path: Path) -> None:
    state = torch.load(TINY / "llm.pt", weights_only=True)
    state["llm.model.model.norm.weight"][0] = 1e6
    torch.save(state, tmp_path / "llm.pt")
    with pytest.raises(ModelDirectoryError, match=r"model\.norm\.weight .*float16"):
        merge_llm(tmp_path / "llm.pt", BASE, tmp_path / "o", text_ids=TEXT_IDS, dtype="fp16")
    assert not (tmp_path / "o" / "model.safetensors").exists()


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "llm.pt").write_bytes(b"not a checkpoint")
    with pytest.raises(ModelDirectoryError, match="cannot be read as plain tensors"):
        merge_llm(tmp_path / "llm.pt", BASE, tmp_path / "llm", text_ids=TEXT_IDS)
    with pytest.raises(ModelDirectoryError, match="385 ids, the embedding 384 rows"):
        merge_llm(TINY / "llm.pt", BASE, tmp_path / "llm", text_ids=385)
    shutil.copytree(TINY / "merged_hf", tmp_path / "cut")
    whole = (tmp_path / "cut" / "model.safetensors").read_bytes()
    (tmp_path / "cut" / "model.safetensors").write_bytes(whole[:-10])
    with pytest.raises(ModelDirectoryError, match="cut short"):
        read_merged(tmp_path / "cut")


def test_merged_checkpoint_without_bias_is_refused(tmp_path: Path) -> None:
    shutil.copytree(TINY / "merged_hf", tmp_path / "hf")
    tensors = load_file(tmp_path / "hf" / "model.safetensors")
    del tensors["lm_head.bias"]
    save_file(tensors, tmp_path / "hf" / "model.safetensors")
    with pytest.raises(ModelDirectoryError, match=r"lm_head\.bias is missing"):
        read_merged(tmp_path / "hf")


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("model_type", "llama", "model_type is 'llama'"),
        ("rope_scaling", {"rope_type": "yarn"}, "rope_type is 'yarn'"),
        ("rope_theta", None, "rope_theta|a number"),
        ("hidden_size", 30, "not a multiple"),
    ],
)
def test_other_kinds_of_qwen2_are_refused(tmp_path: Path, key, value, message: str) -> None:
    config = json.loads((BASE / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, key: value}))
    with pytest.raises(ModelDirectoryError, match=message):
        merge_llm(TINY / "llm.pt", tmp_path, tmp_path / "llm", text_ids=TEXT_IDS)


def test_rope_parameters_of_newer_configs_are_read(tmp_path: Path) -> None:
    config = json.loads((BASE / "config.json").read_text())
    del config["rope_theta"]
    config["rope_parameters"] = {"rope_theta": 10000.0, "rope_type": "default"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    merged = merge_llm(TINY / "llm.pt", tmp_path, tmp_path / "llm", text_ids=TEXT_IDS)
    assert merged.rope_theta == 10000.0


def test_holes_become_zeros(tmp_path: Path) -> None:
    specs = [TensorSpec("a", "F32", (3, 2)), TensorSpec("b", "F16", (2,))]
    parts = [[np.ones((1, 2), np.float32), 16], [np.ones(1, np.float16), 2]]
    write_tensors(tmp_path / "x.safetensors", specs, parts)
    read = load_file(tmp_path / "x.safetensors")
    assert read["a"].tolist() == [[1, 1], [0, 0], [0, 0]]
    assert read["b"].tolist() == [1, 0]

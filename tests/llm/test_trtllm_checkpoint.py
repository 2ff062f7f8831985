import json
import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from llm_model import GOLDEN, merge_tiny
from safetensors.torch import load_file, save_file
from trtllm_reader import CONFIG, convert, logits, read_checkpoint, write_source

from tritone.errors import InvalidRequest, ModelDirectoryError
from tritone.families.cosyvoice2.merge_llm import read_merged
from tritone.llm.config import Qwen2Config
from tritone.llm.trtllm.checkpoint_config import CheckpointOptions, to_dtype
from tritone.llm.trtllm.sharding import check_tp_size, rank_tensors

GOLDEN_LOGITS = load_file(GOLDEN / "llm_logits.safetensors")
RELEASED = Qwen2Config(
    vocab_size=151936,
    hidden_size=896,
    intermediate_size=4864,
    num_hidden_layers=24,
    num_attention_heads=14,
    num_key_value_heads=2,
    max_position_embeddings=32768,
    rope_theta=1e6,
    rms_norm_eps=1e-6,
)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_source(tmp_path_factory.mktemp("source") / "llm")


@pytest.fixture(scope="module")
def weights(source: Path) -> dict[str, torch.Tensor]:
    return load_file(source / "model.safetensors")


@pytest.fixture(scope="module")
def merged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("merged")
    merge_tiny(directory)
    return directory


@pytest.mark.parametrize("tp_size", [1, 2, 4])
def test_the_ranks_together_give_upstreams_logits(
    merged: Path, tmp_path: Path, tp_size: int
) -> None:
    output = convert(merged, tmp_path / "out", dtype="float32", tp_size=tp_size)
    llm = read_merged(merged)
    rows = slice(llm.speech_offset, llm.speech_offset + llm.speech_head_size)
    bias = load_file(merged / "model.safetensors")["lm_head.bias"]
    for case in ("c0", "c1", "c2"):
        golden = {n: GOLDEN_LOGITS[f"{case}.{n}"] for n in ("logits_first2", "logits_last")}
        steps = len(GOLDEN_LOGITS[f"{case}.forced"]) + 1
        ids = GOLDEN_LOGITS[f"{case}.merged_input_ids"][0].numpy()
        ours = (logits(output, ids)[-steps:] + bias)[:, rows]
        torch.testing.assert_close(ours[:2], golden["logits_first2"], atol=1e-4, rtol=0)
        torch.testing.assert_close(ours[-1:], golden["logits_last"], atol=1e-4, rtol=0)


@pytest.mark.parametrize("tp_size", [1, 2, 4])
def test_names_and_shapes_of_every_rank(source: Path, tmp_path: Path, tp_size: int) -> None:
    _, ranks = read_checkpoint(convert(source, tmp_path / "out", tp_size=tp_size))
    assert len(ranks) == tp_size
    keys = max(2, tp_size) // tp_size * 4  # rows of the key heads of a rank
    qkv, inner, queries = 16 // tp_size + 2 * keys, 24 // tp_size, 16 // tp_size
    layer = {
        "input_layernorm.weight": (16,),
        "attention.qkv.weight": (qkv, 16),
        "attention.qkv.bias": (qkv,),
        "attention.dense.weight": (16, queries),
        "post_layernorm.weight": (16,),
        "mlp.fc.weight": (inner, 16),
        "mlp.gate.weight": (inner, 16),
        "mlp.proj.weight": (16, inner),
    }
    expected = {f"transformer.layers.{i}.{n}": s for i in range(2) for n, s in layer.items()}
    expected["transformer.vocab_embedding.weight"] = (13, 16)
    expected["transformer.ln_f.weight"] = (16,)
    expected["lm_head.weight"] = (-(-13 // tp_size), 16)
    for rank in ranks:
        assert {name: tuple(tensor.shape) for name, tensor in rank.items()} == expected
        assert {tensor.dtype for tensor in rank.values()} == {torch.bfloat16}  # norms too


def test_the_release_has_195_tensors_of_the_known_sizes() -> None:
    tensors = rank_tensors(RELEASED, "lm_head.weight", 1, 0)
    numbers = {tensor.name: int(np.prod(tensor.shape)) for tensor in tensors}
    assert len(tensors) == len(numbers) == 195
    assert sum(numbers.values()) == 630_167_424
    first = [number for name, number in numbers.items() if ".layers.0." in name]
    assert sum(first) == 14_912_384
    assert {t.shape for t in tensors if t.name.endswith("qkv.weight")} == {(1152, 896)}


def test_fc_is_the_gate_and_gate_is_the_up_projection(
    source: Path, weights: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    _, (rank,) = read_checkpoint(convert(source, tmp_path / "out", dtype="float32"))
    for theirs, ours in (("fc", "gate_proj"), ("gate", "up_proj"), ("proj", "down_proj")):
        expected = weights[f"model.layers.1.mlp.{ours}.weight"]
        assert torch.equal(rank[f"transformer.layers.1.mlp.{theirs}.weight"], expected)


class Case(NamedTuple):
    """Rows of q, k and v that rank `rank` of `tp_size` holds; 4 rows are a head."""

    tp_size: int
    rank: int
    queries: range
    keys: range


@pytest.mark.parametrize(
    "case",
    [
        Case(1, 0, range(16), range(8)),
        Case(2, 0, range(8), range(4)),
        Case(2, 1, range(8, 16), range(4, 8)),
        Case(4, 0, range(4), range(4)),
        Case(4, 1, range(4, 8), range(4)),  # the same key head as its neighbour
        Case(4, 2, range(8, 12), range(4, 8)),
        Case(4, 3, range(12, 16), range(4, 8)),
    ],
    ids=str,
)
@pytest.mark.parametrize("kind", ["weight", "bias"])
def test_qkv_rows_of_a_rank_are_all_q_then_k_then_v(
    source: Path, weights: dict[str, torch.Tensor], tmp_path: Path, case: Case, kind: str
) -> None:
    output = convert(source, tmp_path / "out", dtype="float32", tp_size=case.tp_size)
    rank = read_checkpoint(output)[1][case.rank]
    attention = {p: weights[f"model.layers.0.self_attn.{p}_proj.{kind}"] for p in "qkv"}
    rows = [attention["q"][case.queries], attention["k"][case.keys], attention["v"][case.keys]]
    assert torch.equal(rank[f"transformer.layers.0.attention.qkv.{kind}"], torch.cat(rows))


@pytest.mark.parametrize("tp_size", [2, 4])
def test_ranks_joined_are_the_source(
    source: Path, weights: dict[str, torch.Tensor], tmp_path: Path, tp_size: int
) -> None:
    _, ranks = read_checkpoint(convert(source, tmp_path / "out", dtype="float32", tp_size=tp_size))
    joined = {
        "attention.dense": ("self_attn.o_proj", 1),
        "mlp.fc": ("mlp.gate_proj", 0),
        "mlp.gate": ("mlp.up_proj", 0),
        "mlp.proj": ("mlp.down_proj", 1),
    }
    for theirs, (ours, dim) in joined.items():
        parts = [rank[f"transformer.layers.0.{theirs}.weight"] for rank in ranks]
        assert torch.equal(torch.cat(parts, dim), weights[f"model.layers.0.{ours}.weight"])
    for rank in ranks:  # replicated
        embedding = rank["transformer.vocab_embedding.weight"]
        assert torch.equal(embedding, weights["model.embed_tokens.weight"])
        assert torch.equal(rank["transformer.ln_f.weight"], weights["model.norm.weight"])


@pytest.mark.parametrize("tp_size", [2, 4])
def test_the_head_is_filled_up_with_zero_rows(
    source: Path, weights: dict[str, torch.Tensor], tmp_path: Path, tp_size: int
) -> None:
    config, ranks = read_checkpoint(
        convert(source, tmp_path / "out", dtype="float32", tp_size=tp_size)
    )
    head = torch.cat([rank["lm_head.weight"] for rank in ranks])
    assert len(head) % tp_size == 0 and len(head) > 13
    assert torch.equal(head[:13], weights["lm_head.weight"])
    assert not head[13:].any()
    assert config["vocab_size"] == 13


def test_a_tied_head_is_written_out(tmp_path: Path) -> None:
    source = write_source(tmp_path / "tied", tie_word_embeddings=True)
    config, (rank,) = read_checkpoint(convert(source, tmp_path / "out"))
    assert config["tie_word_embeddings"] is True
    assert torch.equal(rank["lm_head.weight"], rank["transformer.vocab_embedding.weight"])


def test_config_copies_every_number(source: Path, tmp_path: Path) -> None:
    config, _ = read_checkpoint(convert(source, tmp_path / "out", dtype="float16", tp_size=2))
    same = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers")
    same += ("num_attention_heads", "num_key_value_heads", "max_position_embeddings")
    assert {name: config[name] for name in same} == {name: CONFIG[name] for name in same}
    assert config["rotary_base"] == 54321.0 and config["norm_epsilon"] == 3e-4
    assert config["head_size"] == config["rotary_embedding_dim"] == 4
    assert config["architecture"] == "Qwen2ForCausalLM" and config["qwen_type"] == "qwen2"
    assert (config["dtype"], config["logits_dtype"]) == ("float16", "float32")
    assert config["position_embedding_type"] == "rope_gpt_neox"
    assert (config["attn_bias"], config["mlp_bias"]) == (True, False)
    # an unknown key in either is a TypeError there
    assert config["mapping"] == {"world_size": 2, "tp_size": 2, "pp_size": 1}
    assert config["quantization"] == {"quant_algo": None, "kv_cache_quant_algo": None}
    assert "moe" not in config


def test_weight_only_int8_is_left_to_the_build(source: Path, tmp_path: Path) -> None:
    plain = convert(source, tmp_path / "plain")
    int8 = convert(source, tmp_path / "int8", weight_only=True)
    first, second = (json.loads((p / "config.json").read_text()) for p in (plain, int8))
    assert second.pop("quantization") == {"quant_algo": "W8A16", "kv_cache_quant_algo": None}
    first.pop("quantization")
    assert first == second
    name = "rank0.safetensors"
    assert (plain / name).read_bytes() == (int8 / name).read_bytes()
    with pytest.raises(InvalidRequest, match=r"dtype: is float32.* float16 or bfloat16"):
        CheckpointOptions(dtype="float32", weight_only=True)


def test_rounding_is_that_of_torch() -> None:
    random = np.random.default_rng(3)
    values = (random.standard_normal(50_000) * 10.0 ** random.integers(-40, 5, 50_000)).astype(
        np.float32
    )
    # halfway between two bfloat16, above an even and above an odd one
    ties = np.array([0x3F808000, 0x3F818000, 0xBF808000, 0x80000000], np.uint32).view(np.float32)
    values = np.concatenate([values, ties])
    for dtype in (torch.bfloat16, torch.float16):
        expected = torch.from_numpy(values).to(dtype).view(torch.uint16).numpy()
        rounded = to_dtype(values, str(dtype).removeprefix("torch."), "x")
        assert np.array_equal(rounded.view(np.uint16), expected)
    assert to_dtype(ties, "bfloat16", "x").tolist() == [0x3F80, 0x3F82, 0xBF80, 0x8000]
    assert np.array_equal(to_dtype(values, "float32", "x"), values)


@pytest.mark.parametrize("stored", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32"])
def test_sources_in_half_precision(tmp_path: Path, stored: torch.dtype, dtype: str) -> None:
    source = write_source(tmp_path / "llm")
    path = source / "model.safetensors"
    half = {name: tensor.to(stored) for name, tensor in load_file(path).items()}
    save_file(half, path)
    _, (rank,) = read_checkpoint(convert(source, tmp_path / "out", dtype=dtype))
    expected = half["model.layers.0.mlp.down_proj.weight"].to(getattr(torch, dtype))
    assert torch.equal(rank["transformer.layers.0.mlp.proj.weight"], expected)


@pytest.mark.parametrize(
    ("value", "dtype", "message"),
    [
        (1e6, "float16", r"too large for float16: convert with --dtype bfloat16"),
        (3.4e38, "bfloat16", r"too large for bfloat16"),
        (np.nan, "float32", "NaN or infinite"),
        (np.inf, "bfloat16", "NaN or infinite"),
    ],
)
def test_values_that_do_not_fit_are_named(
    tmp_path: Path, value: float, dtype: str, message: str
) -> None:
    norm = np.full(16, value, np.float32)
    source = write_source(tmp_path / "llm", {"model.norm.weight": norm})
    with pytest.raises(ModelDirectoryError, match=rf"model\.norm\.weight .*{message}"):
        convert(source, tmp_path / "out", dtype=dtype)
    assert not (tmp_path / "out" / "config.json").exists()


@pytest.mark.parametrize(
    ("tp_size", "message"),
    [
        (4, "tp_size: is 4, which does not divide num_attention_heads 14; give one of 1, 2$"),
        (7, "is 7, which does not divide intermediate_size 4864"),
        (0, "is 0, which is below 1"),
    ],
)
def test_tp_sizes_that_do_not_fit_are_named(tp_size: int, message: str) -> None:
    with pytest.raises(InvalidRequest, match=message):
        check_tp_size(RELEASED, tp_size)


def test_key_heads_must_divide_or_be_divided() -> None:
    config = RELEASED.model_copy(update={"num_attention_heads": 12, "num_key_value_heads": 3})
    for fitting in (1, 3):
        check_tp_size(config.model_copy(update={"intermediate_size": 48}), fitting)
    with pytest.raises(InvalidRequest, match="neither divides num_key_value_heads 3 nor is a mul"):
        check_tp_size(config, 2)


def test_an_unknown_dtype_is_named() -> None:
    message = "dtype: is 'fp8', expected one of bfloat16, float16, float32"
    with pytest.raises(InvalidRequest, match=re.escape(message)):
        CheckpointOptions(dtype="fp8")


def test_names_of_checkpoints() -> None:
    assert CheckpointOptions().name == "bfloat16"
    assert CheckpointOptions("float16", 2, weight_only=True).name == "float16-int8-tp2"

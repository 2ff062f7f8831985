"""A TensorRT-LLM checkpoint read as its ranks would run it, and small sources to convert."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import save_file
from safetensors.torch import load_file
from torch import Tensor
from torch.nn.functional import rms_norm, scaled_dot_product_attention, silu

from tritone.llm.checkpoint import layer_shapes
from tritone.llm.trtllm.checkpoint import Conversion
from tritone.llm.trtllm.checkpoint_config import CheckpointOptions
from tritone.llm.trtllm.source_checkpoint import open_llm

Ranks = list[dict[str, Tensor]]

CONFIG = {
    "architectures": ["Qwen2ForCausalLM"],
    "model_type": "qwen2",
    "vocab_size": 13,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "rope_theta": 54321.0,
    "rms_norm_eps": 3e-4,
    "hidden_act": "silu",
    "tie_word_embeddings": False,
    "torch_dtype": "float32",
}


def write_source(
    directory: Path, extra: dict[str, np.ndarray] | None = None, **config: Any
) -> Path:
    """A Qwen2 in Hugging Face form with random weights; `config` replaces entries of CONFIG."""
    directory.mkdir(parents=True)
    settings = {**CONFIG, **config}
    (directory / "config.json").write_text(json.dumps(settings))
    sizes = ("hidden_size", "intermediate_size", "num_attention_heads", "num_key_value_heads")
    layer = layer_shapes(*(settings[name] for name in sizes))
    table = (settings["vocab_size"], settings["hidden_size"])
    shapes = {"model.embed_tokens.weight": table, "model.norm.weight": table[1:]}
    if not settings["tie_word_embeddings"]:
        shapes["lm_head.weight"] = table
    for index in range(settings["num_hidden_layers"]):
        shapes |= {f"model.layers.{index}.{part}": shape for part, shape in layer.items()}
    random = np.random.default_rng(0)
    tensors = {n: random.standard_normal(s).astype(np.float32) for n, s in shapes.items()}
    save_file({**tensors, **(extra or {})}, directory / "model.safetensors")
    return directory


def convert(source: Path, output: Path, **options: Any) -> Path:
    Conversion(open_llm(source), output, CheckpointOptions(**options)).run()
    return output


def read_checkpoint(directory: Path) -> tuple[dict[str, Any], Ranks]:
    config = json.loads((directory / "config.json").read_text())
    world = range(config["mapping"]["world_size"])
    return config, [load_file(directory / f"rank{rank}.safetensors") for rank in world]


def logits(directory: Path, ids: np.ndarray) -> Tensor:
    """(n,) ids -> (n, vocab) logits, each rank computing its share of every layer.

    All numbers are those of the checkpoint's own config.json.
    """
    config, ranks = read_checkpoint(directory)
    ranks = [{name: tensor.float() for name, tensor in rank.items()} for rank in ranks]
    x = ranks[0]["transformer.vocab_embedding.weight"][torch.from_numpy(ids).long()]
    for layer in range(config["num_hidden_layers"]):
        parts = [_layer_part(rank, f"transformer.layers.{layer}.") for rank in ranks]
        normed = _norm(x, parts[0]["input_layernorm.weight"], config)
        x = x + sum(_attention(normed, part, config) for part in parts)
        normed = _norm(x, parts[0]["post_layernorm.weight"], config)
        x = x + sum(_mlp(normed, part) for part in parts)
    x = _norm(x, ranks[0]["transformer.ln_f.weight"], config)
    whole = torch.cat([x @ rank["lm_head.weight"].T for rank in ranks], dim=1)
    return whole[:, : config["vocab_size"]]


def _layer_part(rank: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {n.removeprefix(prefix): t for n, t in rank.items() if n.startswith(prefix)}


def _norm(x: Tensor, weight: Tensor, config: dict[str, Any]) -> Tensor:
    return rms_norm(x, weight.shape, weight, config["norm_epsilon"])


def _mlp(x: Tensor, part: dict[str, Tensor]) -> Tensor:
    """TensorRT-LLM's gated MLP: the activation is on `fc`."""
    inner = silu(x @ part["mlp.fc.weight"].T) * (x @ part["mlp.gate.weight"].T)
    return inner @ part["mlp.proj.weight"].T


def _attention(x: Tensor, part: dict[str, Tensor], config: dict[str, Any]) -> Tensor:
    size, ranks = config["head_size"], config["mapping"]["tp_size"]
    heads = config["num_attention_heads"] // ranks
    groups = max(config["num_key_value_heads"], ranks) // ranks
    qkv = x @ part["attention.qkv.weight"].T + part["attention.qkv.bias"]
    by_head = qkv.view(len(x), heads + 2 * groups, size).transpose(0, 1)
    query, key, value = by_head.split([heads, groups, groups])
    query, key = (_rotate(states, config["rotary_base"]) for states in (query, key))
    key, value = (s.repeat_interleave(heads // groups, 0) for s in (key, value))
    attended = scaled_dot_product_attention(query, key, value, is_causal=True)
    return attended.transpose(0, 1).reshape(len(x), -1) @ part["attention.dense.weight"].T


def _rotate(states: Tensor, base: float) -> Tensor:
    """Rotary embedding with the halves apart (GPT-NeoX)."""
    half = states.shape[-1] // 2
    positions = torch.arange(states.shape[1], dtype=torch.float32)[:, None]
    angles = positions * base ** (-torch.arange(half, dtype=torch.float32) / half)
    first, second = states[..., :half], states[..., half:]
    cos, sin = angles.cos(), angles.sin()
    return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)

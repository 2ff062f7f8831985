"""A tiny emotion model in the layout of the release: a Qwen3 that says one thing to all texts.

Hidden states are as wide as the vocabulary, so that a layer can send each token to the next one.
"""

import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import AddedToken, Tokenizer
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel

FOLDER = "qwen0.6bemo4-merge"
CONTROL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
THOUGHTS = ("<think>", "</think>")
SAD = ('{"悲伤": 0.5,', ' "低落": 0.25, "高兴": -1}')
TEMPLATE = """\
{%- for message in messages %}
{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
{{- '<|im_start|>assistant\\n' }}
{%- endif %}
"""
HEADS = {"num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 16}


def emotion_model(released: Path, says: Sequence[str] = SAD) -> Path:
    """says: in tokens of its own, none of them twice."""
    folder = released / FOLDER
    folder.mkdir(parents=True)
    tokenizer = _tokenizer(says)
    tokenizer.save(str(folder / "tokenizer.json"))
    words = ["\u010a", *says, "<|im_end|>"]  # the first is a new line, byte by byte
    ids = [tokenizer.token_to_id(word) for word in words]
    size = tokenizer.get_vocab_size()
    numbers = {"vocab_size": size, "hidden_size": size, "intermediate_size": size, **HEADS}
    _write(folder / "config.json", {**about(1), **numbers})
    _write(folder / "generation_config.json", {"eos_token_id": ids[-1]})
    (folder / "chat_template.jinja").write_text(TEMPLATE, encoding="utf-8")
    weights = random_weights(1, size, size, size)
    save_file(_saying(weights, ids), folder / "model.safetensors")
    return folder


def about(layers: int) -> dict[str, object]:
    """What config.json says beside sizes."""
    return {
        "model_type": "qwen3",
        "hidden_act": "silu",
        "attention_bias": False,
        "tie_word_embeddings": True,
        "rope_scaling": None,
        "rope_theta": 1e6,
        "rms_norm_eps": 1e-6,
        "max_position_embeddings": 40960,
        "num_hidden_layers": layers,
        "torch_dtype": "float16",
    }


def random_weights(layers: int, vocab: int, hidden: int, inner: int) -> dict[str, torch.Tensor]:
    queries, keys = (HEADS[n] * HEADS["head_dim"] for n in list(HEADS)[:2])
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (vocab, hidden)}
    for layer in range(layers):
        of_layer = {
            "self_attn.q_proj": (queries, hidden),
            "self_attn.k_proj": (keys, hidden),
            "self_attn.v_proj": (keys, hidden),
            "self_attn.o_proj": (hidden, queries),
            "self_attn.q_norm": (HEADS["head_dim"],),
            "self_attn.k_norm": (HEADS["head_dim"],),
            "mlp.gate_proj": (inner, hidden),
            "mlp.up_proj": (inner, hidden),
            "mlp.down_proj": (hidden, inner),
            "input_layernorm": (hidden,),
            "post_attention_layernorm": (hidden,),
        }
        shapes |= {f"model.layers.{layer}.{name}.weight": s for name, s in of_layer.items()}
    shapes["model.norm.weight"] = (hidden,)
    generator = torch.Generator().manual_seed(1)
    return {
        name: torch.randn(shape, generator=generator) * (0.2 if len(shape) > 1 else 0.3)
        + (len(shape) == 1)
        for name, shape in shapes.items()
    }


def _saying(weights: dict[str, torch.Tensor], ids: Sequence[int]) -> dict[str, torch.Tensor]:
    size = len(weights["model.embed_tokens.weight"])
    layer, one = "model.layers.0", torch.eye(size)
    following = torch.zeros(size, size)
    for before, after in pairwise(ids):
        following[after, before] = 1.0
    silent = torch.zeros_like(weights[f"{layer}.self_attn.o_proj.weight"])
    norms = {name: torch.ones_like(value) for name, value in weights.items() if value.ndim == 1}
    return {
        **weights,
        **norms,
        "model.embed_tokens.weight": one,
        f"{layer}.self_attn.o_proj.weight": silent,
        f"{layer}.mlp.gate_proj.weight": one.clone(),
        f"{layer}.mlp.up_proj.weight": one.clone(),
        f"{layer}.mlp.down_proj.weight": following,
    }


def _tokenizer(says: Sequence[str]) -> Tokenizer:
    letters = sorted(ByteLevel.alphabet())
    tokenizer = Tokenizer(BPE({letter: i for i, letter in enumerate(letters)}, []))
    tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False)
    tokenizer.decoder = ByteLevelDecoder()
    tokenizer.add_special_tokens(list(CONTROL))
    tokenizer.add_tokens(["<|fim_prefix|>"])  # the release does not call it special
    own = [word for word in says if word not in THOUGHTS]
    tokenizer.add_tokens([AddedToken(word, normalized=False) for word in (*THOUGHTS, *own)])
    return tokenizer


def _write(path: Path, content: dict[str, object]) -> None:
    path.write_text(json.dumps(content), encoding="utf-8")

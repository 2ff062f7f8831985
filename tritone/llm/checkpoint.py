"""A Qwen on disk in Hugging Face form: its config.json, its tensors, and ours with speech ids."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from pydantic import ValidationError

from tritone.arrays import Float32, Int32
from tritone.checkpoints.safetensors_file import Checkpoint, to_float32
from tritone.config import CONFIG_NAME, problems
from tritone.errors import ModelDirectoryError
from tritone.llm.config import DecoderConfig, LLMConfig, Qwen2Config, SamplingConfig
from tritone.loading.steps import step
from tritone.plain_json import parse_json

LLM_DIR = "llm"  # inside the model directory: the merged checkpoint
WEIGHTS_NAME = "model.safetensors"
GRAPH_DIR = "onnx"  # inside that: what was built from it
EMBEDDING = "model.embed_tokens.weight"
HEAD = "lm_head.weight"
HEAD_BIAS = "lm_head.bias"
FINAL_NORM = "model.norm.weight"
SIZES = [name for name, field in Qwen2Config.model_fields.items() if field.annotation is int]

_BIASED = {f"self_attn.{part}_proj.weight" for part in "qkv"}
_QWEN2 = {
    "model_type": ("qwen2", None),
    "hidden_act": ("silu", "silu"),
    "use_sliding_window": (False, False),
}
DecoderT = TypeVar("DecoderT", bound=DecoderConfig)

# Far below every logit, yet finite in half precision together with one: runtimes may hold logits in
# half, and two infinities of a softmax make NaN.
BANNED = -3e4


def layer_name(layer: int, part: str) -> str:
    """Full name of `part`, e.g. "self_attn.q_proj.weight", in decoder layer `layer`."""
    return f"model.layers.{layer}.{part}"


def weight_shapes(
    hidden_size: int, intermediate_size: int, query_size: int, key_value_size: int
) -> dict[str, tuple[int, ...]]:
    """What one decoder layer of every Qwen has, and its shape."""
    return {
        "input_layernorm.weight": (hidden_size,),
        "post_attention_layernorm.weight": (hidden_size,),
        "self_attn.q_proj.weight": (query_size, hidden_size),
        "self_attn.k_proj.weight": (key_value_size, hidden_size),
        "self_attn.v_proj.weight": (key_value_size, hidden_size),
        "self_attn.o_proj.weight": (hidden_size, query_size),
        "mlp.gate_proj.weight": (intermediate_size, hidden_size),
        "mlp.up_proj.weight": (intermediate_size, hidden_size),
        "mlp.down_proj.weight": (hidden_size, intermediate_size),
    }


def layer_shapes(
    hidden_size: int, intermediate_size: int, heads: int, key_value_heads: int
) -> dict[str, tuple[int, ...]]:
    """Every tensor of one Qwen2 decoder layer and its shape, in the order of a merged file."""
    key_value_size = key_value_heads * (hidden_size // heads)
    shapes = {}
    sizes = (hidden_size, intermediate_size, hidden_size, key_value_size)
    for name, shape in weight_shapes(*sizes).items():
        shapes[name] = shape
        if name in _BIASED:
            shapes[name.replace("weight", "bias")] = shape[:1]
    return shapes


def finite(checkpoint: Checkpoint, name: str) -> Float32:
    """A tensor of weights, as a bias alone need not be. Raises ModelDirectoryError."""
    values = checkpoint.float32(name)
    if not np.isfinite(values).all():
        raise ModelDirectoryError(f"{checkpoint.path}: {name} has values that are NaN or infinite")
    return values


class EmbeddingTable:
    """Input rows of the language model, read from the file as they are asked for."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        # as a plain array: the subclass np.memmap costs tens of microseconds a look-up
        self._rows = np.asarray(checkpoint.stored(EMBEDDING))

    def __call__(self, ids: Int32) -> Float32:
        """(n,) LLM ids -> (n, hidden) float32, exact for every storage type."""
        return to_float32(self._rows[ids])


def logit_bias(model_dir: Path, llm: LLMConfig) -> Float32:
    """(vocab_size,) what a plain Qwen2 runtime must add to the logits.

    The speech head has a bias, which neither Hugging Face's Qwen2 nor TensorRT-LLM's has, and the
    rows off it must never be drawn: they are BANNED. So are the stop ids that are no stop words:
    a runtime that knows one end alone would let them end speech before min_tokens.

    Raises ModelDirectoryError when the checkpoint's own bias does not ban what it should.
    """
    path = model_dir / LLM_DIR / WEIGHTS_NAME
    with step("logit bias", path):
        stored = Checkpoint(path).float32(HEAD_BIAS)
    speech = llm.speech_rows
    if stored.shape != (llm.vocab_size,) or not np.isfinite(stored[speech]).all():
        raise ModelDirectoryError(
            f"{path}: {HEAD_BIAS} has shape {stored.shape} and must be finite for ids "
            f"{speech.start}..{speech.stop - 1} of {llm.vocab_size}; convert the checkpoint again"
        )
    bias = np.full(llm.vocab_size, BANNED, np.float32)
    bias[speech] = stored[speech]
    bias[[stop for stop in llm.stop_ids if stop not in llm.stop_words]] = BANNED
    return bias


def read_decoder(
    directory: Path, kind: type[DecoderT], fixed: Mapping[str, tuple[object, object]]
) -> DecoderT:
    """Read DIRECTORY/config.json, as any version of transformers writes it.

    fixed: what it must say, and what it means where it does not say. Raises ModelDirectoryError
    for a missing number and for a variant with another graph.
    """
    path = directory / CONFIG_NAME
    if not path.is_file():
        named = kind.__name__.removesuffix("Config")
        raise ModelDirectoryError(f"{path} does not exist: {directory} is not a {named} directory")
    content = parse_json(path)
    rope = _rope(path, content)
    said = {key: (content.get(key, silent), needed) for key, (needed, silent) in fixed.items()}
    said["rope_type"] = (rope.get("rope_type", rope.get("type", "default")), "default")
    for key, (found, needed) in said.items():
        if found != needed:
            raise ModelDirectoryError(f"{path}: {key} is {found!r}, only {needed!r} is supported")
    numbers = {"rope_theta": rope.get("rope_theta"), **content}
    try:
        given = {n: numbers[n] for n in kind.model_fields if numbers.get(n) is not None}
        return kind.model_validate(given)
    except ValidationError as error:
        raise ModelDirectoryError(f"{path}: {problems(error)}") from error


def _rope(path: Path, content: Mapping[str, Any]) -> dict[str, Any]:
    """Of the rotary angles, under either name."""
    rope: dict[str, Any] = {}
    for key in ("rope_scaling", "rope_parameters"):
        if not isinstance(given := content.get(key) or {}, dict):
            raise ModelDirectoryError(f"{path}: {key} is {given!r:.80}, expected an object")
        rope.update(given)
    return rope


def read_qwen2(directory: Path) -> Qwen2Config:
    """As `read_decoder`; its heads must divide the hidden size."""
    qwen2 = read_decoder(directory, Qwen2Config, _QWEN2)
    if qwen2.hidden_size % qwen2.num_attention_heads:
        raise ModelDirectoryError(
            f"{directory / CONFIG_NAME}: hidden_size {qwen2.hidden_size} is not a multiple of "
            f"num_attention_heads {qwen2.num_attention_heads}"
        )
    return qwen2


def write_qwen2(directory: Path, config: LLMConfig, torch_dtype: str) -> None:
    """Write config.json and generation_config.json of the merged checkpoint."""
    sampling = SamplingConfig()
    write_json(
        directory / CONFIG_NAME,
        {
            "architectures": ["Qwen2ForCausalLM"],
            "model_type": "qwen2",
            **{name: getattr(config, name) for name in SIZES},
            "rope_theta": config.rope_theta,
            "rms_norm_eps": config.rms_norm_eps,
            "hidden_act": "silu",
            "attention_dropout": 0.0,
            "initializer_range": 0.02,
            "use_sliding_window": False,
            "tie_word_embeddings": False,
            "use_bias": True,
            "eos_token_id": config.stop_ids[0],
            "torch_dtype": torch_dtype,
        },
    )
    write_json(
        directory / "generation_config.json",
        {
            "do_sample": True,
            "eos_token_id": list(config.stop_ids),
            "temperature": sampling.temperature,
            "top_k": sampling.top_k,
            "top_p": sampling.top_p,
        },
    )


def write_json(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")

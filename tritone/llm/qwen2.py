"""config.json of a Qwen2 directory in Hugging Face form, read strictly and written."""

import json
from pathlib import Path
from typing import Any

from tritone.config import parse_json
from tritone.errors import ModelDirectoryError
from tritone.llm.config import LLMConfig, Qwen2Config, SamplingConfig

SIZES = [name for name, field in Qwen2Config.model_fields.items() if field.annotation is int]


def read_qwen2(directory: Path) -> Qwen2Config:
    """Read DIRECTORY/config.json.

    Raises ModelDirectoryError for a missing key and for a variant of Qwen2 with another graph.
    """
    path = directory / "config.json"
    if not path.is_file():
        raise ModelDirectoryError(f"{path} does not exist: {directory} is not a Qwen2 directory")
    config = parse_json(path)
    rope = {**(config.get("rope_scaling") or {}), **(config.get("rope_parameters") or {})}
    variants = {
        "model_type": (config.get("model_type"), "qwen2"),
        "hidden_act": (config.get("hidden_act", "silu"), "silu"),
        "use_sliding_window": (config.get("use_sliding_window", False), False),
        "rope_type": (rope.get("rope_type", rope.get("type", "default")), "default"),
    }
    for key, (found, expected) in variants.items():
        if found != expected:
            raise ModelDirectoryError(f"{path}: {key} is {found!r}, only {expected!r} is supported")
    numbers = {"rope_theta": rope.get("rope_theta"), **config}
    try:
        qwen2 = Qwen2Config(
            **{name: int(numbers[name]) for name in SIZES},
            rope_theta=float(numbers["rope_theta"]),
            rms_norm_eps=float(numbers["rms_norm_eps"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ModelDirectoryError(f"{path}: a number is missing or wrong: {error}") from error
    if qwen2.hidden_size % qwen2.num_attention_heads:
        raise ModelDirectoryError(
            f"{path}: hidden_size {qwen2.hidden_size} is not a multiple of num_attention_heads "
            f"{qwen2.num_attention_heads}"
        )
    return qwen2


def write_qwen2(directory: Path, config: LLMConfig, torch_dtype: str) -> None:
    """Write config.json and generation_config.json of the merged checkpoint."""
    sampling = SamplingConfig()
    write_json(
        directory / "config.json",
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

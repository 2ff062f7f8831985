"""The options of trtllm-build 0.20, and the same facts in config.json of the engine it built.

Defaults moved from version to version (tokens_per_block 128, 64, 32; use_paged_context_fmha off,
then on), and trtllm-build overrides what it finds unfit with no more than a warning. So every
option that matters is passed, and looked up again in the result.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tritone.config import CONFIG_NAME
from tritone.errors import ModelDirectoryError
from tritone.llm.trtllm.checkpoint_config import WEIGHT_ONLY_INT8
from tritone.llm.trtllm.engine_settings import EngineSettings, read_json
from tritone.llm.trtllm.requirement import WHY_THIS_VERSION, is_supported

BUILD_AGAIN = "build the engines again: tritone engines"
_ABSENT = "absent"


@dataclass(frozen=True)
class EngineOptions:
    """Options by kind. plugins: data type, None for off. Switches that are off unless passed are
    in `unset`, under the name in config.json."""

    numbers: dict[str, int]
    plugins: dict[str, str | None]
    switches: dict[str, bool]
    unset: tuple[str, ...] = (
        "gather_context_logits",
        "weight_sparsity",
        "weight_streaming",
        "use_strip_plan",
        "plugin_config.manage_weights",  # --fast_build
    )


def engine_options(settings: EngineSettings) -> EngineOptions:
    """Every option that decides what is built."""
    checkpoint = settings.checkpoint
    return EngineOptions(
        numbers={
            "max_batch_size": settings.max_batch_size,
            "max_input_len": settings.max_input_len,
            "max_seq_len": settings.max_seq_len,
            "max_num_tokens": settings.max_num_tokens,
            "opt_num_tokens": settings.max_batch_size,  # of a step that only decodes
            "max_beam_width": 1,
            "max_prompt_embedding_table_size": 0,  # prompts are ids
            "max_draft_len": 0,
            "tokens_per_block": settings.tokens_per_block,
        },
        plugins={
            "gpt_attention_plugin": checkpoint.dtype,
            "gemm_plugin": checkpoint.dtype,
            "nccl_plugin": checkpoint.dtype if checkpoint.tp_size > 1 else None,
            "lora_plugin": None,
        },
        switches={
            "context_fmha": True,
            "remove_input_padding": True,
            "use_paged_context_fmha": True,  # KV reuse and chunked prompts need it
            "use_fp8_context_fmha": False,
            "use_fused_mlp": not checkpoint.weight_only,  # joins fc and gate, not in int8
            "multiple_profiles": False,  # the same prompt would not always give the same logits
            "reduce_fusion": False,  # this and the next two: other models, FP8 or FP4
            "user_buffer": False,
            "norm_quant_fusion": False,
        },
    )


def engine_arguments(settings: EngineSettings) -> list[str]:
    """The options as command line arguments."""
    options = engine_options(settings)
    arguments = {
        **{name: str(number) for name, number in options.numbers.items()},
        "kv_cache_type": "paged",
        "logits_dtype": "float32",
        "profiling_verbosity": "layer_names_only",
        **{name: dtype or "disable" for name, dtype in options.plugins.items()},
        **{name: "enable" if on else "disable" for name, on in options.switches.items()},
    }
    return [part for name, value in arguments.items() for part in (f"--{name}", value)]


def check_engine_config(engine_dir: Path, settings: EngineSettings) -> None:
    """Raise ModelDirectoryError unless `engine_dir` holds the engine that `settings` describe.

    Names another TensorRT-LLM version, every fact that differs, and a missing or empty engine file.
    """
    path = engine_dir / CONFIG_NAME
    config = read_json(path, BUILD_AGAIN)
    version = str(config.get("version", _ABSENT))
    if not is_supported(version):
        raise ModelDirectoryError(
            f"{path}: version is {version}; {WHY_THIS_VERSION}. {BUILD_AGAIN}"
        )
    problems = [
        f"{key} is {found!r}, expected {expected!r}"
        for key, expected in _recorded(settings).items()
        if (found := _look_up(config, key)) != expected
    ]
    if problems:
        raise ModelDirectoryError(f"{path}: {'; '.join(problems)}. {BUILD_AGAIN}")
    for rank in range(settings.checkpoint.tp_size):
        engine = engine_dir / f"rank{rank}.engine"
        if not engine.is_file() or not engine.stat().st_size:
            raise ModelDirectoryError(f"{engine} is missing or empty; {BUILD_AGAIN}")


def _recorded(settings: EngineSettings) -> dict[str, Any]:
    """Dotted key in config.json -> what must be there."""
    options, checkpoint = engine_options(settings), settings.checkpoint
    numbers = dict(options.numbers)
    plugin = {
        "dtype": checkpoint.dtype,
        "paged_kv_cache": True,
        "tokens_per_block": numbers.pop("tokens_per_block"),
        **options.plugins,
        **options.switches,
    }
    build = {
        **numbers,
        "kv_cache_type": "PAGED",
        "profiling_verbosity": "layer_names_only",
        **{f"plugin_config.{name}": value for name, value in plugin.items()},
        **dict.fromkeys(options.unset, False),
    }
    algorithm = WEIGHT_ONLY_INT8 if checkpoint.weight_only else None
    return {
        "pretrained_config.architecture": "Qwen2ForCausalLM",
        "pretrained_config.dtype": checkpoint.dtype,
        "pretrained_config.logits_dtype": "float32",
        "pretrained_config.mapping.tp_size": checkpoint.tp_size,
        "pretrained_config.mapping.pp_size": 1,
        "pretrained_config.quantization.quant_algo": algorithm,
        **{f"build_config.{name}": value for name, value in build.items()},
    }


def _look_up(config: Any, key: str) -> Any:
    for name in key.split("."):
        if not isinstance(config, dict) or name not in config:
            return _ABSENT
        config = config[name]
    return config

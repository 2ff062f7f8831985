"""What the language model's engine is built to serve, and how trtllm-build 0.20 is told.

Its defaults moved from version to version (tokens_per_block 128, 64, 32; use_paged_context_fmha
off, then on), and it overrides what it finds unfit with no more than a warning. So every option
that matters is passed, and looked up again in config.json of the engine that it built.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tritone.config import CONFIG_NAME
from tritone.errors import InvalidRequest, ModelDirectoryError
from tritone.llm.trtllm.checkpoint_config import WEIGHT_ONLY_INT8, CheckpointOptions
from tritone.llm.trtllm.environment import WHY_THIS_VERSION, is_supported
from tritone.plain_json import parse_json

ENGINE_DTYPES = ("bfloat16", "float16")
BUILD_AGAIN = "build the engines again: tritone engines"
_ABSENT = "absent"
# Off unless passed, in build_config of config.json; the last is --fast_build.
_OFF = (
    *("gather_context_logits", "weight_sparsity", "weight_streaming", "use_strip_plan"),
    "plugin_config.manage_weights",
)

Options = dict[str, int | str | None]  # a bool is a switch, None a plugin that is off


@dataclass(frozen=True)
class EngineSettings:
    """Bounds of an engine. Lengths in tokens, of which a second of speech has 25.

    checkpoint: what it is built from.
    max_batch_size: requests in flight. Each of 32 streams may have the next segment of its text
        begun while the one before is still spoken.
    max_input_len: longest prompt. 750 tokens are 30 s of reference speech, the longest that is
        taken, and 160 the longest segment of a text; the rest is for the reference's transcript.
    max_seq_len: with the speech: 3200 more, 20 for each token of the longest segment, the most
        that is ever asked for. A position costs memory only where it is used.
    max_num_tokens: of one step over all requests: 4 of the longest prompts at once, or some 20
        usual ones. Activations grow with it; above 16384 trtllm-build itself warns.
    tokens_per_block: of the KV cache. Only whole blocks are shared by prompts that begin alike,
        and what two of one voice have in common is short: the transcript of its reference.

    Raises InvalidRequest for a dtype without fused attention.
    """

    checkpoint: CheckpointOptions
    max_batch_size: int = 64
    max_input_len: int = 2048
    max_seq_len: int = 5248
    max_num_tokens: int = 8192
    tokens_per_block: int = 32

    def __post_init__(self) -> None:
        if self.checkpoint.dtype not in ENGINE_DTYPES:
            raise InvalidRequest(
                "dtype",
                f"is {self.checkpoint.dtype}; the fused attention that sharing of the KV cache "
                f"needs takes {' or '.join(ENGINE_DTYPES)}: convert the checkpoint to one of them",
            )


def settings_for(checkpoint_dir: Path) -> EngineSettings:
    """Settings for a converted checkpoint.

    A model of fewer positions than usual gets as many as it has, half of them for the prompt, and
    no larger step than they allow. Raises ModelDirectoryError for a directory that is no whole
    checkpoint, and InvalidRequest like `EngineSettings`.
    """
    options, positions = _read_checkpoint(checkpoint_dir)
    usual = EngineSettings(options)
    if positions >= usual.max_seq_len:
        return usual
    return replace(
        usual,
        max_seq_len=positions,
        max_input_len=positions // 2,
        max_num_tokens=min(usual.max_num_tokens, positions * usual.max_batch_size),
    )


def _read_checkpoint(directory: Path) -> tuple[CheckpointOptions, int]:
    """How the checkpoint was converted, and the positions of its model."""
    path = directory / CONFIG_NAME
    config = _read_json(path, "write the checkpoint with `tritone engines`")
    try:
        tp_size = int(config["mapping"]["tp_size"])
        weight_only = config["quantization"]["quant_algo"] == WEIGHT_ONLY_INT8
        options = CheckpointOptions(str(config["dtype"]), tp_size, weight_only)
        positions = int(config["max_position_embeddings"])
    except (KeyError, TypeError, ValueError) as error:
        raise ModelDirectoryError(
            f"{path} is not of a TensorRT-LLM checkpoint ({error!r}); write one with "
            "`tritone engines`"
        ) from error
    for rank in range(tp_size):
        weights = directory / f"rank{rank}.safetensors"
        if not weights.is_file():
            raise ModelDirectoryError(f"{weights} does not exist; convert the checkpoint again")
    return options, positions


def _options(settings: EngineSettings) -> tuple[Options, Options]:
    """What decides what is built, by its name in the command and in build_config or plugin_config
    of config.json."""
    checkpoint = settings.checkpoint
    build: Options = {
        "max_batch_size": settings.max_batch_size,
        "max_input_len": settings.max_input_len,
        "max_seq_len": settings.max_seq_len,
        "max_num_tokens": settings.max_num_tokens,
        "opt_num_tokens": settings.max_batch_size,  # of a step that only decodes
        "max_beam_width": 1,
        "max_prompt_embedding_table_size": 0,  # prompts are ids
        "max_draft_len": 0,
        "profiling_verbosity": "layer_names_only",
    }
    plugins: Options = {
        "tokens_per_block": settings.tokens_per_block,
        "gpt_attention_plugin": checkpoint.dtype,
        "gemm_plugin": checkpoint.dtype,
        "nccl_plugin": checkpoint.dtype if checkpoint.tp_size > 1 else None,
        "lora_plugin": None,
        "context_fmha": True,
        "remove_input_padding": True,
        "use_paged_context_fmha": True,  # KV reuse and chunked prompts need it
        "use_fp8_context_fmha": False,
        "use_fused_mlp": not checkpoint.weight_only,  # joins fc and gate, not in int8
        "multiple_profiles": False,  # the same prompt would not always give the same logits
        "reduce_fusion": False,  # this and the next two: other models, FP8 or FP4
        "user_buffer": False,
        "norm_quant_fusion": False,
    }
    return build, plugins


def engine_arguments(settings: EngineSettings) -> list[str]:
    """The options as command line arguments."""
    build, plugins = _options(settings)
    arguments = {**build, "kv_cache_type": "paged", "logits_dtype": "float32", **plugins}
    return [part for name, value in arguments.items() for part in (f"--{name}", _word(value))]


def _word(value: int | str | None) -> str:
    if value is None or isinstance(value, bool):
        return "enable" if value else "disable"
    return str(value)


def check_engine_config(engine_dir: Path, settings: EngineSettings) -> None:
    """Raise ModelDirectoryError unless `engine_dir` holds the engine that `settings` describe.

    Names another TensorRT-LLM version, every fact that differs, and a missing or empty engine file.
    """
    path = engine_dir / CONFIG_NAME
    config = _read_json(path, BUILD_AGAIN)
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


def _recorded(settings: EngineSettings) -> Options:
    """Dotted key in config.json -> what must be there."""
    checkpoint = settings.checkpoint
    build, plugins = _options(settings)
    plugins |= {"dtype": checkpoint.dtype, "paged_kv_cache": True}
    build |= {"kv_cache_type": "PAGED", **dict.fromkeys(_OFF, False)}
    build |= {f"plugin_config.{name}": value for name, value in plugins.items()}
    return {
        "pretrained_config.architecture": "Qwen2ForCausalLM",
        "pretrained_config.dtype": checkpoint.dtype,
        "pretrained_config.logits_dtype": "float32",
        "pretrained_config.mapping.tp_size": checkpoint.tp_size,
        "pretrained_config.mapping.pp_size": 1,
        "pretrained_config.quantization.quant_algo": checkpoint.quant_algo,
        **{f"build_config.{name}": value for name, value in build.items()},
    }


def _look_up(config: Any, key: str) -> Any:
    for name in key.split("."):
        if not isinstance(config, dict) or name not in config:
            return _ABSENT
        config = config[name]
    return config


def _read_json(path: Path, advice: str) -> dict[str, Any]:
    """An object from a JSON file; raises ModelDirectoryError, with `advice`, without one."""
    if not path.is_file():
        raise ModelDirectoryError(f"{path} does not exist; {advice}")
    try:
        return parse_json(path)
    except ModelDirectoryError as error:
        raise ModelDirectoryError(f"{error}; {advice}") from error

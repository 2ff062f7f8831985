"""What the language model's engine is built to serve."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tritone.config import CONFIG_NAME
from tritone.errors import InvalidRequest, ModelDirectoryError
from tritone.llm.trtllm.checkpoint_config import WEIGHT_ONLY_INT8, CheckpointOptions

ENGINE_DTYPES = ("bfloat16", "float16")


@dataclass(frozen=True)
class EngineSettings:
    """Bounds of an engine. Lengths in tokens; the defaults are for 25 in a second of speech.

    checkpoint: what it is built from.
    max_batch_size: requests in flight. Each of 32 streams may have the next segment of its text
        begun while the one before is still spoken.
    max_input_len: longest prompt. 750 tokens are 30 s of reference speech, the longest that is
        taken, and 160 the longest segment of a text; the rest is for the reference's transcript.
    max_seq_len: prompt and speech together: 3200 more, 20 for each token of the longest segment,
        the most that is ever asked for. A position costs memory only where it is used.
    max_num_tokens: of one step over all requests: 4 of the longest prompts at once, or some 20
        usual ones. Activations grow with it; above 16384 trtllm-build itself warns.
    tokens_per_block: of the KV cache. Only whole blocks are shared by prompts that begin alike,
        and what two of one voice have in common is short: the transcript of its reference.

    Raises InvalidRequest for numbers that contradict each other, and for a dtype without fused
    attention.
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
        for name in ("max_batch_size", "max_input_len", "tokens_per_block"):
            if getattr(self, name) < 1:
                raise InvalidRequest(name, f"is {getattr(self, name)}; it must be at least 1")
        if self.max_seq_len <= self.max_input_len:
            raise InvalidRequest(
                "max_seq_len",
                f"is {self.max_seq_len}; it must be above max_input_len {self.max_input_len}",
            )
        # Beyond these trtllm-build changes the number with no more than a warning.
        low = max(self.max_input_len, self.max_batch_size, self.tokens_per_block)
        high = self.max_seq_len * self.max_batch_size
        if not low <= self.max_num_tokens <= high:
            raise InvalidRequest(
                "max_num_tokens", f"is {self.max_num_tokens}; the limits are {low} and {high}"
            )


def settings_for(checkpoint_dir: Path, **bounds: int) -> EngineSettings:
    """Settings for a converted checkpoint; `bounds` replace the numbers of `EngineSettings`.

    A model of fewer positions than the default max_seq_len gets as many as it has, half of them for
    the prompt, and no larger step than they allow. Raises ModelDirectoryError for a directory that
    is no whole checkpoint, and InvalidRequest like `EngineSettings` and for a max_seq_len beyond
    the model's positions.
    """
    options, positions = _read_checkpoint(checkpoint_dir)
    if positions < EngineSettings.max_seq_len:
        batch = bounds.get("max_batch_size", EngineSettings.max_batch_size)
        fitting = {
            "max_seq_len": positions,
            "max_input_len": positions // 2,
            "max_num_tokens": min(EngineSettings.max_num_tokens, positions * batch),
        }
        bounds = {**fitting, **bounds}
    settings = EngineSettings(options, **bounds)
    if settings.max_seq_len > positions:
        raise InvalidRequest(
            "max_seq_len", f"is {settings.max_seq_len}; the model has {positions} positions"
        )
    return settings


def _read_checkpoint(directory: Path) -> tuple[CheckpointOptions, int]:
    """How the checkpoint was converted, and the positions of its model."""
    path = directory / CONFIG_NAME
    config = read_json(path, "write the checkpoint with `tritone engines`")
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


def read_json(path: Path, advice: str) -> dict[str, Any]:
    """An object from a JSON file; raises ModelDirectoryError, with `advice`, without one."""
    if not path.is_file():
        raise ModelDirectoryError(f"{path} does not exist; {advice}")
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ModelDirectoryError(f"{path} is not JSON ({error}); {advice}") from error
    if not isinstance(value, dict):
        raise ModelDirectoryError(f"{path} holds no JSON object; {advice}")
    return value

"""What may be chosen of a TensorRT-LLM checkpoint: its config.json, and the rounding of values."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tritone.arrays import Float32
from tritone.checkpoints.safetensors_file import to_float32
from tritone.errors import InvalidRequest, ModelDirectoryError
from tritone.llm.checkpoint import SIZES
from tritone.llm.config import Qwen2Config

STORAGE = {"bfloat16": "BF16", "float16": "F16", "float32": "F32"}  # name there: in safetensors
CHECKPOINTS_DIR = "trtllm"  # inside the LLM's directory, one checkpoint a subdirectory
WEIGHT_ONLY_INT8 = "W8A16"  # their name of the algorithm


@dataclass(frozen=True)
class CheckpointOptions:
    """dtype: bfloat16, float16 or float32. tp_size: GPUs that share each layer.

    weight_only: trtllm-build is to turn the layers' matrices into int8. Their int8 layout depends
    on the GPU, so the files hold plain values and only config.json says so.

    Raises InvalidRequest for an unknown dtype, and for float32 together with weight_only.
    """

    dtype: str = "bfloat16"
    tp_size: int = 1
    weight_only: bool = False

    def __post_init__(self) -> None:
        if self.dtype not in STORAGE:
            known = ", ".join(STORAGE)
            raise InvalidRequest("dtype", f"is {self.dtype!r}, expected one of {known}")
        if self.weight_only and self.dtype == "float32":
            raise InvalidRequest(
                "dtype", "is float32; TensorRT-LLM multiplies int8 weights by float16 or bfloat16"
            )

    @property
    def name(self) -> str:
        """Subdirectory of CHECKPOINTS_DIR, e.g. "bfloat16" or "float16-int8-tp2"."""
        int8 = "-int8" if self.weight_only else ""
        return self.dtype + int8 + (f"-tp{self.tp_size}" if self.tp_size > 1 else "")

    @property
    def quant_algo(self) -> str | None:
        return WEIGHT_ONLY_INT8 if self.weight_only else None


# The same for every Qwen2.
_QWEN2 = {
    "architecture": "Qwen2ForCausalLM",
    "qwen_type": "qwen2",  # undeclared there, and read without a check
    "logits_dtype": "float32",
    "hidden_act": "silu",
    "position_embedding_type": "rope_gpt_neox",
    "rotary_scaling": None,
    "attn_bias": True,  # of q, k and v alone
    "mlp_bias": False,
    "qk_layernorm": False,
    "seq_length": 8192,  # read for logn attention alone
    "use_logn_attn": False,
    "num_labels": 1,
    "moe_intermediate_size": 0,
    "moe_shared_expert_intermediate_size": 0,
    "use_parallel_embedding": False,
    "embedding_sharding_dim": 0,
    "disable_weight_only_quant_plugin": False,
    "runtime_defaults": None,
}


def checkpoint_config(
    config: Qwen2Config, tied: bool, options: CheckpointOptions
) -> dict[str, Any]:
    """What config.json holds. tied: tie_word_embeddings of the source.

    Nothing is left to TensorRT-LLM's defaults, of which several are wrong for a Qwen2 (rotary_base,
    norm_epsilon, position_embedding_type). `mapping` and `quantization` have only the keys that
    every version knows: another one there is a TypeError.
    """
    return {
        **_QWEN2,
        "dtype": options.dtype,
        **{name: getattr(config, name) for name in SIZES},
        "head_size": config.head_dim,
        "rotary_base": config.rope_theta,
        "rotary_embedding_dim": config.head_dim,
        "norm_epsilon": config.rms_norm_eps,
        "tie_word_embeddings": tied,
        "mapping": {"world_size": options.tp_size, "tp_size": options.tp_size, "pp_size": 1},
        "quantization": {
            "quant_algo": options.quant_algo,
            "kv_cache_quant_algo": None,
        },
    }


def to_dtype(values: Float32, dtype: str, name: str) -> NDArray[Any]:
    """Round float32 values to the nearest of `dtype`, to even where two are as near.

    bfloat16 comes as its bits, uint16. Raises ModelDirectoryError, naming the tensor, for values
    that are not finite or that `dtype` cannot hold.
    """
    if not np.isfinite(values).all():
        raise ModelDirectoryError(f"{name} has values that are NaN or infinite")
    if dtype == "bfloat16":
        bits = values.view(np.uint32)
        rounded: NDArray[Any] = ((bits + (0x7FFF + (bits >> 16 & 1))) >> 16).astype(np.uint16)
    else:
        with np.errstate(over="ignore"):  # reported below
            rounded = values.astype(np.dtype(dtype), copy=False)
    if not np.isfinite(to_float32(rounded)).all():
        raise ModelDirectoryError(
            f"{name} has values up to {np.abs(values).max():.3g}, too large for {dtype}: convert "
            "with --dtype bfloat16"
        )
    return rounded

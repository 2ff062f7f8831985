"""The merged language model on disk: where it lies, its tensors, and the first reading."""

from pathlib import Path

import numpy as np

from tritone.arrays import Float32, Int32
from tritone.checkpoints.safetensors_file import Checkpoint, to_float32
from tritone.errors import ModelDirectoryError
from tritone.llm.config import LLMConfig
from tritone.loading.steps import step

LLM_DIR = "llm"  # inside the model directory: the merged checkpoint
WEIGHTS_NAME = "model.safetensors"
GRAPH_DIR = "onnx"  # inside that: what was built from it
EMBEDDING = "model.embed_tokens.weight"
HEAD = "lm_head.weight"
HEAD_BIAS = "lm_head.bias"
FINAL_NORM = "model.norm.weight"

# Far below every logit, yet finite in half precision together with one: runtimes may hold logits in
# half, and two infinities of a softmax make NaN.
BANNED = -3e4


def layer_name(layer: int, part: str) -> str:
    """Full name of `part`, e.g. "self_attn.q_proj.weight", in decoder layer `layer`."""
    return f"model.layers.{layer}.{part}"


def layer_shapes(
    hidden_size: int, intermediate_size: int, heads: int, key_value_heads: int
) -> dict[str, tuple[int, ...]]:
    """Every tensor of one Qwen2 decoder layer and its shape."""
    head_dim = hidden_size // heads
    key_value_size = key_value_heads * head_dim
    return {
        "input_layernorm.weight": (hidden_size,),
        "post_attention_layernorm.weight": (hidden_size,),
        "self_attn.q_proj.weight": (hidden_size, hidden_size),
        "self_attn.q_proj.bias": (hidden_size,),
        "self_attn.k_proj.weight": (key_value_size, hidden_size),
        "self_attn.k_proj.bias": (key_value_size,),
        "self_attn.v_proj.weight": (key_value_size, hidden_size),
        "self_attn.v_proj.bias": (key_value_size,),
        "self_attn.o_proj.weight": (hidden_size, hidden_size),
        "mlp.gate_proj.weight": (intermediate_size, hidden_size),
        "mlp.up_proj.weight": (intermediate_size, hidden_size),
        "mlp.down_proj.weight": (hidden_size, intermediate_size),
    }


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
    rows off it must never be drawn: they are BANNED.

    Raises ModelDirectoryError when the checkpoint's own bias does not ban what it should.
    """
    path = model_dir / LLM_DIR / WEIGHTS_NAME
    with step("logit bias", path):
        stored = Checkpoint(path).float32(HEAD_BIAS)
    speech = np.s_[llm.speech_offset : llm.speech_offset + llm.speech_head_size]
    if stored.shape != (llm.vocab_size,) or not np.isfinite(stored[speech]).all():
        raise ModelDirectoryError(
            f"{path}: {HEAD_BIAS} has shape {stored.shape} and must be finite for ids "
            f"{speech.start}..{speech.stop - 1} of {llm.vocab_size}; convert the checkpoint again"
        )
    bias = np.full(llm.vocab_size, BANNED, np.float32)
    bias[speech] = stored[speech]
    return bias

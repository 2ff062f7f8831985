"""The merged language model on disk: where it lies, and what its tensors are called."""

import numpy as np

from tritone.arrays import Float32, Int32
from tritone.checkpoints.safetensors_file import Checkpoint, to_float32

LLM_DIR = "llm"  # inside the model directory: the merged checkpoint
WEIGHTS_NAME = "model.safetensors"
GRAPH_DIR = "onnx"  # inside that: what was built from it
EMBEDDING = "model.embed_tokens.weight"
HEAD = "lm_head.weight"
HEAD_BIAS = "lm_head.bias"
FINAL_NORM = "model.norm.weight"


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

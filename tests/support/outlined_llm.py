"""A full-size language model as an outline: shapes without values, which a GPU's work is counted
and compiled from."""

from pathlib import Path

import numpy as np
import torch

from benchmarks.full_size import COSYVOICE2
from tritone.llm.checkpoint import weight_shapes
from tritone.llm.torch.qwen2 import TorchQwen2
from tritone.llm.torch.slots import TorchSlots

CONFIG = COSYVOICE2.llm


class _Weights:
    """In the place of a `Checkpoint`: nothing but zeros, which share their memory."""

    path = Path("outline")

    def __init__(self) -> None:
        hidden, dim = CONFIG.hidden_size, CONFIG.head_dim
        heads, kept = CONFIG.num_attention_heads * dim, CONFIG.num_key_value_heads * dim
        self._shapes = weight_shapes(hidden, CONFIG.intermediate_size, heads, kept)
        for part, size in (("q", heads), ("k", kept), ("v", kept)):
            self._shapes[f"self_attn.{part}_proj.bias"] = (size,)
        self._shapes |= {"model.norm.weight": (hidden,), "lm_head.bias": (CONFIG.vocab_size,)}
        self._shapes["lm_head.weight"] = (CONFIG.vocab_size, hidden)

    def stored(self, name: str) -> np.ndarray:
        shape = next(shape for part, shape in self._shapes.items() if name.endswith(part))
        return np.broadcast_to(np.zeros(1, np.float32), shape)


def outlined(kind: type[TorchSlots], slots: int = 64, **changes) -> TorchSlots:
    """A session of that kind, in bfloat16; changes: to the model's numbers."""
    config = CONFIG.model_copy(update=changes)
    decoder = TorchQwen2(_Weights(), config, torch.device("meta"), torch.bfloat16)
    return kind(decoder, slots=slots, slot_length=2048, window=10)

"""The ONNX graph of a Qwen3: queries and keys are normalised head by head, the head is the
embedding."""

from dataclasses import dataclass

import numpy as np

from tritone.llm.checkpoint import EMBEDDING, layer_name
from tritone.llm.onnx.decoder_graph import DecoderGraph
from tritone.llm.qwen3 import Qwen3Config


@dataclass(frozen=True)
class Qwen3Graph(DecoderGraph):
    """Of all of the vocabulary."""

    config: Qwen3Config

    def _outputs(self) -> dict[str, int]:
        return {"logits": self.config.vocab_size}

    def _projected(self, layer: int, normed: str) -> list[str]:
        name, config, writer = f"layer{layer}", self.config, self.writer
        qkv = self._linear(normed, self._joined(layer, "weight"), None, f"{name}.qkv")
        heads = [config.num_attention_heads, *(2 * [config.num_key_value_heads])]
        sizes = writer.constant(f"{name}.sizes", np.array(heads, np.int64) * config.head_dim)
        parts = [f"{name}.{part}" for part in ("query", "key", "value")]
        writer.node("Split", [qkv, sizes], *parts, axis=-1)
        return [
            self._by_head(parts[0], layer, "q_norm"),
            self._by_head(parts[1], layer, "k_norm"),
            parts[2],
        ]

    def _by_head(self, rows: str, layer: int, norm: str) -> str:
        """RMS norm over each head of (batch, sequence, heads * head_dim)."""
        node, shape = self.writer.node, [0, 0, -1, self.config.head_dim]
        apart = self.writer.constant(f"{rows}.apart", np.array(shape, np.int64))
        together = self.writer.constant(f"{rows}.together", np.array([0, 0, -1], np.int64))
        scale = self._constant(layer_name(layer, f"self_attn.{norm}.weight"))
        heads = node("Reshape", [rows, apart], f"{rows}.heads")
        epsilon = self.config.rms_norm_eps
        normed = node(
            "SimplifiedLayerNormalization",
            [heads, scale],
            f"{rows}.normed",
            axis=-1,
            epsilon=epsilon,
        )
        return node("Reshape", [normed, together], f"{rows}.joined")

    def _head(self, last: str) -> None:
        self._linear(last, self._load(EMBEDDING), None, "logits")

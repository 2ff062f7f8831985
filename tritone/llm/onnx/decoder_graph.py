"""The ONNX graph of a decoder of the Qwen kind, node by node; generations differ in attention and
head."""

from abc import abstractmethod
from dataclasses import dataclass

import numpy as np

from tritone.arrays import Float32
from tritone.llm.checkpoint import FINAL_NORM, layer_name
from tritone.llm.head_padding import pad_heads, padded_head_dim
from tritone.llm.onnx.graph_writer import MICROSOFT
from tritone.llm.onnx.step_graph import LAST, StepGraph
from tritone.llm.rotary import DecoderNumbers, rotary_tables


@dataclass(frozen=True)
class DecoderGraph(StepGraph):
    config: DecoderNumbers

    def build(self) -> None:
        config, writer = self.config, self.writer
        self._declare()
        extra = (padded_head_dim(config.head_dim) - config.head_dim) // 2
        for name, table in zip(("cos_cache", "sin_cache"), rotary_tables(config), strict=True):
            writer.constant(name, np.pad(table, ((0, 0), (0, extra))))
        hidden = "inputs_embeds"
        scale = self._constant(layer_name(0, "input_layernorm.weight"))
        norm = {"axis": -1, "epsilon": config.rms_norm_eps}
        normed = writer.node(
            "SimplifiedLayerNormalization", [hidden, scale], "layer0.input", **norm
        )
        for layer in range(config.num_hidden_layers):
            normed, hidden = self._layer(layer, normed, hidden)
        last = writer.constant("last", np.array(-1, np.int64))
        self._head(writer.node("Gather", [normed, last], LAST, axis=1))

    @abstractmethod
    def _projected(self, layer: int, normed: str) -> list[str]:
        """Query, key and value for GroupQueryAttention, or all in one and two empty names."""

    @abstractmethod
    def _head(self, last: str) -> None:
        """The outputs, of the last position after the final norm."""

    def _layer(self, layer: int, normed: str, hidden: str) -> tuple[str, str]:
        """One decoder layer; returns the next layer's normalised input and the residual stream."""
        name = f"layer{layer}"
        attention = self._attention(layer, normed)
        scale = self._constant(layer_name(layer, "post_attention_layernorm.weight"))
        normed, hidden = self._add_norm(attention, hidden, scale, f"{name}.mlp")
        feed_forward = self._feed_forward(layer, normed)
        is_last = layer + 1 == self.config.num_hidden_layers
        scale = self._constant(
            FINAL_NORM if is_last else layer_name(layer + 1, "input_layernorm.weight")
        )
        return self._add_norm(feed_forward, hidden, scale, f"layer{layer + 1}.input")

    def _attention(self, layer: int, normed: str) -> str:
        config, name = self.config, f"layer{layer}"
        cache = [f"past.{layer}.key", f"past.{layer}.value"]
        lengths = ["seqlens_k", "total_sequence_length"]
        attention = self.writer.node(
            "GroupQueryAttention",
            [*self._projected(layer, normed), *cache, *lengths, "cos_cache", "sin_cache"],
            *(f"{name}.attention", f"present.{layer}.key", f"present.{layer}.value"),
            domain=MICROSOFT,
            num_heads=config.num_attention_heads,
            kv_num_heads=config.num_key_value_heads,
            do_rotary=1,
            scale=config.head_dim**-0.5,
        )
        out = self._load(layer_name(layer, "self_attn.o_proj.weight"))
        weight = pad_heads(out.T, config.num_attention_heads).T
        return self._linear(attention, weight, None, f"{name}.attention_out")

    def _joined(self, layer: int, kind: str) -> Float32:
        """The rows of query, key and value below one another, their heads padded."""
        heads = [self.config.num_attention_heads, *(2 * [self.config.num_key_value_heads])]
        names = [layer_name(layer, f"self_attn.{part}_proj.{kind}") for part in "qkv"]
        return np.concatenate(
            [pad_heads(self._load(n), count) for n, count in zip(names, heads, strict=True)]
        )

    def _feed_forward(self, layer: int, normed: str) -> str:
        name, node = f"layer{layer}", self.writer.node

        def projected(x: str, part: str, output: str) -> str:
            weight = self._load(layer_name(layer, f"mlp.{part}_proj.weight"))
            return self._mlp_linear(x, weight, None, f"{name}.{output}")

        gate, up = projected(normed, "gate", "gate"), projected(normed, "up", "up")
        sigmoid = node("Sigmoid", [gate], f"{name}.sigmoid")
        silu = node("Mul", [gate, sigmoid], f"{name}.silu")
        gated = node("Mul", [silu, up], f"{name}.gated")
        return projected(gated, "down", "feed_forward")

    def _add_norm(self, branch: str, hidden: str, scale: str, name: str) -> tuple[str, str]:
        """RMS norm of hidden + branch; returns (normalised, sum)."""
        residual = f"{name}.residual"
        self.writer.node(
            "SkipSimplifiedLayerNormalization",
            [hidden, branch, scale],
            *(name, "", "", residual),
            domain=MICROSOFT,
            epsilon=self.config.rms_norm_eps,
        )
        return name, residual

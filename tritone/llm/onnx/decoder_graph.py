"""The ONNX graph of a decoder of the Qwen kind, node by node; generations differ in attention and
head."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from onnx import TensorProto, helper

from tritone.arrays import Float32
from tritone.checkpoints.safetensors_file import Checkpoint
from tritone.errors import ModelDirectoryError
from tritone.llm.checkpoint import FINAL_NORM, layer_name
from tritone.llm.onnx.graph_writer import MICROSOFT, BlockFormat, GraphWriter, quantize_blocks
from tritone.llm.rotary import DecoderNumbers, rotary_tables

_HEAD_MULTIPLE = 16  # of head sizes in GroupQueryAttention
_INTEGER_DOT = 4  # accuracy_level of MatMulNBits: activations rounded to int8 per row and block


class CheckpointNumbers(DecoderNumbers, Protocol):
    """Of a decoder on disk. text_heads: layer and head of those that look at the text."""

    @property
    def text_heads(self) -> tuple[tuple[int, int], ...]: ...
    def model_dump_json(self) -> str: ...


def pad_heads(weight: Float32, heads: int) -> Float32:
    """(heads * head_dim, ...) rows with each half of a head zero-padded to the operator's width.

    GroupQueryAttention takes head sizes in multiples of 16. Rotation pairs the halves of a head, so
    each half grows on its own; zeros add nothing to scores or values.
    """
    head_dim = weight.shape[0] // heads
    half, padded_half = head_dim // 2, padded_head_dim(head_dim) // 2
    padded = np.zeros((heads, 2, padded_half, *weight.shape[1:]), np.float32)
    padded[:, :, :half] = weight.reshape(heads, 2, half, *weight.shape[1:])
    return padded.reshape(heads * 2 * padded_half, *weight.shape[1:])


def padded_head_dim(head_dim: int) -> int:
    return -(-head_dim // _HEAD_MULTIPLE) * _HEAD_MULTIPLE


@dataclass(frozen=True)
class DecoderGraph(ABC):
    """form: of the stored matrices; None keeps float32."""

    writer: GraphWriter
    checkpoint: Checkpoint
    config: DecoderNumbers
    form: BlockFormat | None

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
        self._head(writer.node("Gather", [normed, last], "last_hidden", axis=1))

    @abstractmethod
    def _outputs(self) -> dict[str, int]:
        """What is told of the last position of each row, and how wide it is."""

    @abstractmethod
    def _projected(self, layer: int, normed: str) -> list[str]:
        """Query, key and value for GroupQueryAttention, or all in one and two empty names."""

    @abstractmethod
    def _head(self, last: str) -> None:
        """The outputs, of the last position after the final norm."""

    def _declare(self) -> None:
        config = self.config
        cache = ["batch", config.num_key_value_heads, "slot", padded_head_dim(config.head_dim)]
        info = helper.make_tensor_value_info
        self.writer.inputs += [
            info("inputs_embeds", TensorProto.FLOAT, ["batch", "sequence", config.hidden_size]),
            info("seqlens_k", TensorProto.INT32, ["batch"]),
            info("total_sequence_length", TensorProto.INT32, []),
        ]
        for name, width in self._outputs().items():
            self.writer.outputs.append(info(name, TensorProto.FLOAT, ["batch", width]))
        for layer in range(config.num_hidden_layers):
            for name in (f"{layer}.key", f"{layer}.value"):
                self.writer.inputs.append(info(f"past.{name}", TensorProto.FLOAT, cache))
                self.writer.outputs.append(info(f"present.{name}", TensorProto.FLOAT, cache))

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
            return self._linear(x, weight, None, f"{name}.{output}")

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

    def _linear(self, x: str, weight: Float32, bias: Float32 | None, name: str) -> str:
        """x (..., K) times weight (N, K) transposed, plus bias (N,)."""
        writer = self.writer
        if self.form is None:
            product = name if bias is None else f"{name}.product"
            writer.node("MatMul", [x, writer.constant(f"{name}.weight", weight.T)], product)
            if bias is not None:
                writer.node("Add", [product, writer.constant(f"{name}.bias", bias)], name)
            return name
        form = self.form.fitting(weight.shape[1])
        codes, scales = quantize_blocks(weight, form)
        inputs = [x, writer.constant(f"{name}.codes", codes)]
        inputs.append(writer.constant(f"{name}.scales", scales))
        if bias is not None:
            inputs += ["", "", writer.constant(f"{name}.bias", bias)]
        return writer.node(
            "MatMulNBits",
            inputs,
            name,
            domain=MICROSOFT,
            N=weight.shape[0],
            K=weight.shape[1],
            bits=form.bits,
            block_size=form.block_size,
            accuracy_level=_INTEGER_DOT,
        )

    def _load(self, name: str) -> Float32:
        """Finite, as a bias alone need not be. Raises ModelDirectoryError."""
        values = self.checkpoint.float32(name)
        if not np.isfinite(values).all():
            path = self.checkpoint.path
            raise ModelDirectoryError(f"{path}: {name} has values that are NaN or infinite")
        return values

    def _constant(self, name: str) -> str:
        return self.writer.constant(name, self._load(name))

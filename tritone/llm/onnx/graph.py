"""The ONNX graph of the merged language model, written node by node.

It serves prefill and decoding. Rows of a batch are independent streams of any length:

    inputs_embeds          (batch, sequence, hidden)  the new positions
    seqlens_k              (batch,) int32             positions of each row, the new too, less 1
    total_sequence_length  () int32                   the largest of them, plus 1
    past.<layer>.key       (batch, kv_heads, slot, head_dim)  the slots' buffer; likewise value
    present.<layer>.key    same shape                 to be bound to the same memory
    logits                 (batch, speech head)       of the last position: codes, then stop ids
    text_queries           (batch, heads * head_dim)  of the last position, not turned to it: of the
                           checkpoint's text heads, where it has any

Only the speech head is in the graph, with its bias, so that no text id can be drawn. Token ids stay
outside: the embedding is gathered from the checkpoint file, which costs no memory for unused rows.
"""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

from tritone.arrays import Float32
from tritone.checkpoints.safetensors_file import Checkpoint, to_float32
from tritone.errors import ModelDirectoryError
from tritone.llm.checkpoint import FINAL_NORM, GRAPH_DIR, HEAD, HEAD_BIAS, WEIGHTS_NAME, layer_name
from tritone.llm.config import LLMConfig
from tritone.llm.onnx.graph_writer import (
    MICROSOFT,
    BlockFormat,
    GraphWriter,
    graph_writer,
    quantize_blocks,
)

# None keeps float32
PRECISIONS: dict[str, BlockFormat | None] = {
    "fp32": None,
    "int8": BlockFormat(bits=8, block_size=128),
    "int4": BlockFormat(bits=4, block_size=32),
    "int4_b128": BlockFormat(bits=4, block_size=128),
}
CONFIG_KEY = "tritone.llm"  # metadata entry that ties a graph to its checkpoint
_SAMPLED_BYTES = 1 << 20  # of a checkpoint, at each end, that its weights are known by

_HEAD_MULTIPLE = 16  # of head sizes in GroupQueryAttention
_INTEGER_DOT = 4  # accuracy_level of MatMulNBits: activations rounded to int8 per row and block


def graph_path(llm_dir: Path, precision: str) -> Path:
    """Where the graph of `precision` lives; its weights lie beside it as `<name>.data`."""
    return llm_dir / GRAPH_DIR / f"{precision}.onnx"


def build_graph(
    llm_dir: Path, config: LLMConfig, precision: str = "int8", path: Path | None = None
) -> Path:
    """Write the graph of the merged checkpoint in `llm_dir` and return its path.

    precision: a key of PRECISIONS. path: where, if not beside the checkpoint. Only a few tensors
    are in memory at a time. Raises ModelDirectoryError for an unknown precision or a damaged
    checkpoint.
    """
    if precision not in PRECISIONS:
        raise ModelDirectoryError(
            f"precision is {precision!r}, expected one of {', '.join(PRECISIONS)}"
        )
    path = path or graph_path(llm_dir, precision)
    checkpoint = Checkpoint(llm_dir / WEIGHTS_NAME)
    with graph_writer(path, {CONFIG_KEY: checkpoint_key(llm_dir, config)}) as writer:
        _Qwen2Graph(writer, checkpoint, config, PRECISIONS[precision]).build()
    return path


def checkpoint_key(llm_dir: Path, config: LLMConfig) -> str:
    """What a graph says that it was built from: the numbers, and a digest of the weights' ends.

    Weights of the same sizes that were trained anew differ in nearly every byte.
    """
    path = llm_dir / WEIGHTS_NAME
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - _SAMPLED_BYTES))
        digest = hashlib.sha256(file.read())
        file.seek(0)
        digest.update(file.read(_SAMPLED_BYTES))
    return f"{config.model_dump_json()} {size} {digest.hexdigest()}"


def built_from(path: Path) -> str:
    """The `checkpoint_key` of the checkpoint that a graph was built from; empty if unknown, and for
    a damaged graph."""
    try:
        properties = onnx.load(path, load_external_data=False).metadata_props
    except Exception:  # of protobuf, whose errors have no name of their own
        return ""
    return next((p.value for p in properties if p.key == CONFIG_KEY), "")


def rotary_tables(config: LLMConfig) -> tuple[Float32, Float32]:
    """cos and sin of the rotary angles, (positions, head_dim / 2), in float32 arithmetic.

    Qwen2 computes them so, and the rounding of the angles (6e-8 of the position) is part of it.
    """
    exponents = np.arange(0, config.head_dim, 2, dtype=np.float32) / np.float32(config.head_dim)
    inverse = np.float32(1) / np.power(np.float32(config.rope_theta), exponents)
    positions = np.arange(config.max_position_embeddings, dtype=np.float32)
    angles = np.outer(positions, inverse)
    return np.cos(angles), np.sin(angles)


def pad_heads(weight: Float32, heads: int) -> Float32:
    """(heads * head_dim, ...) rows with each half of a head zero-padded to the operator's width.

    GroupQueryAttention takes head sizes in multiples of 16. Rotation pairs the halves of a head, so
    each half grows on its own; zeros add nothing to scores or values.
    """
    head_dim = weight.shape[0] // heads
    half, padded_half = head_dim // 2, _padded_head_dim(head_dim) // 2
    padded = np.zeros((heads, 2, padded_half, *weight.shape[1:]), np.float32)
    padded[:, :, :half] = weight.reshape(heads, 2, half, *weight.shape[1:])
    return padded.reshape(heads * 2 * padded_half, *weight.shape[1:])


def _padded_head_dim(head_dim: int) -> int:
    return -(-head_dim // _HEAD_MULTIPLE) * _HEAD_MULTIPLE


@dataclass(frozen=True)
class _Qwen2Graph:
    writer: GraphWriter
    checkpoint: Checkpoint
    config: LLMConfig
    form: BlockFormat | None

    def build(self) -> None:
        config, writer = self.config, self.writer
        self._declare()
        extra = (_padded_head_dim(config.head_dim) - config.head_dim) // 2
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
        final = writer.node("Gather", [normed, last], "last_hidden", axis=1)
        rows = config.speech_rows
        head, bias = (to_float32(self.checkpoint.stored(n)[rows]) for n in (HEAD, HEAD_BIAS))
        self._linear(final, head, bias, "logits")
        if config.text_heads:
            self._text_queries()

    def _declare(self) -> None:
        config = self.config
        head_dim = _padded_head_dim(config.head_dim)
        cache = ["batch", config.num_key_value_heads, "slot", head_dim]
        info = helper.make_tensor_value_info
        self.writer.inputs += [
            info("inputs_embeds", TensorProto.FLOAT, ["batch", "sequence", config.hidden_size]),
            info("seqlens_k", TensorProto.INT32, ["batch"]),
            info("total_sequence_length", TensorProto.INT32, []),
        ]
        shape = ["batch", config.speech_head_size]
        self.writer.outputs.append(info("logits", TensorProto.FLOAT, shape))
        if heads := len(config.text_heads):
            shape = ["batch", heads * head_dim]
            self.writer.outputs.append(info("text_queries", TensorProto.FLOAT, shape))
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
        heads = [config.num_attention_heads, *(2 * [config.num_key_value_heads])]

        def joined(kind: str) -> Float32:
            names = [layer_name(layer, f"self_attn.{part}_proj.{kind}") for part in "qkv"]
            padded = [
                pad_heads(self._load(n), count) for n, count in zip(names, heads, strict=True)
            ]
            return np.concatenate(padded)

        qkv = self._linear(normed, joined("weight"), joined("bias"), f"{name}.qkv")
        cache = [f"past.{layer}.key", f"past.{layer}.value"]
        lengths = ["seqlens_k", "total_sequence_length"]
        attention = self.writer.node(
            "GroupQueryAttention",
            [qkv, "", "", *cache, *lengths, "cos_cache", "sin_cache"],
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

    def _text_queries(self) -> None:
        """What the text heads ask for, cut out of their layers' products."""
        node, constant, dim = (
            self.writer.node,
            self.writer.constant,
            _padded_head_dim(self.config.head_dim),
        )
        parts, axis = [], constant("text.axis", np.array([1], np.int64))
        for layer, head in self.config.text_heads:
            name = f"text.{layer}.{head}"
            last = node("Gather", [f"layer{layer}.qkv", "last"], f"{name}.last", axis=1)
            begin = constant(f"{name}.begin", np.array([head * dim], np.int64))
            end = constant(f"{name}.end", np.array([(head + 1) * dim], np.int64))
            parts.append(node("Slice", [last, begin, end, axis], f"{name}.query"))
        node("Concat", parts, "text_queries", axis=1)

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
        return self.checkpoint.float32(name)

    def _constant(self, name: str) -> str:
        return self.writer.constant(name, self._load(name))

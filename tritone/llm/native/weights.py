"""Weights of a merged Qwen2 as the kernel reads them: see decoder.c in `tritone/resources/kernels`.

They are rounded as graphs of the precision `int8_rows` have them, one tensor after another, in the
order in which a step reads them.
"""

import mmap
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tritone.arrays import Float32, Int32
from tritone.checkpoints.safetensors_file import Checkpoint, to_float32
from tritone.errors import ModelDirectoryError
from tritone.llm.checkpoint import FINAL_NORM, HEAD, HEAD_BIAS, finite, layer_name, layer_shapes
from tritone.llm.config import LLMConfig
from tritone.llm.head_padding import pad_heads, padded_head_dim
from tritone.llm.onnx.matrix_format import quantize_rows

WIDTH_STEP = 64  # of every width
_PANEL = 16  # outputs that lie side by side
_SHARE = 32  # outputs of gate, then of what goes through it
_MIDDLE = 128  # what inputs are moved up by
_HUGE_PAGE = 2 << 20

_Rounded = tuple[NDArray[np.int8], Float32]  # codes (outputs, inputs) and scales, filled up


def filled(width: int) -> int:
    return -(-width // WIDTH_STEP) * WIDTH_STEP


@dataclass(frozen=True)
class Matrix:
    """packed (outputs * inputs,) int8; scales, offsets and bias (outputs,)."""

    packed: NDArray[np.int8]
    scales: Float32
    offsets: Int32
    bias: Float32 | None
    inputs: int


@dataclass(frozen=True)
class Layer:
    attention_norm: Float32
    mlp_norm: Float32
    projection: Matrix
    output: Matrix
    gate_up: Matrix
    down: Matrix


class _Memory:
    """For so many bytes, in large pages where the system has them: weights are read from end to end
    at each step."""

    def __init__(self, size: int) -> None:
        self._pages = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        with suppress(OSError, AttributeError):  # of a kernel that has none
            self._pages.madvise(mmap.MADV_HUGEPAGE)
        self._bytes = np.frombuffer(self._pages, np.int8)
        self._used = 0

    def take(self, size: int) -> NDArray[np.int8]:
        self._used += size
        return self._bytes[self._used - size : self._used]


@dataclass(frozen=True)
class Qwen2Weights:
    """Raises ModelDirectoryError for a checkpoint that is damaged or has other sizes."""

    layers: tuple[Layer, ...]
    norm: Float32
    head: Matrix

    @classmethod
    def read(cls, checkpoint: Checkpoint, config: LLMConfig) -> "Qwen2Weights":
        reader = _Reader(checkpoint, config)
        layers = tuple(map(reader.layer, range(config.num_hidden_layers)))
        return cls(layers, reader.vector(FINAL_NORM), reader.head())


class _Reader:
    def __init__(self, checkpoint: Checkpoint, config: LLMConfig) -> None:
        self._checkpoint, self._config = checkpoint, config
        self._check()
        self._memory = _Memory(sum(self._sizes()))

    def _check(self) -> None:
        """The kernel takes sizes for granted."""
        config = self._config
        heads = config.num_attention_heads, config.num_key_value_heads
        shapes = layer_shapes(config.hidden_size, config.intermediate_size, *heads)
        expected = {
            layer_name(layer, part): shape
            for layer in range(config.num_hidden_layers)
            for part, shape in shapes.items()
        }
        expected[FINAL_NORM] = (config.hidden_size,)
        expected[HEAD] = (config.vocab_size, config.hidden_size)
        expected[HEAD_BIAS] = (config.vocab_size,)
        for name, shape in expected.items():
            found = self._checkpoint.spec(name).shape
            if found != shape:
                path = self._checkpoint.path
                raise ModelDirectoryError(f"{path}: {name} has shape {found}, expected {shape}")

    def _sizes(self) -> Iterator[int]:
        """Bytes of all matrices."""
        config, dim = self._config, padded_head_dim(self._config.head_dim)
        hidden, inner = filled(config.hidden_size), filled(config.intermediate_size)
        queries, keys = config.num_attention_heads * dim, config.num_key_value_heads * dim
        layer = filled(queries + 2 * keys) + filled(queries) + 3 * inner
        yield config.num_hidden_layers * hidden * layer
        yield hidden * filled(config.speech_head_size) + _HUGE_PAGE

    def vector(self, name: str) -> Float32:
        values = finite(self._checkpoint, name)
        return _grown(values, (filled(len(values)),))

    def layer(self, index: int) -> Layer:
        def load(part: str) -> Float32:
            return finite(self._checkpoint, layer_name(index, part))

        heads = [self._config.num_attention_heads, *(2 * [self._config.num_key_value_heads])]
        weight, bias = (
            np.concatenate(
                [
                    pad_heads(load(f"self_attn.{part}_proj.{kind}"), count)
                    for part, count in zip("qkv", heads, strict=True)
                ]
            )
            for kind in ("weight", "bias")
        )
        projection = self._packed(_rounded(weight), bias)
        output = pad_heads(load("self_attn.o_proj.weight").T, heads[0]).T
        gates = ("gate", "up")
        return Layer(
            self.vector(layer_name(index, "input_layernorm.weight")),
            self.vector(layer_name(index, "post_attention_layernorm.weight")),
            projection,
            self._packed(_rounded(output)),
            self._packed(_interleaved(*(_rounded(load(f"mlp.{n}_proj.weight")) for n in gates))),
            self._packed(_rounded(load("mlp.down_proj.weight"))),
        )

    def head(self) -> Matrix:
        rows = self._config.speech_rows
        weight, bias = (
            to_float32(self._checkpoint.stored(name)[rows]) for name in (HEAD, HEAD_BIAS)
        )
        return self._packed(_rounded(weight), bias)

    def _packed(self, rounded: _Rounded, bias: Float32 | None = None) -> Matrix:
        codes, scales = rounded
        packed = self._memory.take(codes.size)
        words = codes.view(np.uint32).reshape(len(codes) // _PANEL, _PANEL, -1)
        packed.view(np.uint32).reshape(len(words), -1, _PANEL)[:] = words.swapaxes(1, 2)
        offsets = _MIDDLE * codes.sum(1, dtype=np.int32)
        bias = None if bias is None else _grown(bias, scales.shape)
        return Matrix(packed, scales, offsets, bias, codes.shape[1])


def _rounded(weight: Float32) -> _Rounded:
    """Of weight (outputs, inputs)."""
    codes, scales = quantize_rows(weight)
    outputs, inputs = map(filled, weight.shape)
    return _grown(codes, (outputs, inputs)), _grown(scales, (outputs,))


def _interleaved(gate: _Rounded, up: _Rounded) -> _Rounded:
    """So many outputs of one, as many of the other, and so on."""
    inputs = gate[0].shape[1]
    codes = np.stack([part[0].reshape(-1, _SHARE, inputs) for part in (gate, up)], axis=1)
    scales = np.stack([part[1].reshape(-1, _SHARE) for part in (gate, up)], axis=1)
    return codes.reshape(-1, inputs), scales.reshape(-1)


def _grown(values: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """Filled up with zeros behind, its rows in order."""
    if values.shape == shape and values.flags.c_contiguous:
        return values
    whole = np.zeros(shape, values.dtype)
    whole[tuple(map(slice, values.shape))] = values
    return whole

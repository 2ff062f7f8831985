"""The kernel that takes a step, and what it is told: decoder.c in `tritone/resources/kernels`."""

import ctypes
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tritone.arrays import Float32, Int32
from tritone.llm.config import LLMConfig
from tritone.llm.head_padding import padded_head_dim
from tritone.llm.native.weights import Matrix, Qwen2Weights, filled
from tritone.llm.rotary import rotary_tables
from tritone.resources.kernels.library import opened

Address, Count = ctypes.c_void_p, ctypes.c_int64


class _Matrix(ctypes.Structure):
    _fields_ = (
        *((name, Address) for name in ("weights", "scales", "offsets", "bias")),
        *((name, Count) for name in ("inputs", "outputs")),
    )


class _Layer(ctypes.Structure):
    _fields_ = (
        *((name, Address) for name in ("attention_norm", "mlp_norm")),
        *((name, _Matrix) for name in ("projection", "output", "gate_up", "down")),
        *((name, Address) for name in ("keys", "values")),
    )


class _Decoder(ctypes.Structure):
    _fields_ = (
        *((name, Count) for name in ("layers", "hidden", "width", "heads", "key_heads")),
        *((name, Count) for name in ("head_dim", "slot_length", "queries")),
        *((name, Address) for name in ("layer", "turned", "query", "norm")),
        ("head", _Matrix),
        *((name, ctypes.c_float) for name in ("epsilon", "scale")),
    )


class _Step(ctypes.Structure):
    _fields_ = (
        *((name, Count) for name in ("rows", "answered")),
        *((name, Address) for name in ("x", "slots", "positions", "logits", "queries", "last")),
    )


class NativeDecoder:
    """turned: (positions, 2, half a head) cosines and sines. width: of rows, the hidden size filled
    up with zeros."""

    def __init__(
        self,
        path: Path,
        weights: Qwen2Weights,
        config: LLMConfig,
        caches: Sequence[tuple[Float32, Float32]],
        slot_length: int,
    ) -> None:
        """Of the kernel at `path`; raises EnvironmentProblem as `opened`. caches: keys and values
        of each layer."""
        self._decode = opened(path).tritone_decode
        self._decode.argtypes = [ctypes.POINTER(_Decoder), ctypes.POINTER(_Step)]
        self.width, self.head_width = filled(config.hidden_size), len(weights.head.scales)
        dim = padded_head_dim(config.head_dim)
        self.turned = _turned(config, dim, slot_length)
        told = np.array(config.text_heads, np.int64).reshape(-1, 2)
        layers = (_Layer * len(caches))(*map(_layer, weights.layers, caches))
        self._held = (weights, caches, told, layers)  # as long as the kernel may read them
        self._model = _Decoder(
            *(len(caches), config.hidden_size, self.width),
            *(config.num_attention_heads, config.num_key_value_heads, dim, slot_length, len(told)),
            *(ctypes.addressof(layers), _at(self.turned), _at(told), _at(weights.norm)),
            _matrix(weights.head),
            *(config.rms_norm_eps, config.head_dim**-0.5 / math.log(2)),  # for powers of two
        )

    def step(
        self,
        x: Float32,
        slots: Int32,
        positions: Int32,
        answers: tuple[Float32, Float32, Float32],
    ) -> None:
        """Take rows x (n, width) at those positions of their slots, and write what the last ones
        give: logits (m, head_width), queries of the text heads and states (m, width)."""
        answered = len(answers[0])
        assert x.flags.c_contiguous and x.shape[1] == self.width
        assert len(x) == len(slots) == len(positions) and 0 < answered <= len(x)
        assert positions.min() >= 0 and positions.max() < self._model.slot_length
        given = _Step(len(x), len(x) - answered, *map(_at, (x, slots, positions, *answers)))
        if self._decode(self._model, given):
            raise MemoryError(f"a step of {len(x)} rows")


def _turned(config: LLMConfig, dim: int, positions: int) -> Float32:
    tables = [table[:positions] for table in rotary_tables(config)]
    extra = (dim - config.head_dim) // 2
    return np.stack([np.pad(table, ((0, 0), (0, extra))) for table in tables], axis=1)


def _at(array: NDArray[Any] | None) -> int | None:
    return None if array is None else array.ctypes.data


def _matrix(of: Matrix) -> _Matrix:
    addresses = map(_at, (of.packed, of.scales, of.offsets, of.bias))
    return _Matrix(*addresses, of.inputs, len(of.scales))


def _layer(of: Any, cache: tuple[Float32, Float32]) -> _Layer:
    matrices = map(_matrix, (of.projection, of.output, of.gate_up, of.down))
    return _Layer(_at(of.attention_norm), _at(of.mlp_norm), *matrices, *map(_at, cache))

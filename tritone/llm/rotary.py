"""Rotary positions of a decoder of the Qwen kind."""

from typing import Protocol

import numpy as np

from tritone.arrays import Float32
from tritone.llm.config import DecoderSizes


class DecoderNumbers(DecoderSizes, Protocol):
    """Of a decoder; names as in `tritone.llm.config.DecoderConfig`."""

    @property
    def rope_theta(self) -> float: ...
    @property
    def rms_norm_eps(self) -> float: ...
    @property
    def max_position_embeddings(self) -> int: ...


def rotary_tables(config: DecoderNumbers) -> tuple[Float32, Float32]:
    """cos and sin of the rotary angles, (positions, head_dim / 2), in float32 arithmetic.

    Qwen2 computes them so, and the rounding of the angles (6e-8 of the position) is part of it.
    """
    exponents = np.arange(0, config.head_dim, 2, dtype=np.float32) / np.float32(config.head_dim)
    inverse = np.float32(1) / np.power(np.float32(config.rope_theta), exponents)
    positions = np.arange(config.max_position_embeddings, dtype=np.float32)
    angles = np.outer(positions, inverse)
    return np.cos(angles), np.sin(angles)

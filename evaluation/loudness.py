"""Loudness as broadcasters measure it (ITU-R BS.1770-4), by pyloudnorm."""

from functools import lru_cache
from typing import Any

import numpy as np

from evaluation.packages import module
from tritone.arrays import Float32

BLOCK_SECONDS = 0.1  # instead of 0.4, so that a single word has some


@lru_cache(maxsize=4)
def _meter(rate: int) -> Any:
    return module("pyloudnorm").Meter(rate, block_size=BLOCK_SECONDS)


def loudness(wav: Float32, rate: int) -> float:
    """LUFS of (N,) samples; minus infinity for silence and for less than a tenth of a second."""
    if len(wav) < BLOCK_SECONDS * rate or not np.any(wav):
        return float("-inf")
    return float(_meter(rate).integrated_loudness(wav.astype(np.float64)))

"""Band-limited resampling between any two integer rates.

The filter is the Hann-windowed sinc that torchaudio's `Resample` uses by default (half width 6 zero
crossings, roll-off 0.99), so features equal those that the released checkpoints were trained on.
"""

from functools import lru_cache
from math import ceil, gcd

import numpy as np
from numpy.typing import NDArray

from tritone.arrays import Float32

ZERO_CROSSINGS = 6
ROLL_OFF = 0.99
BLOCK = 1 << 15  # output samples filtered at once: bounds the scratch memory to tens of megabytes


@lru_cache(maxsize=8)
def _phases(old: int, new: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """First input index and taps of each of the `new` output phases.

    Only the taps under the window are kept (about 12 * old / new of them, or 14 when the rate
    rises), so rates without a common factor cost no more memory than friendly ones.
    Returns (new,) offsets and (new, taps) weights.
    """
    band = ROLL_OFF * min(old, new)
    reach = ceil(ZERO_CROSSINGS * old / band)
    phase = np.arange(new, dtype=np.int64)
    first = phase * old // new - reach
    index = first[:, None] + np.arange(2 * reach + 2)
    t = band * (index / old - phase[:, None] / new)
    t = np.clip(t, -ZERO_CROSSINGS, ZERO_CROSSINGS)
    window = np.cos(np.pi * t / (2 * ZERO_CROSSINGS)) ** 2
    return first, (band / old) * window * np.sinc(t)


def resample(wav: Float32, old_rate: int, new_rate: int) -> Float32:
    """Convert (N,) samples at old_rate Hz to (ceil(N * new_rate / old_rate),) at new_rate Hz."""
    assert wav.ndim == 1 and old_rate > 0 and new_rate > 0
    if old_rate == new_rate:
        return wav
    divisor = gcd(old_rate, new_rate)
    old, new = old_rate // divisor, new_rate // divisor
    first, taps = _phases(old, new)
    width = taps.shape[1]
    length = ceil(new * len(wav) / old)
    left = -int(first[0])
    padded = np.pad(wav.astype(np.float64), (left, width + old))
    windows = np.lib.stride_tricks.sliding_window_view(padded, width)
    out = np.empty(length, dtype=np.float32)
    for start in range(0, length, BLOCK):
        k = np.arange(start, min(start + BLOCK, length))
        cycle, phase = k // new, k % new
        rows = windows[cycle * old + first[phase] + left]
        out[k] = np.einsum("kt,kt->k", rows, taps[phase])
    return out

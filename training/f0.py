"""Fundamental frequency by YIN (de Cheveigne and Kawahara, 2002), vectorised over frames, and the
phase of the fundamental."""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy import fft
from scipy.ndimage import median_filter
from scipy.signal import fftconvolve

HOP, WINDOW = 480, 960  # samples at 24 kHz: 20 ms and 40 ms
UNVOICED = 0.4  # normalised difference above which a frame has no pitch
GOOD = 0.1  # the first dip below this is taken, else the deepest one
BLOCK = 4096  # frames computed at once
FUNDAMENTAL_WINDOW = 961  # samples: 40 ms, two periods of 50 Hz, so that no second harmonic passes
FLOOR = 1e-4  # mean square below which a frame is silent


def f0_track(
    wav: NDArray[np.float32], rate: int, low_hz: float, high_hz: float
) -> NDArray[np.float32]:
    """(N,) samples -> (N // 480,) Hz at the centre of each frame, 0 where there is no pitch."""
    longest = int(rate / low_hz) + 2
    shortest = int(rate / high_hz)
    pad = (WINDOW + longest // 2 - HOP) // 2  # centres the windows of a pitch in mid-range
    padded = np.pad(wav.astype(np.float32), (pad, pad + WINDOW + longest))
    frames = sliding_window_view(padded, WINDOW + longest)[::HOP][: len(wav) // HOP]
    parts = [
        _block(frames[i : i + BLOCK], rate, shortest, longest) for i in range(0, len(frames), BLOCK)
    ]
    f0 = np.concatenate(parts)
    smooth = median_filter(f0, size=3, mode="nearest")
    return np.where(f0 > 0, smooth, 0.0).astype(np.float32)


def cycles(wav: NDArray[np.float32], f0: NDArray[np.float32], rate: int) -> NDArray[np.float64]:
    """(T,) cycles of the fundamental since the start at the centre of each frame, as a sine.

    The recording is turned down by its pitch; what is left of the fundamental turns slowly, and
    its angle is what the pitch alone does not know. f0 (T,) Hz, 0 where there is none: there the
    count goes on with the pitch around it.
    """
    frames = np.arange(len(f0))
    voiced = f0 > 0
    pitch = np.interp(frames, frames[voiced], f0[voiced]) if voiced.any() else f0 + 100.0
    centres = frames * HOP + HOP / 2
    samples = np.interp(np.arange(len(f0) * HOP), centres, pitch)
    turned = np.cumsum(samples / rate)
    window = np.hanning(FUNDAMENTAL_WINDOW)
    left = np.empty(len(f0), np.complex128)
    for begin in range(0, len(f0), BLOCK):
        block = slice(max(0, begin - 4) * HOP, (begin + BLOCK + 4) * HOP)
        down = wav[block] * np.exp(-2j * np.pi * (turned[block] % 1))
        slow = fftconvolve(down, window, mode="same")
        at = np.arange(begin, min(begin + BLOCK, len(f0))) * HOP + HOP // 2 - block.start
        left[begin : begin + BLOCK] = slow[np.minimum(at, len(slow) - 1)]
    angle = np.unwrap(np.angle(left)) / (2 * np.pi)
    angle = np.interp(frames, frames[voiced], angle[voiced]) if voiced.any() else 0 * angle
    return np.asarray(turned[(centres).astype(int)] + angle + 0.25)


def _block(
    frames: NDArray[np.float32], rate: int, shortest: int, longest: int
) -> NDArray[np.float64]:
    size = fft.next_fast_len(frames.shape[1], real=True)
    head, whole = fft.rfft(frames[:, :WINDOW], size), fft.rfft(frames, size)
    product = fft.irfft(whole * head.conj(), size)[:, :longest]
    energy = np.cumsum(np.pad(frames.astype(np.float64) ** 2, ((0, 0), (1, 0))), axis=1)
    moved = energy[:, WINDOW : WINDOW + longest] - energy[:, :longest]
    difference = np.maximum(moved[:, :1] + moved - 2 * product, 0.0)
    lags = np.arange(1, longest)
    mean = np.cumsum(difference[:, 1:], axis=1) / lags
    normalised = np.ones_like(difference)
    normalised[:, 1:] = difference[:, 1:] / np.maximum(mean, 1e-9)
    return _pick(normalised, moved[:, 0] / WINDOW, rate, shortest)


def _pick(
    normalised: NDArray[np.float64], power: NDArray[np.float64], rate: int, shortest: int
) -> NDArray[np.float64]:
    """Frequency of the chosen dip of each row, refined by a parabola."""
    inner = normalised[:, shortest:-1]
    dips = (inner < normalised[:, shortest - 1 : -2]) & (inner <= normalised[:, shortest + 1 :])
    good = dips & (inner < GOOD)
    first = np.where(good.any(axis=1), good.argmax(axis=1), inner.argmin(axis=1)) + shortest
    row = np.arange(len(normalised))
    left, middle, right = (normalised[row, first + d] for d in (-1, 0, 1))
    curve = left - 2 * middle + right
    shift = np.where(np.abs(curve) > 1e-9, 0.5 * (left - right) / np.where(curve == 0, 1, curve), 0)
    voiced = (middle < UNVOICED) & (power > FLOOR)
    return np.where(voiced, rate / (first + np.clip(shift, -0.5, 0.5)), 0.0)

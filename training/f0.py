"""Fundamental frequency by YIN (de Cheveigne and Kawahara, 2002), vectorised over frames, and the
phase of the fundamental."""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy import fft
from scipy.ndimage import median_filter

HOP, WINDOW = 480, 960  # samples at 24 kHz: 20 ms and 40 ms
UNVOICED = 0.4  # normalised difference above which a frame has no pitch
GOOD = 0.1  # the first dip below this is taken, else the deepest one
BLOCK = 4096  # frames computed at once
HARMONICS = (1, 2, 3, 4, 5, 6, 7, 8)  # whose phases are measured; every one up to the last
HARMONIC_WINDOW = 1441  # samples: 60 ms
SHIFTS, ROUNDS = 200, 4  # places in a cycle that are tried, and how often
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
    """(T,) cycles of the voice since the start, at the centre of each frame.

    The recording is turned down by its pitch and each of its multiples; what is left turns slowly,
    and its angles are what the pitch alone does not know. The lowest harmonic says how far the
    phase goes from frame to frame, the higher ones say it more finely. Where the cycle begins is
    the same in every stretch of voice: where the harmonics stand to each other as they do on
    average. f0 (T,) Hz, 0 where there is none: there the count goes on with the pitch around it.
    """
    frames, voiced = np.arange(len(f0)), f0 > 0
    if not voiced.any():
        return frames * 0.0
    pitch = np.interp(frames, frames[voiced], f0[voiced])
    centres = frames * HOP + HOP / 2
    turned = np.cumsum(np.interp(np.arange(len(f0) * HOP), centres, pitch) / rate)
    slow = _slow(wav, turned, len(f0))
    drift = _drift(slow)
    begins = np.flatnonzero(voiced & ~np.pad(voiced, (1, 0))[:-1])
    ends = np.flatnonzero(voiced & ~np.pad(voiced, (0, 1))[1:]) + 1
    spans = [slice(begin, end) for begin, end in zip(begins, ends, strict=True)]
    count = turned[centres.astype(int)]
    moved = np.zeros(len(f0))
    for span in spans:
        moved[span] = np.cumsum(np.concatenate([[0.0], drift[span.start : span.stop - 1]]))
    shift = _aligned(slow, moved, spans)
    for span, by in zip(spans, shift, strict=True):
        moved[span] += by
    return np.asarray(count + np.interp(frames, frames[voiced], moved[voiced]))


def _slow(
    wav: NDArray[np.float32], turned: NDArray[np.float64], frames: int
) -> NDArray[np.complex64]:
    """(harmonics, frames) what is left of each harmonic once it is turned down."""
    reach = HARMONIC_WINDOW // 2
    padded = np.pad(wav[: frames * HOP], reach)
    cycle = np.pad(turned % 1, reach).astype(np.float32)
    window = np.blackman(HARMONIC_WINDOW).astype(np.float32)
    out = np.empty((len(HARMONICS), frames), np.complex64)
    views = (sliding_window_view(x, HARMONIC_WINDOW)[HOP // 2 :: HOP] for x in (padded, cycle))
    samples, cycles_there = views
    for begin in range(0, frames, BLOCK // 4):
        block = slice(begin, min(begin + BLOCK // 4, frames))
        rotor = np.exp(np.complex64(-2j * np.pi) * cycles_there[block])
        down = samples[block] * window * rotor
        for row in range(len(HARMONICS)):
            out[row, block] = down.sum(axis=1)
            down *= rotor
    return out


def _drift(slow: NDArray[np.complex64]) -> NDArray[np.float64]:
    """(frames - 1,) cycles that the fundamental gains on its measured pitch from frame to frame."""
    steps = slow[:, 1:] * slow[:, :-1].conj()
    weights = np.abs(steps) * np.array(HARMONICS)[:, None] ** 2
    found, total = np.angle(steps[0]) / (2 * np.pi), weights[0]
    for row, harmonic in enumerate(HARMONICS[1:], 1):
        finer = np.angle(steps[row]) / (2 * np.pi)
        finer = (finer + np.round(harmonic * found - finer)) / harmonic
        share = weights[row] / (total + weights[row] + 1e-12)
        found, total = found + share * (finer - found), total + weights[row]
    return np.asarray(found)


def _aligned(
    slow: NDArray[np.complex64], moved: NDArray[np.float64], spans: list[slice]
) -> NDArray[np.float64]:
    """(spans,) cycles to add, so that the harmonics of every stretch stand to each other alike."""
    orders = np.array(HARMONICS)[:, None]
    sums = np.stack(
        [(slow[:, span] * np.exp(-2j * np.pi * orders * moved[span])).sum(axis=1) for span in spans]
    )
    sums /= np.abs(sums).sum(axis=1, keepdims=True) + 1e-12
    grid = np.arange(SHIFTS) / SHIFTS
    turns = np.exp(-2j * np.pi * np.array(HARMONICS)[:, None] * grid)
    shift = np.angle(sums[:, 0]) / (2 * np.pi) + 0.25
    for _ in range(ROUNDS):
        placed = sums * np.exp(-2j * np.pi * shift[:, None] * np.array(HARMONICS))
        usual = placed.sum(axis=0)
        usual /= np.abs(usual) + 1e-12
        shift = grid[((sums * usual.conj()) @ turns).real.argmax(axis=1)]
    return np.asarray(shift)


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

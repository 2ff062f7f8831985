"""Triangular mel filter banks: Slaney's (librosa's default) and Kaldi's."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]

# Slaney's scale (Auditory Toolbox): linear below 1 kHz, logarithmic above.
HZ_PER_MEL = 200.0 / 3
KNEE_HZ = 1000.0
KNEE_MEL = KNEE_HZ / HZ_PER_MEL
LOG_STEP = float(np.log(6.4)) / 27


def _slaney_mel(hz: float) -> float:
    if hz < KNEE_HZ:
        return hz / HZ_PER_MEL
    return KNEE_MEL + float(np.log(hz / KNEE_HZ)) / LOG_STEP


def _slaney_hz(mel: Float64) -> Float64:
    return np.where(mel < KNEE_MEL, mel * HZ_PER_MEL, KNEE_HZ * np.exp(LOG_STEP * (mel - KNEE_MEL)))


def _kaldi_mel(hz: Float64) -> Float64:
    mel: Float64 = 1127.0 * np.log1p(hz / 700.0)
    return mel


def _triangles(points: Float64, edges: Float64) -> Float64:
    """(bins, points) triangles over neighbouring edges, peak 1; edges has bins + 2 entries."""
    low, centre, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    rising = (points - low) / (centre - low)
    falling = (high - points) / (high - centre)
    return np.maximum(0.0, np.minimum(rising, falling))


@lru_cache(maxsize=8)
def slaney_filters(rate: int, n_fft: int, bins: int, high_hz: float) -> Float64:
    """(bins, n_fft // 2 + 1) filters from 0 to high_hz, each of unit area (Slaney norm)."""
    edges = _slaney_hz(np.linspace(0.0, _slaney_mel(high_hz), bins + 2))
    hz = np.arange(n_fft // 2 + 1) * (rate / n_fft)
    return _triangles(hz, edges) * (2.0 / (edges[2:] - edges[:-2]))[:, None]


@lru_cache(maxsize=8)
def kaldi_filters(rate: int, n_fft: int, bins: int, low_hz: float, high_hz: float) -> Float64:
    """(bins, n_fft // 2 + 1) filters, triangular on the mel axis, peak 1 (Kaldi's fbank)."""
    low, high = _kaldi_mel(np.array([low_hz, high_hz]))
    edges = np.linspace(low, high, bins + 2)
    mel = _kaldi_mel(np.arange(n_fft // 2 + 1) * (rate / n_fft))
    return _triangles(mel, edges)

"""Spectral features of a reference recording, each as the network that reads it was trained."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tritone.arrays import Float32
from tritone.families.indextts2.reference_config import (
    MEL_BINS,
    MEL_FFT,
    MEL_HOP,
    SAMPLE_RATE,
    STACKED,
)
from tritone.frontend.audio.features import kaldi_log_energies, natural_log_mel

_PAD = 1.0
_INTEGER_SCALE = 32768.0  # the recipe counts in 16-bit samples
_VARIANCE_FLOOR = 1e-7


class StackedFrames(NamedTuple):
    """values: (n, 160). valid: (n,), False where half of the last row is padding."""

    values: Float32
    valid: NDArray[np.bool_]


def stacked_fbank(wav: Float32) -> StackedFrames:
    """What w2v-bert reads (SeamlessM4T's recipe): Kaldi's log energies of two frames a row.

    wav: (N,) at 16 kHz in [-1, 1], N >= 560. Each bin has mean 0 and variance 1 over the recording.
    """
    energies = kaldi_log_energies(wav * np.float32(_INTEGER_SCALE)).astype(np.float32)
    deviation = np.sqrt(energies.var(axis=0, ddof=1) + _VARIANCE_FLOOR)
    frames = (energies - energies.mean(axis=0)) / deviation
    valid = np.arange(len(frames) + len(frames) % STACKED) < len(frames)
    padded = np.pad(frames, ((0, len(valid) - len(frames)), (0, 0)), constant_values=_PAD)
    rows = padded.reshape(len(valid) // STACKED, -1).astype(np.float32)
    return StackedFrames(rows, valid[STACKED - 1 :: STACKED])


def prompt_mel(wav: Float32) -> Float32:
    """Log-mel of (N,) samples at 22.05 kHz, (N // 256, 80), that the flow continues from."""
    return natural_log_mel(
        wav, SAMPLE_RATE, n_fft=MEL_FFT, hop=MEL_HOP, bins=MEL_BINS, high_hz=SAMPLE_RATE / 2
    )

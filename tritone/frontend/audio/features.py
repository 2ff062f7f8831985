"""Spectral features of a reference recording, and the triangular mel filter banks under them:
Slaney's (librosa's default) and Kaldi's.

Each follows the recipe that its consumer was trained with, computed in float64: Whisper's log-mel
for speech tokenizers, Kaldi's fbank for speaker encoders, HiFi-GAN's log-mel for flows.
"""

from functools import lru_cache

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from tritone.arrays import Float32

Float64 = NDArray[np.float64]

SPEECH_RATE = 16000  # rate of speech tokenizers and speaker encoders

WHISPER_FFT, WHISPER_HOP, WHISPER_BINS = 400, 160, 128
FBANK_WINDOW, FBANK_HOP, FBANK_FFT, FBANK_BINS = 400, 160, 512, 80

PRE_EMPHASIS = 0.97
FLOAT32_EPSILON = 1.1920929e-07  # Kaldi's floor under the logarithm


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


def _frames(wav: Float32, size: int, hop: int) -> Float64:
    """(T, size) complete frames."""
    return sliding_window_view(wav.astype(np.float64), size)[::hop]


def _spectrum(wav: Float32, pad: int, n_fft: int, hop: int) -> Float64:
    """(T, n_fft // 2 + 1) magnitudes of (N,) samples that are reflected at both ends, under the
    periodic Hann window of torch.hann_window."""
    assert wav.ndim == 1 and len(wav) > pad
    frames = _frames(np.pad(wav, pad, mode="reflect"), n_fft, hop)
    return np.abs(np.fft.rfft(frames * np.hanning(n_fft + 1)[:-1]))


def whisper_log_mel(wav: Float32) -> Float32:
    """Log-mel of the speech tokenizer.

    wav: (N,) at 16 kHz, N > 200. Returns (128, N // 160), log10 with a floor 8 below the maximum of
    this recording, scaled as Whisper does (so features depend on the whole recording).
    """
    spectrum = _spectrum(wav, WHISPER_FFT // 2, WHISPER_FFT, WHISPER_HOP)
    power = spectrum[: len(wav) // WHISPER_HOP] ** 2
    filters = slaney_filters(SPEECH_RATE, WHISPER_FFT, WHISPER_BINS, SPEECH_RATE / 2)
    log_mel = np.log10(np.maximum(filters @ power.T, 1e-10))
    log_mel = np.maximum(log_mel, log_mel.max() - 8.0)
    return np.asarray((log_mel + 4.0) / 4.0, np.float32)


def kaldi_log_energies(wav: Float32) -> Float64:
    """Log filter bank energies by Kaldi's recipe, with dither 0, Povey window, 20 Hz to 8 kHz.

    wav: (N,) at 16 kHz, N >= 400, in the scale that the consumer was trained with. Returns
    (1 + (N - 400) // 160, 80).
    """
    assert wav.ndim == 1 and len(wav) >= FBANK_WINDOW
    frames = _frames(wav, FBANK_WINDOW, FBANK_HOP)
    frames = frames - frames.mean(axis=1, keepdims=True)
    previous = np.concatenate([frames[:, :1], frames[:, :-1]], axis=1)
    povey = np.hanning(FBANK_WINDOW) ** 0.85
    spectrum = np.fft.rfft((frames - PRE_EMPHASIS * previous) * povey, n=FBANK_FFT)
    filters = kaldi_filters(SPEECH_RATE, FBANK_FFT, FBANK_BINS, 20.0, SPEECH_RATE / 2)
    energies: Float64 = np.log(np.maximum(np.abs(spectrum) ** 2 @ filters.T, FLOAT32_EPSILON))
    return energies


def kaldi_fbank(wav: Float32) -> Float32:
    """Log filter bank energies with the mean over time removed, for the speaker encoder.

    wav: (N,) at 16 kHz in [-1, 1], N >= 400. Returns (1 + (N - 400) // 160, 80).
    """
    energies = kaldi_log_energies(wav)
    return np.asarray(energies - energies.mean(axis=0), np.float32)


def natural_log_mel(
    wav: Float32, rate: int, *, n_fft: int, hop: int, bins: int, high_hz: float
) -> Float32:
    """Natural-log mel of magnitudes, as HiFi-GAN and Matcha-TTS compute it.

    wav: (N,) at `rate` Hz, N > (n_fft - hop) / 2. Returns (N // hop, bins), bins from 0 to high_hz.
    """
    magnitude = np.sqrt(_spectrum(wav, (n_fft - hop) // 2, n_fft, hop) ** 2 + 1e-9)
    filters = slaney_filters(rate, n_fft, bins, high_hz)
    return np.asarray(np.log(np.maximum(magnitude @ filters.T, 1e-5)), np.float32)

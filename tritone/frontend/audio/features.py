"""Spectral features of a reference recording.

Each follows the recipe that its consumer was trained with, computed in float64: Whisper's log-mel
for speech tokenizers, Kaldi's fbank for speaker encoders, HiFi-GAN's log-mel for flows.
"""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from tritone.arrays import Float32
from tritone.frontend.audio.mel import kaldi_filters, slaney_filters

SPEECH_RATE = 16000  # rate of speech tokenizers and speaker encoders

WHISPER_FFT, WHISPER_HOP, WHISPER_BINS = 400, 160, 128
FBANK_WINDOW, FBANK_HOP, FBANK_FFT, FBANK_BINS = 400, 160, 512, 80

PRE_EMPHASIS = 0.97
FLOAT32_EPSILON = 1.1920929e-07  # Kaldi's floor under the logarithm


def _hann(size: int) -> NDArray[np.float64]:
    """(size,) periodic Hann window, as torch.hann_window makes it."""
    window: NDArray[np.float64] = np.hanning(size + 1)[:-1]
    return window


def _frames(wav: NDArray[np.float64], size: int, hop: int) -> NDArray[np.float64]:
    """(T, size) view of the complete frames."""
    return sliding_window_view(wav, size)[::hop]


def _float32(values: NDArray[np.float64]) -> Float32:
    return values.astype(np.float32)


def whisper_log_mel(wav: Float32) -> Float32:
    """Log-mel of the speech tokenizer.

    wav: (N,) at 16 kHz, N > 200. Returns (128, N // 160), log10 with a floor 8 below the maximum of
    this recording, scaled as Whisper does (so features depend on the whole recording).
    """
    half = WHISPER_FFT // 2
    assert wav.ndim == 1 and len(wav) > half
    padded = np.pad(wav.astype(np.float64), half, mode="reflect")
    frames = _frames(padded, WHISPER_FFT, WHISPER_HOP)[: len(wav) // WHISPER_HOP]
    power = np.abs(np.fft.rfft(frames * _hann(WHISPER_FFT))) ** 2
    filters = slaney_filters(SPEECH_RATE, WHISPER_FFT, WHISPER_BINS, SPEECH_RATE / 2)
    log_mel = np.log10(np.maximum(filters @ power.T, 1e-10))
    log_mel = np.maximum(log_mel, log_mel.max() - 8.0)
    return _float32((log_mel + 4.0) / 4.0)


def kaldi_fbank(wav: Float32) -> Float32:
    """Log filter bank energies with the mean over time removed, for the speaker encoder.

    wav: (N,) at 16 kHz in [-1, 1], N >= 400. Returns (1 + (N - 400) // 160, 80). Kaldi's recipe
    with dither 0, Povey window, 20 Hz to 8 kHz; then each bin's mean over frames is subtracted.
    """
    assert wav.ndim == 1 and len(wav) >= FBANK_WINDOW
    frames = _frames(wav.astype(np.float64), FBANK_WINDOW, FBANK_HOP)
    frames = frames - frames.mean(axis=1, keepdims=True)
    previous = np.concatenate([frames[:, :1], frames[:, :-1]], axis=1)
    povey = np.hanning(FBANK_WINDOW) ** 0.85
    spectrum = np.fft.rfft((frames - PRE_EMPHASIS * previous) * povey, n=FBANK_FFT)
    filters = kaldi_filters(SPEECH_RATE, FBANK_FFT, FBANK_BINS, 20.0, SPEECH_RATE / 2)
    fbank = np.log(np.maximum(np.abs(spectrum) ** 2 @ filters.T, FLOAT32_EPSILON))
    return _float32(fbank - fbank.mean(axis=0))


def natural_log_mel(
    wav: Float32, rate: int, *, n_fft: int, hop: int, bins: int, high_hz: float
) -> Float32:
    """Natural-log mel of magnitudes, as HiFi-GAN and Matcha-TTS compute it.

    wav: (N,) at `rate` Hz, N > (n_fft - hop) / 2. Returns (N // hop, bins), bins from 0 to high_hz.
    """
    pad = (n_fft - hop) // 2
    assert wav.ndim == 1 and len(wav) > pad
    padded = np.pad(wav.astype(np.float64), pad, mode="reflect")
    spectrum = np.fft.rfft(_frames(padded, n_fft, hop) * _hann(n_fft))
    magnitude = np.sqrt(np.abs(spectrum) ** 2 + 1e-9)
    filters = slaney_filters(rate, n_fft, bins, high_hz)
    return _float32(np.log(np.maximum(magnitude @ filters.T, 1e-5)))

"""Whose voice it is: embeddings of Resemblyzer's encoder, a GE2E model (Wan et al., 2018).

Only the weights of the package Resemblyzer 0.1.4 (Apache-2.0) are used, so it is installed without
its dependencies (librosa, and a voice detector that has to be compiled). Pauses are cut by level
here, and by WebRTC's detector there.
"""

from collections.abc import Mapping

import numpy as np
import torch
from torch import nn

from evaluation.packages import folder
from tritone.arrays import Float32
from tritone.frontend.audio.features import slaney_filters
from tritone.frontend.audio.resample import resample

INSTALL = "pip install --no-deps resemblyzer==0.1.4"
RATE = 16000
FFT, HOP, BINS = 400, 160, 40
HIDDEN, LAYERS = 256, 3
TRAINING_ONLY = ("similarity_weight", "similarity_bias")
PART, PART_STEP = 160, 77  # frames: 1.6 s, 1.3 parts a second
LEAST_OF_A_PART = 0.75
LEVEL_DB = -30.0  # quieter recordings are raised to it
PAUSE_DB = -40.0  # below the loudest window
VAD_WINDOW = 480  # samples: 30 ms
KEPT_AROUND = 3  # windows of pause kept on either side of speech


class VoiceEncoder(nn.Module):
    """Recordings to voice vectors of length 1; the cosine of two is their dot product."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(BINS, HIDDEN, LAYERS, batch_first=True)
        self.linear = nn.Linear(HIDDEN, HIDDEN)
        path = folder("resemblyzer", INSTALL) / "pretrained.pt"
        weights = torch.load(path, map_location="cpu", weights_only=True)["model_state"]
        for name in TRAINING_ONLY:
            weights.pop(name)
        self.load_state_dict(weights)
        self.eval()

    @torch.inference_mode()
    def embed(self, wav: Float32, rate: int) -> Float32:
        """(256,) vector of (N,) samples at `rate` Hz: the mean over parts of 1.6 s."""
        wav = without_pauses(_raised(resample(wav, rate, RATE)))
        frames = 1 + len(wav) // HOP
        starts = list(range(0, max(1, frames - PART + PART_STEP + 1), PART_STEP))
        if len(starts) > 1 and (frames - starts[-1]) / PART < LEAST_OF_A_PART:
            starts.pop()
        mel = _mel(np.pad(wav, (0, max(0, (starts[-1] + PART) * HOP - len(wav)))))
        parts = torch.from_numpy(np.stack([mel[start : start + PART] for start in starts]))
        _, (hidden, _) = self.lstm(parts)
        vectors = nn.functional.normalize(torch.relu(self.linear(hidden[-1])), dim=1)
        mean: Float32 = nn.functional.normalize(vectors.mean(dim=0), dim=0).numpy()
        return mean


class VoiceReferences:
    """How near a recording is to each of some known voices."""

    def __init__(self, encoder: VoiceEncoder, recordings: Mapping[str, tuple[Float32, int]]):
        """recordings: voice name to (N,) samples and their rate in Hz, some seconds of each."""
        self._encoder = encoder
        self._voices = {name: encoder.embed(*recording) for name, recording in recordings.items()}

    def similarities(self, wav: Float32, rate: int) -> dict[str, float]:
        """Cosine with each reference, -1 to 1; 1 is the same voice."""
        vector = self._encoder.embed(wav, rate)
        return {name: float(vector @ voice) for name, voice in self._voices.items()}


def without_pauses(wav: Float32) -> Float32:
    """(N,) samples at 16 kHz without windows that are far from speech; whole windows remain."""
    windows = wav[: len(wav) // VAD_WINDOW * VAD_WINDOW].reshape(-1, VAD_WINDOW)
    power = (windows.astype(np.float64) ** 2).mean(axis=1)
    speech = power > power.max(initial=0.0) * 10 ** (PAUSE_DB / 10)
    near = np.convolve(speech, np.ones(2 * KEPT_AROUND + 1))[KEPT_AROUND:-KEPT_AROUND] > 0.5
    return windows[near].reshape(-1)


def _raised(wav: Float32) -> Float32:
    rms = float(np.sqrt(np.mean(wav.astype(np.float64) ** 2)))
    assert rms > 0, "silence has no voice"
    return wav * np.float32(max(1.0, 10 ** (LEVEL_DB / 20) / rms))


def _mel(wav: Float32) -> Float32:
    """(T, 40) mel power, not its logarithm, of (N,) samples at 16 kHz; T = 1 + N // 160."""
    padded = np.pad(wav.astype(np.float64), FFT // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, FFT)[::HOP]
    power = np.abs(np.fft.rfft(frames * np.hanning(FFT + 1)[:-1])) ** 2
    mel: Float32 = (power @ slaney_filters(RATE, FFT, BINS, RATE / 2).T).astype(np.float32)
    return mel

"""Encoded sound back to samples, by FFmpeg, as a player has it."""

import io

import av
import numpy as np


def decoded(data: bytes, rate: int) -> np.ndarray:
    """(n,) mono samples at this rate."""
    resampler = av.AudioResampler(format="flt", layout="mono", rate=rate)
    parts = []
    with av.open(io.BytesIO(data)) as container:
        for frame in container.decode(audio=0):
            parts += resampler.resample(frame)
    parts += resampler.resample(None)
    return np.concatenate([part.to_ndarray()[0] for part in parts])


def likeness(heard: np.ndarray, said: np.ndarray) -> float:
    """The correlation of two waves where they fit best: codecs begin with a delay."""
    size = 1 << int(heard.size + said.size).bit_length()
    spectrum = np.fft.rfft(heard, size) * np.conj(np.fft.rfft(said, size))
    norm = float(np.linalg.norm(heard) * np.linalg.norm(said))
    return float(np.fft.irfft(spectrum, size).max()) / norm

"""Recordings as files: speech that the project has, a stand-in for it, and any container."""

import io
from functools import lru_cache

import numpy as np
import soundfile
from paths import PROJECT

from tritone.arrays import Float32

RATE = 24000
SPOKEN = {name: PROJECT / "docs" / f"{name}.ogg" for name in ("heart", "joe")}
"""Nine and ten seconds of the embedded voices."""


@lru_cache
def spoken(name: str) -> Float32:
    """(N,) at RATE."""
    wav, rate = soundfile.read(SPOKEN[name], dtype="float32")
    assert rate == RATE
    return wav


def wav_file(wav: Float32, rate: int = RATE, subtype: str = "PCM_16") -> bytes:
    """wav: (n,) or (n, channels)."""
    file = io.BytesIO()
    soundfile.write(file, wav, rate, format="WAV", subtype=subtype)
    return file.getvalue()


def coded(wav: Float32, container: str, codec: str, rate: int = 48000) -> bytes:
    """(N,) samples at RATE in a container of PyAV's."""
    import av

    file = io.BytesIO()
    with av.open(file, "w", format=container) as out:
        stream = out.add_stream(codec, rate=rate)
        stream.layout = "mono"
        whole = av.AudioFrame.from_ndarray(np.ascontiguousarray(wav[None]), "flt", "mono")
        whole.sample_rate = RATE
        to_codec = av.AudioResampler(stream.codec_context.format, "mono", rate)
        for part in (whole, None):
            for frame in to_codec.resample(part):
                out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return file.getvalue()


def noisy(wav: Float32, decibels: float) -> Float32:
    """White noise so far below the louder half of a sound."""
    levels = np.sort(np.square(wav[: len(wav) // 240 * 240].reshape(-1, 240)).mean(axis=1))
    power = levels[len(levels) // 2 :].mean()
    noise = np.random.default_rng(0).standard_normal(len(wav)).astype(np.float32)
    return wav + noise * np.float32(np.sqrt(power) * 10 ** (-decibels / 20))

"""Where the audio goes: a sound file, or raw samples for a player or another program."""

import sys
import wave
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile
from numpy.typing import NDArray

_COMPRESSED = {".flac": ("FLAC", "PCM_16"), ".ogg": ("OGG", "VORBIS"), ".opus": ("OGG", "OPUS")}
_RAW = (".pcm", ".raw")
SUFFIXES = (".wav", *_COMPRESSED, *_RAW)


def check_target(target: str) -> None:
    """Raise ValueError unless `target` is `-` or a path whose suffix names a known format."""
    suffix = Path(target).suffix.lower()
    if target != "-" and suffix not in SUFFIXES:
        known = " ".join(SUFFIXES)
        raise ValueError(
            f"output {target!r}: unknown format {suffix or '(no suffix)'}; use {known} or -"
        )


def open_writer(target: str, sample_rate: int) -> "AudioWriter":
    """A writer for the path `target`, its format by suffix; `-` is raw s16le on stdout."""
    check_target(target)
    if target == "-":
        return RawWriter(sys.stdout.buffer, owned=False)
    suffix = Path(target).suffix.lower()
    if suffix in _RAW:
        return RawWriter(Path(target).open("wb"), owned=True)
    if suffix == ".wav":
        return WavWriter(target, sample_rate)
    return CompressedWriter(target, sample_rate, *_COMPRESSED[suffix])


def to_s16le(samples: NDArray[np.float32]) -> bytes:
    """Mono 16-bit little-endian PCM."""
    pcm: NDArray[np.int16] = np.rint(np.clip(samples, -1.0, 1.0) * 32767.0).astype("<i2")
    return pcm.tobytes()


class RawWriter:
    """Samples without a header, flushed packet by packet so that a player can follow."""

    def __init__(self, file: BinaryIO, owned: bool) -> None:
        self._file = file
        self._owned = owned

    def write(self, samples: NDArray[np.float32]) -> None:
        self._file.write(to_s16le(samples))
        self._file.flush()

    def close(self) -> None:
        if self._owned:
            self._file.close()


class WavWriter:
    """A 16-bit WAV file whose header is right after every packet: it plays while it grows."""

    def __init__(self, path: str, sample_rate: int) -> None:
        self._file = Path(path).open("wb")  # noqa: SIM115 - closed by close()
        self._wave = wave.open(self._file, "wb")  # noqa: SIM115
        self._wave.setparams((1, 2, sample_rate, 0, "NONE", "not compressed"))

    def write(self, samples: NDArray[np.float32]) -> None:
        self._wave.writeframes(to_s16le(samples))  # writes the sizes in the header anew
        self._file.flush()

    def close(self) -> None:
        self._wave.close()
        self._file.close()


class CompressedWriter:
    """FLAC, Ogg Vorbis or Ogg Opus through libsndfile."""

    def __init__(self, path: str, sample_rate: int, container: str, codec: str) -> None:
        self._file = soundfile.SoundFile(
            path, "w", samplerate=sample_rate, channels=1, format=container, subtype=codec
        )

    def write(self, samples: NDArray[np.float32]) -> None:
        self._file.write(np.clip(samples, -1.0, 1.0))

    def close(self) -> None:
        self._file.close()


# sinks for (n,) float32 samples in [-1, 1]; louder ones are clipped
AudioWriter = RawWriter | WavWriter | CompressedWriter

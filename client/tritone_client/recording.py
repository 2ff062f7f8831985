"""A reference recording from a sound file."""

from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

MOST_SAMPLES = 1 << 26  # a header may promise any number; 11 minutes of stereo at 48 kHz
CANCELLED = 0.2  # of the loudest channel's power, under which the sum of the channels has lost some


def read_recording(path: str | Path) -> tuple[NDArray[np.float32], int]:
    """(N,) mono samples at the file's own rate, and that rate in Hz.

    Raises ValueError, naming the file, for one that cannot be read or holds more than MOST_SAMPLES.
    """
    try:
        with soundfile.SoundFile(path) as file:
            size = file.frames * file.channels
            if not 0 <= size <= MOST_SAMPLES:
                raise ValueError(
                    f"{path} says that it has {size} samples in {file.channels} channels; at most "
                    f"{MOST_SAMPLES} are read: cut it to the part that is meant"
                )
            channels = file.read(dtype="float32", always_2d=True)
            return mixed(channels), file.samplerate
    except (soundfile.SoundFileError, TypeError) as error:  # TypeError: of a name that ends in .raw
        why = getattr(error, "error_string", str(error))  # which does not name the file again
        raise ValueError(f"{path} cannot be read as a sound file: {why}") from error


def mixed(channels: NDArray[np.float32]) -> NDArray[np.float32]:
    """(N, channels) to mono: their mean, or the loudest where they cancel each other."""
    mono = channels.mean(axis=1, dtype=np.float32)
    powers = np.square(channels, dtype=np.float64).sum(axis=0)
    if np.square(mono, dtype=np.float64).sum() < CANCELLED * powers.max(initial=0):
        return channels[:, int(powers.argmax())]
    return np.asarray(mono)

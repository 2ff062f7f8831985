"""A reference recording from a sound file."""

from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

CANCELLED = 0.2  # of the loudest channel's power, under which the sum of the channels has lost some


def read_recording(path: str | Path) -> tuple[NDArray[np.float32], int]:
    """(N,) mono samples at the file's own rate, and that rate in Hz.

    Raises soundfile.LibsndfileError for a file that cannot be read.
    """
    channels, rate = soundfile.read(path, dtype="float32", always_2d=True)
    return mixed(channels), rate


def mixed(channels: NDArray[np.float32]) -> NDArray[np.float32]:
    """(N, channels) to mono: their mean, or the loudest where they cancel each other."""
    mono = channels.mean(axis=1, dtype=np.float32)
    powers = np.square(channels, dtype=np.float64).sum(axis=0)
    if np.square(mono, dtype=np.float64).sum() < CANCELLED * powers.max(initial=0):
        return channels[:, int(powers.argmax())]
    return np.asarray(mono)

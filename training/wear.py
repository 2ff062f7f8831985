"""What happens to a recording on its way to a server: noise, a room, a telephone, another level."""

import numpy as np
from numpy.typing import NDArray
from scipy.signal import butter, fftconvolve, sosfilt

from training.teachers import RATE
from tritone.arrays import Float32

QUIETEST_NOISE, LOUDEST_NOISE = 45.0, 12.0  # dB below the speech
ROOM_SECONDS = (0.05, 0.35)  # time in which the sound of the room falls by 60 dB
ROOM_LEVELS = (0.02, 0.25)  # of its sum, to the direct sound's
TELEPHONE = (300.0, 3400.0)  # Hz


def worn(wav: Float32, rng: np.random.Generator) -> Float32:
    """The speech (N,) with some of these at random; as long as before."""
    out = wav.astype(np.float64)
    if rng.random() < 0.4:
        out = out + fftconvolve(out, _room(rng))[: len(out)]
    if rng.random() < 0.25:
        out = sosfilt(butter(3, TELEPHONE, "bandpass", fs=RATE, output="sos"), out)
    if rng.random() < 0.7:
        level = 10 ** (-rng.uniform(LOUDEST_NOISE, QUIETEST_NOISE) / 20)
        noise = rng.standard_normal(len(out))
        if rng.random() < 0.5:  # the hum of a room falls with frequency
            noise = sosfilt(butter(1, 500.0, fs=RATE, output="sos"), noise) * 4
        out = out + noise * level * np.sqrt((out**2).mean() + 1e-9)
    return np.clip(out * 10 ** rng.uniform(-1.5, 0.2), -1, 1).astype(np.float32)


def _room(rng: np.random.Generator) -> NDArray[np.float64]:
    """The tail of an impulse response: noise that dies away."""
    seconds = rng.uniform(*ROOM_SECONDS)
    time = np.arange(int(seconds * RATE)) / RATE
    tail = rng.standard_normal(len(time)) * 10 ** (-3 * time / seconds)
    tail[: int(0.003 * RATE)] = 0
    return np.asarray(tail * np.sqrt(rng.uniform(*ROOM_LEVELS) / (tail**2).sum()))

"""Pitch of signals whose pitch is known."""

import numpy as np
import pytest
from numpy.typing import NDArray

from training.f0 import f0_track

RATE, LOW, HIGH = 24000, 60.0, 450.0


def harmonics(pitch: float, count: int, seconds: float = 0.5) -> NDArray[np.float32]:
    """A pulse train low-passed after `count` harmonics; a sine for one."""
    phase = 2 * np.pi * pitch * np.arange(round(seconds * RATE)) / RATE
    wav = sum(np.cos(k * phase) for k in range(1, count + 1)) / count
    return (0.3 * np.asarray(wav)).astype(np.float32)


@pytest.mark.parametrize("pitch", [75.0, 118.3, 220.0, 333.3, 420.0])
@pytest.mark.parametrize("count", [1, 20])
def test_known_pitch(pitch: float, count: int) -> None:
    f0 = f0_track(harmonics(pitch, count), RATE, LOW, HIGH)
    assert f0.shape == (25,) and f0.dtype == np.float32
    inner = f0[2:-2]  # at the ends a frame reaches into the padding
    assert np.abs(inner / pitch - 1).max() < 0.01


def test_a_change_of_pitch_is_found_where_it_is() -> None:
    wav = np.concatenate([harmonics(110.0, 10), harmonics(200.0, 10)])
    f0 = f0_track(wav, RATE, LOW, HIGH)
    assert np.abs(f0[2:23] / 110 - 1).max() < 0.01 and np.abs(f0[27:48] / 200 - 1).max() < 0.01


def test_noise_and_silence_have_no_pitch() -> None:
    noise = np.random.default_rng(0).normal(0, 0.2, RATE).astype(np.float32)
    assert (f0_track(noise, RATE, LOW, HIGH) > 0).mean() < 0.02
    assert not f0_track(np.zeros(RATE, np.float32), RATE, LOW, HIGH).any()
    assert not f0_track(harmonics(150.0, 1) * 0.01, RATE, LOW, HIGH).any()  # 40 dB too soft


@pytest.mark.parametrize("samples", [480, 959, 960, 4801])
def test_one_value_a_frame(samples: int) -> None:
    f0 = f0_track(harmonics(150.0, 5)[:samples], RATE, LOW, HIGH)
    assert f0.shape == (samples // 480,)

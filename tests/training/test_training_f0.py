"""Pitch of signals whose pitch is known."""

import numpy as np
import pytest
from numpy.typing import NDArray

from training.f0 import cycles, f0_track

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


def voice(pitch: NDArray[np.float64], phases: NDArray[np.float64]) -> NDArray[np.float32]:
    """Ten harmonics of a changing pitch, (N,) Hz, each with a phase of its own, the first weak."""
    turns = np.cumsum(pitch / RATE)
    levels = np.array([0.1, 1, 0.8, 0.5, 0.7, 0.4, 0.3, 0.3, 0.2, 0.2])
    parts = [
        level * np.cos(2 * np.pi * ((k + 1) * turns + phase))
        for k, (level, phase) in enumerate(zip(levels, phases, strict=True))
    ]
    return (0.05 * np.sum(parts, axis=0)).astype(np.float32)


def test_cycles_follow_the_voice_and_begin_alike_in_every_stretch() -> None:
    """Two stretches of one voice, between them a silence that breaks the count at random."""
    rng = np.random.default_rng(2)
    phases, stretches, truth = rng.uniform(0, 1, 10), [], []
    for _ in range(6):
        samples = 480 * 25
        pitch = 110 * 2 ** (np.linspace(-0.1, 0.15, samples) * rng.uniform(-1, 1))
        start = rng.uniform(0, 1)
        wav = voice(pitch, phases + start * np.arange(1, 11))
        stretches += [wav, np.zeros(480 * 10, np.float32)]
        turns = start + np.cumsum(pitch / RATE)
        truth += [turns[240::480], np.full(10, np.nan)]
    wav, wanted = np.concatenate(stretches), np.concatenate(truth)
    f0 = f0_track(wav, RATE, LOW, HIGH)
    found = cycles(wav, f0, RATE)
    assert found.shape == f0.shape
    voiced = (f0 > 0) & np.isfinite(wanted)
    inner = voiced & np.roll(voiced, 2) & np.roll(voiced, -2)  # whole windows
    apart = np.exp(2j * np.pi * (found - wanted)[inner])
    assert np.abs(apart.mean()) > 0.99, "one offset for all stretches"
    assert np.abs(np.angle(apart / apart.mean())).max() < 2 * np.pi * 0.06


def test_without_pitch_there_are_no_cycles() -> None:
    assert not cycles(np.zeros(4800, np.float32), np.zeros(10, np.float32), RATE).any()

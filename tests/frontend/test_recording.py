"""Reference recordings as they come: silence, offset, level, too little speech."""

import numpy as np
import pytest
from numpy.typing import NDArray

from tritone.errors import InvalidRequest
from tritone.frontend.audio.recording import LEVEL, MARGIN_SECONDS, TOLERANCE, speech_in

RATE = 16000
BEFORE, AFTER = MARGIN_SECONDS


def speechlike(seconds: float, level: float = 0.1) -> NDArray[np.float32]:
    """Noise in syllables: four a second, each louder and softer."""
    time = np.arange(round(seconds * RATE)) / RATE
    envelope = 0.2 + np.sin(2 * np.pi * 4 * time) ** 2
    noise = np.random.default_rng(0).standard_normal(len(time))
    wav = envelope * noise
    return (wav * level / np.sqrt((wav**2).mean())).astype(np.float32)


def silence(seconds: float, noise: float = 0.0) -> NDArray[np.float32]:
    draws = np.random.default_rng(1).standard_normal(round(seconds * RATE))
    return (noise * draws).astype(np.float32)


def loudness(wav: NDArray[np.float32]) -> float:
    hop = RATE // 100
    power = np.sort((wav[: len(wav) // hop * hop].reshape(-1, hop) ** 2).mean(axis=1))
    return float(np.sqrt(power[len(power) // 2 :].mean()))


@pytest.mark.parametrize(("before", "after"), [(0, 0), (3, 3), (0, 2), (1.5, 0)])
@pytest.mark.parametrize("noise", [0.0, 0.0005])
def test_silence_at_the_ends_is_cut(before: float, after: float, noise: float) -> None:
    wav = np.concatenate([silence(before, noise), speechlike(2), silence(after, noise)])
    found = speech_in(wav, RATE, 0.3)
    most = 2 + min(before, BEFORE) + min(after, AFTER)
    assert most - 0.1 <= len(found.wav) / RATE <= most + 0.03
    noted = any("of silence at its ends cut" in note for note in found.notes)
    assert noted == (before + after > 0.8)


def test_pauses_within_stay() -> None:
    wav = np.concatenate([speechlike(1), silence(1.5), speechlike(1)])
    assert len(speech_in(wav, RATE, 0.3).wav) / RATE > 3.4


def test_a_click_is_no_speech() -> None:
    wav = np.concatenate([silence(2), speechlike(2), silence(2)])
    wav[100:140] = 0.9
    assert len(speech_in(wav, RATE, 0.3).wav) / RATE < 2.3


@pytest.mark.parametrize("decibels", [-60, -40, -12, 0])
def test_the_level_becomes_the_usual_one(decibels: float) -> None:
    wav = speechlike(2)
    wav = wav / np.abs(wav).max() * np.float32(10 ** (decibels / 20))
    found = speech_in(wav, RATE, 0.3)
    assert np.abs(found.wav).max() <= 1
    assert LEVEL / TOLERANCE * 0.9 <= loudness(found.wav) <= LEVEL * TOLERANCE * 1.1


def test_a_usual_level_is_left_alone() -> None:
    wav = speechlike(2, 0.1)
    wav = wav - wav.mean()
    found = speech_in(wav, RATE, 0.3)
    at = int(np.flatnonzero(np.isclose(wav, found.wav[0], atol=1e-9))[0])
    np.testing.assert_allclose(found.wav, wav[at : at + len(found.wav)], atol=1e-7)


@pytest.mark.parametrize("offset", [0.3, -0.05])
def test_an_offset_is_removed_and_noted(offset: float) -> None:
    wav = np.concatenate([silence(1), speechlike(2, 0.02), silence(1)]) + np.float32(offset)
    found = speech_in(wav, RATE, 0.3)
    assert abs(float(found.wav.mean())) < 0.01 and len(found.wav) / RATE < 2.3
    assert any("constant offset" in note for note in found.notes)


@pytest.mark.parametrize("seconds", [0.05, 0.1])
def test_too_little_speech_is_refused_with_its_length(seconds: float) -> None:
    wav = np.concatenate([silence(1), speechlike(seconds), silence(1)])
    with pytest.raises(
        InvalidRequest, match=r"reference_wav: has 0\.\d\d s of speech and 1\.\d\d s"
    ):
        speech_in(wav, RATE, 0.5)


def test_a_constant_is_no_recording() -> None:
    with pytest.raises(InvalidRequest, match=r"reference_wav: is -0\.5 throughout"):
        speech_in(np.full(RATE, -0.5, np.float32), RATE, 0.3)


@pytest.mark.parametrize(("rate", "smooth"), [(8000, 1), (16000, 1), (16000, 8), (48000, 8)])
def test_steady_noise_is_refused(rate: int, smooth: int) -> None:
    noise = np.random.default_rng(2).standard_normal(2 * rate)
    wav = (0.1 * np.convolve(noise, np.ones(smooth), "same")).astype(np.float32)
    with pytest.raises(InvalidRequest, match=r"reference_wav: has 2\.00 s of steady noise and no"):
        speech_in(wav, rate, 0.3)


def test_a_voice_as_loud_as_its_noise_and_a_held_vowel_are_used() -> None:
    wav = speechlike(2)
    speech_in(wav + silence(2, 0.1), RATE, 0.3)
    time = np.arange(RATE) / RATE
    vowel = sum(np.sin(2 * np.pi * 120 * h * time) / h for h in range(1, 8))
    speech_in((0.1 * vowel).astype(np.float32), RATE, 0.3)

"""What is measured of a recording, and whether that is what was done to it."""

import numpy as np
import pytest
from recordings import LONG, TWO, noisy, read
from sound_files import RATE, spoken
from sound_files import noisy as noisy_by

from tritone.arrays import Float32
from tritone.frontend.audio.encoders import SpeakerEncoder
from tritone.frontend.audio.quality import measured, problems, remarks
from tritone.frontend.audio.resample import resample
from tritone.frontend.audio.speakers import ALIKE, likeness
from tritone.resources import embedded_voice


@pytest.mark.parametrize("name", ["heart", "joe"])
@pytest.mark.parametrize("decibels", [30, 20, 12, 6])
def test_noise_that_was_added_is_found(name: str, decibels: float) -> None:
    found = measured(noisy_by(spoken(name), decibels), RATE).snr_db
    assert found == pytest.approx(decibels, abs=2)


def test_silence_without_noise_at_the_ends_hides_none() -> None:
    wav = np.pad(noisy_by(spoken("joe"), 12), (3 * RATE, 3 * RATE))
    found = measured(wav, RATE)
    assert found.snr_db == pytest.approx(12, abs=2)
    assert found.silence == pytest.approx(5.8, abs=0.3)


def clipped(wav: Float32, decibels: float) -> Float32:
    peak = np.abs(wav).max()
    return np.clip(wav * np.float32(10 ** (decibels / 20)), -peak, peak)


@pytest.mark.parametrize("name", ["heart", "joe"])
def test_clipping_is_found_and_clean_speech_is_not_accused(name: str) -> None:
    wav = spoken(name)
    assert not problems(measured(wav, RATE)) and not remarks(measured(wav, RATE))
    assert any("is clipped" in text for text in remarks(measured(clipped(wav, 6), RATE)))
    assert any("is clipped" in text for text in problems(measured(clipped(wav, 15), RATE)))


def test_a_level_that_will_be_changed_is_told() -> None:
    quiet = measured(spoken("joe") * np.float32(0.01), RATE)
    assert remarks(quiet) == ["its level of -61 dBFS is brought to -20 dBFS"]


def test_all_problems_are_said_at_once_each_with_its_limit() -> None:
    bad = noisy_by(clipped(spoken("joe")[: RATE // 2], 30), 40)
    bad = clipped(noisy_by(bad, 5), 6)
    said = " ".join(problems(measured(bad, RATE)))
    assert "s of speech; 1 s or more is needed" in said
    assert "dB below the voice; 10 dB or more is needed" in said
    assert "of its samples lie at the peak; 1.0% or less is needed" in said


@pytest.fixture(scope="module")
def encoder() -> SpeakerEncoder:
    return SpeakerEncoder(embedded_voice() / "speaker_encoder.onnx", 192)


def alike(wav: Float32, encoder: SpeakerEncoder) -> float | None:
    return likeness(resample(wav, RATE, 16000), 16000, encoder)


@pytest.mark.slow
@pytest.mark.parametrize("voice", ["hibari", "joe"])
def test_one_speaker_is_not_taken_for_several(voice: str, encoder: SpeakerEncoder) -> None:
    long = read(voice, LONG)
    assert alike(read(voice, TWO)[: 5 * RATE], encoder) is None  # too short to tell
    for wav in (long, noisy(long, 30), noisy(long, 20), noisy(long, 10), clipped(long, 10)):
        found = alike(wav, encoder)
        assert found is not None and found > ALIKE + 0.05


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [3, 5, 8])
def test_two_speakers_one_after_the_other_are_suspected(
    seconds: int, encoder: SpeakerEncoder
) -> None:
    both = [read(voice, LONG)[: seconds * RATE] for voice in ("hibari", "joe")]
    found = alike(np.concatenate(both), encoder)
    assert found is not None and found < ALIKE - 0.05


def test_one_odd_window_accuses_nobody() -> None:
    """An encoder that hears another speaker in a single second."""
    wav = np.zeros(16000 * 9, np.float32)
    wav[: 16000 // 2] = 1

    def encode(window: Float32) -> Float32:
        return np.array([1, 0] if window[0] else [0, 1], np.float32)

    assert likeness(wav, 16000, encode) == 1.0

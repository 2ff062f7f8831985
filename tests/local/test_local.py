"""The package in process, on the embedded voice: lengths, seeds, threads, errors."""

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from paths import EMBEDDED

import tritone
from tritone import (
    EnvironmentProblem,
    InvalidRequest,
    ModelDirectoryError,
    SamplingParams,
    StageFailed,
)
from tritone.arrays import Float32
from tritone.families.cosyvoice2.config import CosyVoice2Config
from tritone.families.cosyvoice2.voice import Voice

TEXT = "Good morning, how are you?"
SEEDED = SamplingParams(seed=3)


@pytest.fixture(scope="module")
def tts() -> Iterator[tritone.TTS]:
    with tritone.load(EMBEDDED) as loaded:
        yield loaded


def a_voice() -> Voice:
    config = CosyVoice2Config.read(EMBEDDED).flow
    embedding = np.linspace(-1, 1, config.spk_embed_dim, dtype=np.float32)
    bins = config.output_size
    return Voice(np.zeros(0, np.int32), np.zeros((0, bins), np.float32), embedding)


def loudness(wave: Float32) -> float:
    return float(np.sqrt(np.mean(np.square(wave))))


def test_a_stream_is_the_whole_in_pieces(tts: tritone.TTS) -> None:
    chunks = list(tts.stream(TEXT, sampling=SEEDED))
    whole = tts.synthesize(TEXT, sampling=SEEDED)
    assert len(chunks) >= 2 and [c.last for c in chunks] == [False] * (len(chunks) - 1) + [True]
    wave = np.concatenate([chunk.samples for chunk in chunks])
    assert wave.dtype == np.float32 and np.array_equal(wave, whole)
    timing = chunks[-1].timing
    assert len(wave) == 960 * timing["tokens"] and tts.sample_rate == 24000
    assert timing["audio_s"] == round(len(wave) / 24000, 4)
    assert 0.01 < loudness(wave) < 0.5 and np.abs(wave).max() <= 0.99


def test_unstreamed_speech_has_the_same_length(tts: tritone.TTS) -> None:
    streamed = tts.synthesize(TEXT, sampling=SEEDED)
    (chunk,) = tts.stream(TEXT, sampling=SEEDED, streaming=False)
    assert chunk.last and len(chunk.samples) == len(streamed)  # the same tokens, other attention


def test_long_unstreamed_text_is_still_one_chunk(tts: tritone.TTS) -> None:
    text = "This is the first of some sentences. " * 5
    chunks = list(tts.stream(text, sampling=SEEDED, streaming=False))
    assert len(chunks) == 1 and chunks[0].timing["segments"] > 1


def test_a_seed_is_an_utterance(tts: tritone.TTS) -> None:
    first, again = (tts.synthesize(TEXT, sampling=SEEDED) for _ in range(2))
    other = tts.synthesize(TEXT, sampling=SamplingParams(seed=4))
    assert np.array_equal(first, again)
    assert first.shape != other.shape or not np.array_equal(first, other)


def test_streams_at_once_are_as_alone(tts: tritone.TTS) -> None:
    # Not every text: where two tokens are as likely, as once in "Four five six.", the rounding of
    # a batch of another size decides, in one of twenty runs.
    texts = ["One.", "Two, three.", "Good morning to you.", "Seven!"]
    alone = [tts.synthesize(text, sampling=SamplingParams(seed=i)) for i, text in enumerate(texts)]
    together: dict[int, Float32] = {}

    def speak(index: int) -> None:
        sampling = SamplingParams(seed=index)
        together[index] = tts.synthesize(texts[index], sampling=sampling)

    threads = [threading.Thread(target=speak, args=(index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for index, wave in enumerate(alone):
        assert together[index].shape == wave.shape
        # A batch of another size rounds otherwise; the tokens and so the speech are the same.
        assert np.abs(together[index] - wave).max() < 1e-3


def test_speed_changes_the_length(tts: tritone.TTS) -> None:
    frames = len(tts.synthesize(TEXT, sampling=SEEDED)) // 480
    for speed in (0.5, 1.5):
        assert len(tts.synthesize(TEXT, sampling=SEEDED, speed=speed)) == 480 * int(frames / speed)


@pytest.mark.parametrize("streaming", [True, False])
def test_codes_to_wave(tts: tritone.TTS, streaming: bool) -> None:
    codes = np.arange(0, 61 * 83, 83, dtype=np.int32) % 6561
    wave = tts.token2wav(codes, a_voice(), streaming=streaming)
    assert wave.shape == (61 * 960,) and np.isfinite(wave).all()
    again = tts.token2wav(codes, a_voice(), streaming=streaming)
    other = tts.token2wav(codes, a_voice(), streaming=streaming, seed=1)
    assert np.array_equal(wave, again) and not np.array_equal(wave, other)


def test_codes_outside_the_codebook(tts: tritone.TTS) -> None:
    with pytest.raises(InvalidRequest, match=r"holds 6561; codes are 0\.\.6560"):
        tts.token2wav(np.array([6561]), a_voice())


@pytest.mark.parametrize(
    ("text", "options", "field"),
    [
        ("", {}, "target_text"),
        (" \n\t", {}, "target_text"),
        ("a\0b", {}, "target_text"),
        (TEXT, {"voice": "nobody"}, "voice"),
        (TEXT, {"voice": "../default"}, "voice"),
        (TEXT, {"speed": 2.5}, "speed"),
        (TEXT, {"sampling": SamplingParams(temperature=0.0)}, "temperature"),
        (TEXT, {"emotion": tritone.Emotion(vector=(1.0,))}, "emotion_vector"),
        (TEXT, {"emotion": tritone.Emotion(text="sad")}, "emotion_text"),
        (TEXT, {"reference_wav": np.zeros(100, np.float32)}, "reference_wav"),
        (TEXT, {"reference_wav": np.zeros(16000, np.float32)}, "reference_wav"),
    ],
)
def test_requests_that_cannot_be_served(tts: tritone.TTS, text: str, options, field: str) -> None:
    with pytest.raises(InvalidRequest) as raised:
        tts.synthesize(text, **options)
    assert raised.value.field == field and str(raised.value).startswith(f"{field}: ")


def test_closing_a_stream_frees_its_slot(tts: tritone.TTS) -> None:
    for _ in range(9):  # more than there are slots
        stream = tts.stream("Not heard to its end, this is.", sampling=SEEDED)
        next(stream)
        stream.close()
    assert len(tts.synthesize("Yes.", sampling=SEEDED)) > 0


def test_the_default_voice_has_a_name(tts: tritone.TTS) -> None:
    assert np.array_equal(
        tts.synthesize("Yes.", sampling=SEEDED, voice="heart"),
        tts.synthesize("Yes.", sampling=SEEDED),
    )


def test_a_closed_model_says_so() -> None:
    tts = tritone.load(EMBEDDED)
    tts.close()
    with pytest.raises(StageFailed, match="the language model is closed"):
        tts.synthesize(TEXT)


def test_a_preset_is_another_solver(tts: tritone.TTS) -> None:
    with tritone.load(EMBEDDED, preset="fast") as fast:
        wave = fast.synthesize("Yes.", sampling=SEEDED)
    exact = tts.synthesize("Yes.", sampling=SEEDED)
    assert len(wave) == len(exact) and not np.array_equal(wave, exact)


def test_an_unknown_preset_is_refused() -> None:
    with pytest.raises(EnvironmentProblem, match="preset is 'quick'; it must be one of exact"):
        tritone.load(EMBEDDED, preset="quick")


def test_what_is_no_model_directory(tmp_path: Path) -> None:
    with pytest.raises(ModelDirectoryError, match=r"tritone convert"):
        tritone.load(tmp_path)

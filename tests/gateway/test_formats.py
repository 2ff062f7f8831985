"""What the encoders make is sound that players read, and leaves as early as the codec lets it."""

import io
import threading
import wave

import numpy as np
import pytest
import soundfile
from decoding import decoded, likeness
from serving import RATE, reference

from tritone.gateway.errors import ApiError
from tritone.gateway.formats import FORMATS, OPENAI_PCM_RATE, wav_header

SAMPLES = reference(2.0, RATE)
HELD_BACK = {"mp3": 0.072, "opus": 0.06, "aac": 0.13, "flac": 0.048, "wav": 0.0, "pcm": 0.0}
"""Seconds of sound that a decoder does not have yet, at most, of what the encoder was given."""


def encoded(name: str, samples: np.ndarray, source: int, rate: int, step: int = 1000) -> bytes:
    encoder = FORMATS[name].encoder(source, rate)
    pieces = [encoder.encode(samples[at : at + step]) for at in range(0, len(samples), step)]
    return b"".join([*pieces, encoder.finish()])


def heard(name: str, data: bytes, rate: int, at: int = 0) -> np.ndarray:
    """at: Hz to have it at, if another rate than its own."""
    return decoded(wav_header(rate) + data if name == "pcm" else data, at or rate)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("source", [RATE, 12000, 22050])
def test_what_goes_in_is_heard(name: str, source: int) -> None:
    samples = reference(2.0, source)
    rate = FORMATS[name].rate(None, source)
    wave_out = heard(name, encoded(name, samples, source, rate), rate, source)
    assert likeness(wave_out, samples) > 0.97
    # streams of these two do not say where the sound begins and ends
    more = 0.14 * source if name in ("mp3", "aac") else 2
    assert -2 <= len(wave_out) - len(samples) <= more


@pytest.mark.parametrize("name", ["wav", "pcm", "flac"])
def test_samples_are_kept_within_their_rounding(name: str) -> None:
    assert np.abs(heard(name, encoded(name, SAMPLES, RATE, RATE), RATE) - SAMPLES).max() < 1 / 16384


@pytest.mark.parametrize("name", FORMATS)
def test_a_packet_leaves_as_early_as_the_codec_lets_it(name: str) -> None:
    encoder = FORMATS[name].encoder(RATE, RATE)
    given = 0.2
    data = encoder.encode(SAMPLES[: int(given * RATE)])
    assert given - len(heard(name, data, RATE)) / RATE <= HELD_BACK[name] + 1e-6
    encoder.close()


@pytest.mark.parametrize("name", ["mp3", "opus", "flac"])
def test_the_way_it_is_cut_does_not_matter(name: str) -> None:
    whole = encoded(name, SAMPLES, RATE, RATE, step=len(SAMPLES))
    cut = encoded(name, SAMPLES, RATE, RATE, step=777)
    np.testing.assert_array_equal(heard(name, whole, RATE), heard(name, cut, RATE))


def test_a_wave_without_an_end_is_read_by_others() -> None:
    data = encoded("wav", SAMPLES, RATE, RATE)
    samples, rate = soundfile.read(io.BytesIO(data), dtype="float32")
    assert rate == RATE and len(samples) == len(SAMPLES)
    with wave.open(io.BytesIO(data)) as file:
        assert file.getframerate() == RATE
        assert len(file.readframes(file.getnframes())) == 2 * len(SAMPLES)


@pytest.mark.parametrize("name", FORMATS)
def test_a_text_without_sound_is_no_error(name: str) -> None:
    encoder = FORMATS[name].encoder(RATE, RATE)
    encoder.encode(np.zeros(0, np.float32))
    encoder.finish()
    encoder.close()


def test_an_encoder_may_be_closed_while_it_encodes() -> None:
    """And as often as wanted; afterwards nothing comes of it."""
    encoder = FORMATS["mp3"].encoder(RATE, RATE)
    encoding = threading.Thread(target=encoder.encode, args=(np.tile(SAMPLES, 20),))
    encoding.start()
    encoder.close()
    encoding.join()
    encoder.close()
    encoder.encode(SAMPLES)
    assert encoder.finish() == b""


def test_each_format_has_its_rates() -> None:
    assert FORMATS["pcm"].rate(None, 12000) == OPENAI_PCM_RATE
    assert FORMATS["wav"].rate(None, 22050) == 22050
    assert FORMATS["opus"].rate(None, 22050) == 24000  # the next one that it has
    assert FORMATS["mp3"].rate(16000, RATE) == 16000
    with pytest.raises(ApiError, match="sample_rate: is 22050 Hz; opus can have 8000, 12000, "):
        FORMATS["opus"].rate(22050, RATE)

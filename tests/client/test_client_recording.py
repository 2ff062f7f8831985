"""Reference recordings from files: channels, rates, damage."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from tritone.frontend.audio.recording import mixed as mixed_offline
from tritone_client.recording import mixed, read_recording

RATE = 22050
TONE = (0.3 * np.sin(2 * np.pi * 220 * np.arange(RATE) / RATE)).astype(np.float32)
NOISE = (0.1 * np.random.default_rng(0).standard_normal(RATE)).astype(np.float32)
SILENCE = np.zeros_like(TONE)


def written(path: Path, *channels: np.ndarray) -> Path:
    soundfile.write(path, np.stack(channels, axis=1), RATE, subtype="FLOAT")
    return path


@pytest.mark.parametrize(
    ("channels", "wanted"),
    [
        ([TONE], TONE),
        ([TONE, TONE], TONE),
        ([TONE, NOISE], (TONE + NOISE) / 2),
        ([TONE, SILENCE], TONE / 2),
        ([TONE, -TONE], TONE),
        ([TONE, -TONE * 0.9], TONE),
        ([SILENCE, SILENCE], SILENCE),
    ],
)
def test_channels_are_mixed_and_never_cancel(
    tmp_path: Path, channels: list[np.ndarray], wanted: np.ndarray
) -> None:
    wav, rate = read_recording(written(tmp_path / "a.wav", *channels))
    assert rate == RATE and wav.dtype == np.float32
    np.testing.assert_allclose(wav, wanted, atol=1e-7)


def test_a_file_without_samples_gives_none() -> None:
    assert mixed(np.zeros((0, 2), np.float32)).shape == (0,)


@pytest.mark.parametrize("other", [TONE, -TONE, NOISE, SILENCE])
def test_the_server_s_package_mixes_alike(other: np.ndarray) -> None:
    channels = np.stack([TONE, other], axis=1)
    np.testing.assert_array_equal(mixed(channels), mixed_offline(channels))


def test_what_is_no_sound_file_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(b"RIFF nothing of the kind")
    with pytest.raises(ValueError, match="cannot be read as a sound file"):
        read_recording(path)


def test_a_header_that_promises_too_much_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.flac"
    soundfile.write(path, np.zeros(100), RATE)
    content = bytearray(path.read_bytes())
    content[22:26] = b"\xff" * 4  # of the number of samples
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.flac says that it has \d+ samples .* at most"):
        read_recording(path)


def test_a_file_without_a_header_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "a.raw"
    path.write_bytes(bytes(100))
    with pytest.raises(ValueError, match=r"a\.raw cannot be read as a sound file"):
        read_recording(path)

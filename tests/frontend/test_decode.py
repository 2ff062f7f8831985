"""Recordings in every container, and what is no recording: refused by name, within bounds."""

import io
import os
import struct
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from sound_files import RATE, SPOKEN, coded, spoken, wav_file

from tritone.errors import InvalidRequest
from tritone.frontend.audio.decode import DEFAULT_LIMITS, decode, read_file

SHORT = spoken("joe")[: 2 * RATE]
KINDS = [
    ("mp4", "aac"), ("ipod", "aac"), ("adts", "aac"), ("mp3", "libmp3lame"), ("ogg", "libopus"),
    ("webm", "libopus"), ("matroska", "libopus"), ("flac", "flac"), ("wav", "pcm_s16le"),
]  # fmt: skip


@pytest.fixture
def without_av(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)


def assert_alike(ours: np.ndarray, rate: int) -> None:
    """The same sound, but for what a codec adds at the ends and takes from it."""
    step = rate // RATE
    assert len(ours) / rate == pytest.approx(2.0, abs=0.1)
    found = ours[:: step or 1]
    best = np.correlate(found, SHORT, "full").max()
    assert best / (np.linalg.norm(found) * np.linalg.norm(SHORT)) > 0.95


@pytest.mark.parametrize(("container", "codec"), KINDS, ids=lambda part: str(part))
def test_every_kind_is_read(container: str, codec: str) -> None:
    sound = decode(coded(SHORT, container, codec))
    assert sound.rate == 48000
    assert_alike(sound.wav, sound.rate)


def test_samples_of_a_wave_file_are_exact_with_and_without_the_extra(
    request: pytest.FixtureRequest,
) -> None:
    data = wav_file(SHORT)
    expected, _ = soundfile.read(io.BytesIO(data), dtype="float32")
    np.testing.assert_array_equal(decode(data).wav, expected)
    request.getfixturevalue("without_av")
    np.testing.assert_array_equal(decode(data).wav, expected)


def test_channels_that_cancel_each_other_are_not_summed() -> None:
    pair = np.stack([SHORT, -0.9 * SHORT], axis=1)
    np.testing.assert_allclose(decode(wav_file(pair)).wav, SHORT, atol=1e-4)


@pytest.mark.usefixtures("without_av")
def test_without_the_extra_it_is_said_what_to_install() -> None:
    assert decode(SPOKEN["joe"].read_bytes()).seconds == pytest.approx(10.26, abs=0.01)
    with pytest.raises(InvalidRequest, match=r"pip install 'tritone\[gateway\]'"):
        decode(b"\0\0\0\x1cftypM4A \0\0\0\0M4A mp42isom")


def of_size(seconds: float, rate: int = RATE, channels: int = 1) -> bytes:
    return wav_file(np.full((round(seconds * rate), channels), 0.1, np.float32), rate)


TOO_MUCH = {
    "nothing": (b"", "has 0 bytes"),
    "noise": (os.urandom(4096), "cannot be read as sound"),
    "zeros": (bytes(100_000), "cannot be read as sound"),
    "too long": (of_size(30.1), "lasts longer than 30 s"),
    "too slow": (of_size(1, 4000), "has 4000 Hz; the limits are 8000 and 192000 Hz"),
    "too many channels": (of_size(1, RATE, 9), "has 9 channels; the limits are 1 and 8"),
    "too much of it": (of_size(29, 192_000, 4), "more than 67108864 bytes of samples"),
    "an empty wave file": (of_size(0), "holds 0 samples|cannot be read"),
    "half a header": (of_size(1)[:30], "cannot be read as sound"),
}


@pytest.mark.parametrize("name", TOO_MUCH)
def test_what_is_too_much_or_nothing_is_refused(name: str) -> None:
    data, problem = TOO_MUCH[name]
    with pytest.raises(InvalidRequest, match=problem) as caught:
        decode(data)
    assert caught.value.field == "recording"


@pytest.mark.usefixtures("without_av")
@pytest.mark.parametrize("name", ["too long", "too slow", "too many channels", "too much of it"])
def test_the_limits_hold_without_the_extra(name: str) -> None:
    data, problem = TOO_MUCH[name]
    with pytest.raises(InvalidRequest, match=problem):
        decode(data)


def test_a_small_file_that_holds_hours_ends_at_the_limit() -> None:
    """Silence as FLAC: an hour and a half in 20 KB."""
    file = io.BytesIO()
    with soundfile.SoundFile(file, "w", 8000, 1, format="FLAC", subtype="PCM_16") as out:
        for _ in range(540):
            out.write(np.zeros(80_000, np.int16))
    assert len(file.getvalue()) < 200_000
    with pytest.raises(InvalidRequest, match="lasts longer than 30 s"):
        decode(file.getvalue())


def test_a_file_of_countless_tiny_pieces_ends_at_the_limit() -> None:
    few = replace(DEFAULT_LIMITS, most_packets=20)
    with pytest.raises(InvalidRequest, match="has more than 20 packets"):
        decode(coded(SHORT, "ogg", "libopus"), few)


def test_a_wave_file_that_promises_more_than_it_has() -> None:
    data = bytearray(of_size(1))
    struct.pack_into("<I", data, 40, 0xFFFFFFF0)
    assert decode(bytes(data)).seconds == pytest.approx(1.0, abs=0.01)


def test_samples_that_are_no_numbers_are_refused() -> None:
    wav = SHORT.copy()
    wav[100] = np.nan
    with pytest.raises(InvalidRequest, match="NaN or infinite"):
        decode(wav_file(wav, subtype="FLOAT"))


def test_a_playlist_makes_nobody_read_another_file(tmp_path: Path) -> None:
    other = tmp_path / "other.wav"
    other.write_bytes(wav_file(SHORT))
    for playlist in (
        f"ffconcat version 1.0\nfile {other}\n",
        f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nfile://{other}\n#EXT-X-ENDLIST\n",
        f"v=0\no=- 0 0 IN IP4 127.0.0.1\nm=audio 5004 RTP/AVP 0\na=file:{other}\n",
    ):
        with pytest.raises(InvalidRequest, match="cannot be read as sound"):
            decode(playlist.encode())


def test_a_picture_has_no_sound() -> None:
    import av

    file = io.BytesIO()
    with av.open(file, "w", format="matroska") as out:
        stream = out.add_stream("mpeg4", rate=5)
        stream.width = stream.height = 32
        stream.pix_fmt = "yuv420p"
        grey = np.full((32, 32, 3), 128, np.uint8)
        for _ in range(5):
            out.mux(stream.encode(av.VideoFrame.from_ndarray(grey, "rgb24")))
        out.mux(stream.encode(None))
    with pytest.raises(InvalidRequest, match="has no sound track"):
        decode(file.getvalue())


def test_only_plain_files_of_some_size_are_read(tmp_path: Path) -> None:
    for path in (Path("/dev/zero"), tmp_path, tmp_path / "missing"):
        with pytest.raises(InvalidRequest, match="is no file"):
            read_file(path)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(InvalidRequest, match="is no file"):
        read_file(pipe)
    small = replace(DEFAULT_LIMITS, most_bytes=1000)
    (tmp_path / "large").write_bytes(bytes(5000))
    with pytest.raises(InvalidRequest, match="has more than 1000 bytes"):
        decode(read_file(tmp_path / "large", small), small)


@pytest.mark.parametrize(("container", "codec"), KINDS, ids=lambda part: str(part))
def test_damage_is_an_error_or_a_sound_and_nothing_else(container: str, codec: str) -> None:
    whole = coded(SHORT[:RATE], container, codec)
    random = np.random.default_rng(1)
    for _ in range(20):
        data = bytearray(whole[: random.integers(1, len(whole))])
        for place in random.integers(0, len(data), 20):
            data[place] = random.integers(256)
        try:
            assert decode(bytes(data)).wav.ndim == 1
        except InvalidRequest as error:
            assert error.field == "recording"

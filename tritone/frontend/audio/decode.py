"""A recording as people have it, in any container, to samples: bounded in every direction.

PyAV (the extra `gateway`) reads what phones and browsers record. Without it soundfile reads WAV,
FLAC, Ogg and MP3. Containers that name other files or addresses (playlists) are not opened: a
recording must not make this machine read something else.
"""

import io
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import soundfile

from tritone.arrays import Float32
from tritone.errors import InvalidRequest
from tritone.frontend.audio.recording import mixed

if TYPE_CHECKING:
    from av.container import InputContainer

FIELD = "recording"
EXTRA = "gateway"  # of pyproject.toml, which brings PyAV

CONTAINERS = "aac,aiff,amr,asf,au,caf,flac,matroska,mov,mp3,ogg,w64,wav,webm,wv"
CODECS = (
    "aac", "aac_latm", "ac3", "alac", "amrnb", "amrwb", "eac3", "flac", "mp2", "mp3", "mp3float",
    "opus", "speex", "vorbis", "wavpack", "wmav1", "wmav2",
)  # fmt: skip
PLAIN_CODECS = ("pcm_", "adpcm_")


@dataclass(frozen=True)
class DecodingLimits:
    """most_bytes: of the file. Seconds and rates (Hz) of the sound. most_decoded: bytes of its
    channels as float32. most_packets: pieces of a file, each of which may hold next to nothing."""

    most_bytes: int = 48 << 20
    longest_seconds: float = 30.0
    lowest_rate: int = 8000
    highest_rate: int = 192_000
    most_channels: int = 8
    most_decoded: int = 64 << 20
    most_packets: int = 100_000


DEFAULT_LIMITS = DecodingLimits()


@dataclass(frozen=True)
class Sound:
    """wav: (N,) mono samples at `rate` Hz."""

    wav: Float32
    rate: int

    @property
    def seconds(self) -> float:
        return len(self.wav) / self.rate


def read_file(path: Path, limits: DecodingLimits = DEFAULT_LIMITS) -> bytes:
    """The bytes of a recording; InvalidRequest for what is no plain file, or too large."""
    try:
        if not path.is_file():
            raise InvalidRequest(FIELD, f"{path} is no file")
        with path.open("rb") as file:
            data = file.read(limits.most_bytes + 1)
    except OSError as error:
        raise InvalidRequest(FIELD, f"{path} cannot be read: {error.strerror}") from error
    return data


def decode(data: bytes, limits: DecodingLimits = DEFAULT_LIMITS) -> Sound:
    """The first sound track of a file. Raises InvalidRequest naming value and limit."""
    if not data:
        raise InvalidRequest(FIELD, "has 0 bytes; send a sound file")
    if len(data) > limits.most_bytes:
        raise InvalidRequest(
            FIELD, f"has more than {limits.most_bytes} bytes, which is the limit; send less of it"
        )
    sound = _decode_any(data, limits) if _has_av() else _decode_plain(data, limits)
    if not sound.wav.size:
        raise InvalidRequest(FIELD, "holds 0 samples; send a recording of a voice")
    if not np.isfinite(sound.wav).all():
        raise InvalidRequest(FIELD, "has samples that are NaN or infinite")
    return sound


def _has_av() -> bool:
    try:
        import av  # noqa: F401
    except ImportError:
        return False
    return True


class _Track:
    """The channels of one track, as far as they have come. Raises InvalidRequest beyond a limit."""

    def __init__(self, limits: DecodingLimits) -> None:
        self._limits, self._parts = limits, list[Float32]()
        self._rate = self._channels = self._samples = 0

    def begin(self, rate: int, channels: int) -> None:
        """Before the first part; again for every part, which must be like the first."""
        limits = self._limits
        if self._rate:
            if (rate, channels) != (self._rate, self._channels):
                raise InvalidRequest(
                    FIELD,
                    f"changes from {self._rate} Hz in {self._channels} channels to {rate} Hz in "
                    f"{channels}; send one recording",
                )
            return
        if not limits.lowest_rate <= rate <= limits.highest_rate:
            raise InvalidRequest(
                FIELD,
                f"has {rate} Hz; the limits are {limits.lowest_rate} and {limits.highest_rate} Hz",
            )
        if not 1 <= channels <= limits.most_channels:
            raise InvalidRequest(
                FIELD, f"has {channels} channels; the limits are 1 and {limits.most_channels}"
            )
        self._rate, self._channels = rate, channels

    @property
    def room(self) -> int:
        """Samples of each channel that may still come, and one more, which is too many."""
        limits = self._limits
        by_bytes = limits.most_decoded // (4 * self._channels)
        return min(int(limits.longest_seconds * self._rate), by_bytes) + 1 - self._samples

    def add(self, part: Float32) -> None:
        """part: (n, channels)."""
        full = len(part) >= self.room
        self._samples += len(part)
        self._parts.append(part)
        if not full:
            return
        limits, held = self._limits, 4 * self._samples * self._channels
        if held > limits.most_decoded:
            raise InvalidRequest(
                FIELD,
                f"has more than {limits.most_decoded} bytes of samples ({self._channels} channels "
                f"at {self._rate} Hz), which is the limit; send one channel",
            )
        raise InvalidRequest(
            FIELD,
            f"lasts longer than {limits.longest_seconds:g} s, which is the limit; send the part "
            "in which the voice is clearest",
        )

    def sound(self) -> Sound:
        if not self._parts:
            return Sound(np.zeros(0, np.float32), self._rate or 1)
        return Sound(mixed(np.concatenate(self._parts)), self._rate)


def _decode_plain(data: bytes, limits: DecodingLimits) -> Sound:
    track = _Track(limits)
    try:
        with soundfile.SoundFile(io.BytesIO(data)) as file:
            track.begin(file.samplerate, file.channels)
            track.add(file.read(track.room, dtype="float32", always_2d=True))
    except (soundfile.SoundFileError, TypeError, ValueError, MemoryError) as error:
        why = getattr(error, "error_string", str(error)).rstrip(".")
        raise InvalidRequest(
            FIELD,
            f"is no sound file that soundfile reads ({why}); for m4a, webm and others install "
            f"PyAV: pip install 'tritone[{EXTRA}]'",
        ) from error
    return track.sound()


def _decode_any(data: bytes, limits: DecodingLimits) -> Sound:
    import av

    track = _Track(limits)
    try:
        options = {"format_whitelist": CONTAINERS, "protocol_whitelist": ""}
        with (
            av.open(io.BytesIO(data), options=options) as container,
            closing(_frames(container, limits)) as frames,
        ):
            resampler = av.AudioResampler(format="fltp")
            for frame in frames:
                track.begin(frame.sample_rate, frame.layout.nb_channels)
                for part in resampler.resample(frame):
                    track.add(part.to_ndarray().T)
    except InvalidRequest:
        raise
    except (av.FFmpegError, ValueError, MemoryError, OverflowError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise InvalidRequest(FIELD, f"cannot be read as sound: {why}") from error
    return track.sound()


def _frames(container: "InputContainer", limits: DecodingLimits) -> Generator[Any, None, None]:
    """Decoded frames of the first sound track."""
    if not container.streams.audio:
        kinds = ", ".join(sorted({stream.type for stream in container.streams})) or "nothing"
        raise InvalidRequest(FIELD, f"has no sound track ({container.format.name} with {kinds})")
    stream = container.streams.audio[0]
    codec = stream.codec_context.name
    if codec not in CODECS and not codec.startswith(PLAIN_CODECS):
        raise InvalidRequest(FIELD, f"is coded as {codec}, which is not read; {', '.join(CODECS)}")
    stream.codec_context.thread_count = 1
    for number, packet in enumerate(container.demux(stream)):
        if number >= limits.most_packets:
            raise InvalidRequest(
                FIELD, f"has more than {limits.most_packets} packets, which is the limit"
            )
        yield from packet.decode()

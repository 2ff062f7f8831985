"""Sound formats: what they are called, at which rates they exist, and who writes them."""

import struct
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

import av
import numpy as np
from av.audio.stream import AudioStream

from tritone.arrays import Float32
from tritone.gateway.errors import ApiError
from tritone_client.output import to_s16le

OPENAI_PCM_RATE = 24_000
"""Hz of OpenAI's `pcm`, which has no header that could say another rate."""

LOWEST_RATE, HIGHEST_RATE = 8000, 48_000

_UNKNOWN = 0xFFFFFFFF  # a length that is not known yet


class Encoder(Protocol):
    """One stream of sound. Its methods may be called from any thread, one after the other.

    encode: (n,) samples in [-1, 1] to what can leave by now, which may be nothing. finish: to what
    is left. close: frees it, at any time and as often as wanted; nothing comes of it afterwards.
    """

    def encode(self, samples: Float32) -> bytes: ...
    def finish(self) -> bytes: ...
    def close(self) -> None: ...


class Pcm:
    """16-bit little-endian mono samples, behind a header of WAV or none."""

    def __init__(self, source_rate: int, rate: int, *, header: bool) -> None:
        self._source_rate, self._rate = source_rate, rate
        self._header = wav_header(rate) if header else b""
        self._resampler = None
        if source_rate != rate:
            self._resampler = av.AudioResampler(format="flt", layout="mono", rate=rate)

    def encode(self, samples: Float32) -> bytes:
        if self._resampler is not None:
            samples = self._resampled(_frame(samples, self._source_rate))
        return self._packed(samples)

    def finish(self) -> bytes:
        return self._packed(self._resampled(None))

    def close(self) -> None:
        """There is nothing to free."""

    def _resampled(self, frame: av.AudioFrame | None) -> Float32:
        """None for the frame: what the resampler has kept."""
        if self._resampler is None:
            return np.zeros(0, np.float32)
        parts = [part.to_ndarray()[0] for part in self._resampler.resample(frame)]
        return np.concatenate(parts) if parts else np.zeros(0, np.float32)

    def _packed(self, samples: Float32) -> bytes:
        header, self._header = self._header, b""
        return header + to_s16le(samples)


class Compressed:
    """What a codec makes, in its container, piece by piece."""

    def __init__(self, form: "Format", source_rate: int, rate: int) -> None:
        self._source_rate = source_rate
        self._lock = threading.Lock()  # a caller may go while a thread encodes for it
        self._out = _Pieces()
        options = {"flush_packets": "1", **form.container_options}
        self._container: av.container.OutputContainer | None = av.open(
            self._out, "w", format=form.container, container_options=options
        )
        stream = self._container.add_stream(form.codec, rate=rate, options=dict(form.codec_options))
        assert isinstance(stream, AudioStream)
        stream.codec_context.layout = "mono"
        if form.bit_rate:
            stream.codec_context.bit_rate = form.bit_rate
        self._stream = stream
        self._container.start_encoding()

    def encode(self, samples: Float32) -> bytes:
        with self._lock:
            if samples.size:
                self._mux(_frame(samples, self._source_rate))
            return self._out.taken()

    def finish(self) -> bytes:
        with self._lock:
            self._mux(None)
            self._free()
            return self._out.taken()

    def close(self) -> None:
        with self._lock:
            self._free()

    def _mux(self, frame: av.AudioFrame | None) -> None:
        if self._container is not None:
            self._container.mux(self._stream.encode(frame))

    def _free(self) -> None:
        container, self._container = self._container, None
        if container is not None:
            container.close()


class _Pieces:
    """A file that can only be written, as a stream is."""

    def __init__(self) -> None:
        self._written = bytearray()

    def write(self, data: bytes) -> int:
        self._written += data
        return len(data)

    def taken(self) -> bytes:
        """What was written since the last call."""
        data = bytes(self._written)
        self._written.clear()
        return data


def _frame(samples: Float32, rate: int) -> av.AudioFrame:
    row = np.ascontiguousarray(samples, np.float32)[None]
    frame = av.AudioFrame.from_ndarray(row, format="flt", layout="mono")
    frame.sample_rate = rate
    return frame


def wav_header(rate: int) -> bytes:
    """Of 16-bit mono samples without an end: both lengths are the largest, as players of streams
    take it (RIFF WAVE; format 1 is PCM)."""
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, rate, 2 * rate, 2, 16)
    riff = struct.pack("<4sI4s", b"RIFF", _UNKNOWN, b"WAVE")
    return riff + form + struct.pack("<4sI", b"data", _UNKNOWN)


@dataclass(frozen=True)
class Format:
    """A sound format as requests name it.

    media_type: with {rate} where it says the rate. codec: as FFmpeg calls it; empty for samples as
    they are. bit_rate: bits a second; 0 leaves it to the codec. own_rate: Hz where nothing else is
    asked for; 0: that of the model, or the next higher one that the codec has.
    """

    name: str
    media_type: str
    own_rate: int = 0
    codec: str = ""
    container: str = ""
    bit_rate: int = 0
    codec_options: Mapping[str, str] = field(default_factory=dict)
    container_options: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def rates(self) -> list[int]:
        """Hz that it can have, ascending; none where it can have any."""
        known = av.codec.Codec(self.codec, "w").audio_rates if self.codec else None
        return sorted(r for r in known or () if LOWEST_RATE <= r <= HIGHEST_RATE)

    def rate(self, asked: int | None, model: int) -> int:
        """Hz of the answer. Raises ApiError for a rate that the format cannot have."""
        if asked is None:
            wanted = self.own_rate or min(max(model, LOWEST_RATE), HIGHEST_RATE)
            return next((r for r in self.rates if r >= wanted), wanted)
        if self.rates and asked not in self.rates:
            can = ", ".join(map(str, self.rates))
            problem = f"sample_rate: is {asked} Hz; {self.name} can have {can}"
            raise ApiError(400, "invalid_value", problem, param="sample_rate")
        return asked

    def encoder(self, source_rate: int, rate: int) -> Encoder:
        """A new one, for samples at source_rate Hz."""
        if self.codec:
            return Compressed(self, source_rate, rate)
        return Pcm(source_rate, rate, header=self.container == "wav")


# Options that let the first packet go early: MP3 frames that borrow nothing of their neighbours, a
# page of Ogg for each frame of Opus, blocks of FLAC of 24 ms; no header that is written at the end.
# The codecs' levels keep eight streams below a twentieth of a core (benchmarks/gateway.py).
_ALL = (
    Format(
        "mp3",
        "audio/mpeg",
        codec="libmp3lame",
        container="mp3",
        bit_rate=64_000,
        codec_options={"reservoir": "0", "compression_level": "7"},
        container_options={"id3v2_version": "0", "write_xing": "0"},
    ),
    Format(
        "opus",
        "audio/ogg; codecs=opus",
        codec="libopus",
        container="ogg",
        bit_rate=40_000,
        codec_options={"frame_duration": "20", "compression_level": "5"},
        container_options={"page_duration": "20000"},
    ),
    Format(
        "aac",
        "audio/aac",
        codec="aac",
        container="adts",
        bit_rate=64_000,
        codec_options={"aac_coder": "fast"},
    ),
    Format(
        "flac",
        "audio/flac",
        codec="flac",
        container="flac",
        codec_options={"compression_level": "2"},
        container_options={"metadata_header_padding": "0"},
    ),
    Format("wav", "audio/wav", container="wav"),
    Format("pcm", "audio/pcm; rate={rate}; channels=1", OPENAI_PCM_RATE),
)
FORMATS: Mapping[str, Format] = {form.name: form for form in _ALL}

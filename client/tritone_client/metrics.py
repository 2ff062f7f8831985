"""How a stream felt to its listener."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

AUDIBLE_DBFS = -50.0  # a sample above this level counts as heard
# a packet this late is the clock's and the scheduler's doing, not a gap in the sound
_JITTER_S = 1e-3


@dataclass(frozen=True)
class Figures:
    """Base of what is measured."""

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON; times rounded to 0.1 ms."""
        return {key: _rounded(value) for key, value in asdict(self).items()}


@dataclass(frozen=True)
class StreamMetrics(Figures):
    """One utterance; seconds count from the moment the request was sent.

    first_packet_s: the first packet arrived; None when there was none.
    first_audible_s: playback that started with the first packet reaches the first sample above
        -50 dBFS; None when nothing is audible.
    total_s: the stream was complete.
    audio_s: length of the audio.
    rtf: total_s / audio_s; None without audio.
    packets: how many carried audio.
    gaps_s: times between the arrivals of neighbouring packets.
    underruns, underrun_s: how often and how long such playback ran dry.
    retries: how often it was asked for again.
    """

    first_packet_s: float | None
    first_audible_s: float | None
    total_s: float
    audio_s: float
    rtf: float | None
    packets: int
    gaps_s: tuple[float, ...]
    underruns: int
    underrun_s: float
    retries: int = 0


class StreamMeter:
    """Collects the metrics of one stream: create it when the request is sent, feed it packets."""

    def __init__(self, sample_rate: int, clock: Callable[[], float] = time.perf_counter) -> None:
        self._rate = sample_rate
        self._clock = clock
        self._start = clock()
        self._arrivals: list[float] = []
        self._samples = 0
        self._buffered_until = 0.0
        self._first_audible: float | None = None
        self._underruns = 0
        self._underrun_s = 0.0
        self._retries = 0

    def retry(self, error: object) -> None:
        """The utterance is asked for again because of this; `on_retry` of the clients."""
        self._retries += 1

    def packet(self, samples: NDArray[np.float32]) -> None:
        """Note a packet that has just arrived; one without samples says nothing and is ignored."""
        if samples.size == 0:
            return
        now = self._clock() - self._start
        if self._arrivals and now > self._buffered_until + _JITTER_S:
            self._underruns += 1
            self._underrun_s += now - self._buffered_until
        played_from = max(now, self._buffered_until)
        if self._first_audible is None:
            audible = np.flatnonzero(np.abs(samples) > 10 ** (AUDIBLE_DBFS / 20))
            if audible.size:
                self._first_audible = played_from + float(audible[0]) / self._rate
        self._arrivals.append(now)
        self._samples += samples.size
        self._buffered_until = played_from + samples.size / self._rate

    def finish(self) -> StreamMetrics:
        """The metrics, with now as the end of the stream."""
        total = self._clock() - self._start
        audio = self._samples / self._rate
        arrivals = self._arrivals
        return StreamMetrics(
            first_packet_s=arrivals[0] if arrivals else None,
            first_audible_s=self._first_audible,
            total_s=total,
            audio_s=audio,
            rtf=total / audio if audio else None,
            packets=len(arrivals),
            gaps_s=tuple(b - a for a, b in pairwise(arrivals)),
            underruns=self._underruns,
            underrun_s=self._underrun_s,
            retries=self._retries,
        )


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return [_rounded(item) for item in value]
    return round(value, 4) if isinstance(value, float) else value

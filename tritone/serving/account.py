"""The account of every request: its timing record in the metrics and as one line of the log."""

import json
import os
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timezone
from operator import attrgetter
from typing import Any, NamedTuple

from tritone.errors import Cancelled, InvalidRequest, Overloaded
from tritone.serving.log_text import LOGS_TEXT, loggable
from tritone.serving.metrics import Counter, Gauge, Histogram, flush
from tritone.synthesis.admission import DECISIONS
from tritone.synthesis.deadlines import STAGES, StageTurns
from tritone.synthesis.flaws import KINDS
from tritone.synthesis.timing import OUTCOMES, PARTS, Timing
from tritone.triton_models import INNER
from tritone.variables import RESTARTS_VARIABLE

_OUTCOMES: dict[type[Exception], str] = {
    Cancelled: "cancelled",
    InvalidRequest: "refused",
    Overloaded: "overloaded",
}
_STDOUT = 1  # of the server: a model's process inherits it

_SECONDS = (0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1, 1.5, 2, 3, 5, 10, 20, 60)
_PART_SECONDS = (0.001, 0.002, 0.005, 0.01, *_SECONDS)
_RATIOS = (0.02, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.8, 1, 1.25, 1.5, 2, 3, 5, 10)

_FORECASTS = (0.25, 0.5, 0.75, 0.9, 1, 1.1, 1.25, 1.5, 2, 3, 5)

# What grows with every packet, by where the timing of a stream has it.
_GROWING = {
    "playback.audio": ("tritone_audio_seconds_total", "Audio sent, in seconds"),
    "tokens": ("tritone_speech_tokens_total", "Speech tokens decoded"),
    "packets": ("tritone_packets_total", "Packets of audio sent"),
    "playback.underruns": ("tritone_underruns_total", "Times that playback ran dry"),
    "playback.dry": ("tritone_underrun_seconds_total", "Seconds that playback was dry"),
    "retries": ("tritone_retries_total", "Generations begun again"),
}

# What is observed once a request, by its name in the record.
_OF_REQUESTS = {
    "first_packet_s": ("tritone_first_packet_seconds", "Arrival to first packet", _SECONDS),
    "total_s": ("tritone_request_seconds", "Arrival to last packet", _SECONDS),
    "rtf": ("tritone_rtf", "Seconds of work for a second of audio", _RATIOS),
}


class SpeechMetrics:
    """What the timing records of all requests add up to, for Prometheus.

    turns: of the stages, whose queues are shown. streams, places and losses: for the model to set,
    which counts streams to limit them and watches the processes of other models.
    """

    def __init__(self, turns: StageTurns) -> None:
        self._turns = turns
        self._shown: dict[str, int] = {}
        self._showing = threading.Lock()
        self.streams = Gauge("tritone_streams", "Streams being spoken")
        self.places = Gauge("tritone_stream_places", "Streams that would be taken at a time")
        self._waiting = Gauge(
            "tritone_stage_waiting", "Streams waiting for their turn", stage=STAGES
        )
        self._requests = Counter("tritone_requests_total", "Requests that ended", outcome=OUTCOMES)
        ended = "Processes of models that ended and were started again"
        self.losses = Counter("tritone_model_losses_total", ended, model=INNER)
        self._restarts = Counter("tritone_restarts_total", "Starts of the server after the first")
        self._restarts.add(float(os.environ.get(RESTARTS_VARIABLE, "0")))
        self.admissions = Counter(
            "tritone_admissions_total", "What was decided of new streams", decision=DECISIONS
        )
        self.forecast = Histogram(
            "tritone_first_packet_forecast_ratio",
            "First packet as it was, over what was predicted",
            bounds=_FORECASTS,
        )
        hits = ("hit", "miss")
        self._flaws = Counter("tritone_flaws_total", "Flaws found in generated speech", kind=KINDS)
        self._voices = Counter("tritone_voice_cache_total", "Voices asked for", result=hits)
        self._growing = {path: Counter(*named) for path, named in _GROWING.items()}
        self._of_requests = {
            key: Histogram(name, description, bounds=bounds)
            for key, (name, description, bounds) in _OF_REQUESTS.items()
        }
        gaps, parts = "Between neighbouring packets", "Parts of a request's time"
        self._gaps = Histogram("tritone_packet_gap_seconds", gaps, bounds=_PART_SECONDS)
        self._parts = Histogram("tritone_part_seconds", parts, bounds=_PART_SECONDS, part=PARTS)

    def update(self, counted: dict[str, float], timing: Timing) -> None:
        """Count what is new of a stream. counted: what the growing counters have of it already, by
        path, and by kind of flaw; brought up to date."""
        for path, counter in self._growing.items():
            number = attrgetter(path)(timing)
            counter.add(number - counted.get(path, 0.0))
            counted[path] = number
        for kind, found in timing.flaws.items():
            self._flaws.add(found - counted.get(kind, 0), kind)
            counted[kind] = found
        self._show_queues()

    def ended(self, record: dict[str, Any], timing: Timing) -> None:
        """A stream ended, with this record of its `Account`.

        The request itself is counted last: a scrape that has it has all of it.
        """
        if timing.voice_cached is not None:
            self._voices.add(1, "hit" if timing.voice_cached else "miss")
        for name, histogram in self._of_requests.items():
            if record[name] is not None:
                histogram.observe(record[name])
        for gap in timing.playback.gaps:
            self._gaps.observe(gap)
        if record["outcome"] == "ok":
            for part, seconds in timing.parts().items():
                self._parts.observe(seconds, part)
        self._requests.add(1, record["outcome"])

    def close(self) -> None:
        families = [self.streams, self.losses, self._restarts, self._waiting, self._requests]
        families += [
            self.places,
            self.admissions,
            self.forecast,
            self._voices,
            self._gaps,
            self._flaws,
            self._parts,
        ]
        families += self._growing.values()
        families += self._of_requests.values()
        for family in families:
            family.close()

    def _show_queues(self) -> None:
        """Only what has changed: a message to the server for every packet would be many."""
        with self._showing:
            for stage in STAGES:
                waiting = getattr(self._turns, stage).waiting
                if waiting != self._shown.get(stage):
                    self._waiting.set(waiting, stage)
                    self._shown[stage] = waiting


class _Failure(NamedTuple):
    """What is told of an error. Not the error, which knows the frames of the stream's thread and so
    would keep all that they hold."""

    outcome: str
    said: str
    loggable: str

    @classmethod
    def of(cls, error: Exception) -> "_Failure":
        outcome = next(
            (name for kind, name in _OUTCOMES.items() if isinstance(error, kind)), "failed"
        )
        return cls(outcome, f"{type(error).__name__}: {error}", loggable(error))


class Account:
    """One request. id: the client's, once it is named, or one of our own where it sent none."""

    def __init__(self, timing: Timing, metrics: SpeechMetrics) -> None:
        self.id = secrets.token_hex(8)
        self.timing, self._metrics = timing, metrics
        self._counted: dict[str, float] = {}
        self._failure: _Failure | None = None
        self._open, self._closing = True, threading.Lock()

    def name(self, request_id: str) -> None:
        self.id = request_id or self.id

    def update(self) -> None:
        """Count what was sent since the last time."""
        self._metrics.update(self._counted, self.timing)

    @contextmanager
    def noting(self) -> Iterator[None]:
        """Note how the request ends, the first time; the exception goes on."""
        try:
            yield
        except Exception as error:
            self._failure = self._failure or _Failure.of(error)
            raise

    def record(self) -> dict[str, Any]:
        """The timing record, with the id, the outcome so far and the error if there is one."""
        failure = self._failure
        said = {"error": failure.said} if failure else {}
        outcome = failure.outcome if failure else "ok"
        return {"id": self.id, "outcome": outcome, **said, **self.timing.record()}

    def close(self) -> None:
        """The request has been answered: one line of JSON on the server's standard output, without
        what may quote the text, unless that is wanted. A second call does nothing.

        In one system call, so that lines of other processes do not get in between.
        """
        with self._closing:
            if not self._open:
                return
            self._open = False
        record = self.record()
        self.update()
        self._metrics.ended(record, self.timing)
        flush()  # what the log has, a scrape has too
        stamp = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
        line = {"event": "speech", "time": stamp, **record}
        if self._failure:
            line["error"] = self._failure.loggable
        if not LOGS_TEXT:
            line.pop("notes")
        with suppress(OSError):  # a log that is full costs no stream
            os.write(_STDOUT, (json.dumps(line) + "\n").encode())

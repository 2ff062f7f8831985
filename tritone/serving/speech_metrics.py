"""What the timing records of all requests add up to, for Prometheus."""

import threading
from typing import Any

from tritone.serving.metrics import Counter, Gauge, Histogram
from tritone.synthesis.deadlines import STAGES, StageTurns
from tritone.synthesis.timing import OUTCOMES, PARTS, Timing

_SECONDS = (0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1, 1.5, 2, 3, 5, 10, 20, 60)
_PART_SECONDS = (0.001, 0.002, 0.005, 0.01, *_SECONDS)
_RATIOS = (0.02, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.8, 1, 1.25, 1.5, 2, 3, 5, 10)


class SpeechMetrics:
    """Counters grow with every packet, histograms with every request that ended."""

    def __init__(self, turns: StageTurns) -> None:
        """turns: of the stages, whose queues are shown."""
        self._turns = turns
        self._shown: dict[str, int] = {}
        self._showing = threading.Lock()
        # for the model to set: it counts them to limit them
        self.streams = Gauge("tritone_streams", "Streams being spoken")
        self._waiting = Gauge(
            "tritone_stage_waiting", "Streams waiting for their turn", "stage", STAGES
        )
        self._requests = Counter(
            "tritone_requests_total", "Requests that ended", "outcome", OUTCOMES
        )
        self._voices = Counter(
            "tritone_voice_cache_total", "Voices asked for", "result", ("hit", "miss")
        )
        self._growing = {
            "audio": Counter("tritone_audio_seconds_total", "Audio sent, in seconds"),
            "tokens": Counter("tritone_speech_tokens_total", "Speech tokens decoded"),
            "packets": Counter("tritone_packets_total", "Packets of audio sent"),
            "underruns": Counter("tritone_underruns_total", "Times that playback ran dry"),
            "dry": Counter("tritone_underrun_seconds_total", "Seconds that playback was dry"),
            "retries": Counter("tritone_retries_total", "Generations begun again"),
        }
        self._of_requests = {
            "first_packet_s": Histogram(
                "tritone_first_packet_seconds", "Arrival to first packet", _SECONDS
            ),
            "total_s": Histogram("tritone_request_seconds", "Arrival to last packet", _SECONDS),
            "rtf": Histogram("tritone_rtf", "Seconds of work for a second of audio", _RATIOS),
        }
        self._gaps = Histogram(
            "tritone_packet_gap_seconds", "Between neighbouring packets", _PART_SECONDS
        )
        self._parts = Histogram(
            "tritone_part_seconds", "Parts of a request's time", _PART_SECONDS, "part", PARTS
        )

    def count(self) -> "StreamCount":
        """Of a new stream."""
        return StreamCount(self._growing)

    def packet(self, count: "StreamCount", timing: Timing) -> None:
        """A packet of that stream was sent."""
        count.update(timing)
        self._show_queues()

    def ended(self, count: "StreamCount", timing: Timing, record: dict[str, Any]) -> None:
        """That stream ended, with this record of its `Account`."""
        count.update(timing)
        self._show_queues()
        self._requests.add(1, record["outcome"])
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

    def close(self) -> None:
        families = [self.streams, self._waiting, self._requests, self._voices, self._gaps]
        families += [self._parts, *self._growing.values(), *self._of_requests.values()]
        for family in families:
            family.close()

    def _show_queues(self) -> None:
        """Only what has changed: a message to the server for every packet would be many."""
        with self._showing:
            waiting = {stage: getattr(self._turns, stage).waiting for stage in STAGES}
            for stage in STAGES:
                if waiting[stage] != self._shown.get(stage):
                    self._waiting.set(waiting[stage], stage)
            self._shown = waiting


class StreamCount:
    """What of one stream the growing counters have already."""

    def __init__(self, counters: dict[str, Counter]) -> None:
        self._counters = counters
        self._counted = dict.fromkeys(counters, 0.0)

    def update(self, timing: Timing) -> None:
        played = timing.playback
        now = {
            "audio": played.audio,
            "tokens": timing.tokens,
            "packets": timing.packets,
            "underruns": played.underruns,
            "dry": played.dry,
            "retries": timing.retries,
        }
        for name, number in now.items():
            self._counters[name].add(number - self._counted[name])
        self._counted = now

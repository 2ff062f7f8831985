"""What the metrics say: now, within the window, and since the server started."""

from collections.abc import Mapping
from dataclasses import dataclass

from tritone.diagnostics.monitor.scrape import Histogram, Scrape, Window
from tritone.synthesis.deadlines import STAGES
from tritone.synthesis.timing import OUTCOMES, PARTS

_NOW = ("streams", "stream_places", "llm_generations", "flow_sequences")
_VOICES = "tritone_voice_cache_total"
_COUNTED = {
    "audio_s": "tritone_audio_seconds_total",
    "tokens": "tritone_speech_tokens_total",
    "packets": "tritone_packets_total",
    "underruns": "tritone_underruns_total",
    "underrun_s": "tritone_underrun_seconds_total",
    "retries": "tritone_retries_total",
}
_MEASURED = {
    "first_packet_s": "tritone_first_packet_seconds",
    "packet_gap_s": "tritone_packet_gap_seconds",
    "total_s": "tritone_request_seconds",
    "rtf": "tritone_rtf",
}


@dataclass(frozen=True)
class Device:
    """A processor. utilization: 0 to 1. None: the server does not say."""

    utilization: float | None
    memory_used_bytes: float | None
    memory_total_bytes: float | None


@dataclass(frozen=True)
class Amount:
    """Something counted: since the server started, within the window, and per second of that."""

    total: float | None
    window: float | None
    per_s: float | None


@dataclass(frozen=True)
class Quantiles:
    """Estimated from a histogram."""

    p50: float | None = None
    p95: float | None = None


@dataclass(frozen=True)
class Spread:
    """Quantiles of a measurement within the window and since the server started.

    limit: the histogram's highest bound; a quantile that equals it may be anything above.
    """

    window: Quantiles
    start: Quantiles
    limit: float | None


@dataclass(frozen=True)
class Share:
    """What a part takes of all parts' time, 0 to 1, within the window and since the start."""

    window: float | None
    start: float | None


@dataclass(frozen=True)
class Figures:
    """One view of the metrics; None wherever the server does not say, or not yet.

    window_s: how long the window is by now. gpus: by their UUID. waiting: streams by the stage
    whose turn they wait for. requests: by outcome. counted, measured: by name, with the unit.
    """

    window_s: float | None
    cpu: Device
    gpus: dict[str, Device]
    now: dict[str, float | None]
    waiting: dict[str, float | None]
    requests: dict[str, Amount]
    counted: dict[str, Amount]
    voice_cache: dict[str, Amount]
    measured: dict[str, Spread]
    parts: dict[str, Share]


def figures(window: Window) -> Figures:
    """All of them, from a window that has at least one scrape."""
    scrape = window.newest
    return Figures(
        window_s=window.span_s,
        cpu=_device(scrape, "cpu"),
        gpus={  # Triton labels each with gpu_uuid
            uuid: _device(scrape, "gpu", gpu_uuid=uuid)
            for uuid in scrape.label_values("nv_gpu_memory_total_bytes", "gpu_uuid")
        },
        now={name: scrape.value(f"tritone_{name}") for name in _NOW},
        waiting={stage: scrape.value("tritone_stage_waiting", stage=stage) for stage in STAGES},
        requests={o: _amount(window, "tritone_requests_total", outcome=o) for o in OUTCOMES},
        counted={name: _amount(window, metric) for name, metric in _COUNTED.items()},
        voice_cache={found: _amount(window, _VOICES, result=found) for found in ("hit", "miss")},
        measured={name: _spread(window, metric) for name, metric in _MEASURED.items()},
        parts=_parts(window),
    )


def _device(scrape: Scrape, kind: str, **labels: str) -> Device:
    names = ("utilization", "memory_used_bytes", "memory_total_bytes")
    return Device(*(scrape.value(f"nv_{kind}_{name}", **labels) for name in names))


def _amount(window: Window, counter: str, **labels: str) -> Amount:
    return Amount(
        window.newest.value(counter, **labels),
        window.increase(counter, **labels),
        window.rate(counter, **labels),
    )


def _spread(window: Window, name: str) -> Spread:
    start = window.newest.histogram(name)
    limit = start.bounds[-1] if start and start.bounds else None
    return Spread(_quantiles(window.histogram(name)), _quantiles(start), limit)


def _quantiles(histogram: Histogram | None) -> Quantiles:
    if histogram is None:
        return Quantiles()
    return Quantiles(histogram.quantile(0.5), histogram.quantile(0.95))


def _parts(window: Window) -> dict[str, Share]:
    name = "tritone_part_seconds_sum"
    recent = {part: window.increase(name, part=part) for part in PARTS}
    start = {part: window.newest.value(name, part=part) for part in PARTS}
    return {part: Share(_share(part, recent), _share(part, start)) for part in PARTS}


def _share(part: str, seconds: Mapping[str, float | None]) -> float | None:
    """A part's share of the sum, None where no time was measured at all."""
    own, everything = seconds[part], sum(filter(None, seconds.values()))
    return own / everything if own is not None and everything > 0 else None

"""From the requests of a load level to its figures; what they mean: see client/bench.py."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tritone_client.load import Level
from tritone_client.metrics import Figures


@dataclass(frozen=True)
class Spread:
    """Mean, percentiles (linear between neighbours) and extremes."""

    avg: float
    p50: float
    p90: float
    p95: float
    p99: float
    min: float
    max: float


@dataclass(frozen=True)
class Summary(Figures):
    """One level. Times in seconds; a spread is None where no request has such a value."""

    kind: str
    value: float
    requests: int
    completed: int
    errors: dict[str, int]
    first_error: str | None
    wall_s: float
    audio_s: float
    rtf: float | None
    throughput: float
    real_time_streams: int
    underruns: int
    underrun_s: float
    retries: int
    most_in_flight: int
    most_late_s: float
    first_packet_s: Spread | None
    first_audible_s: Spread | None
    total_s: Spread | None
    request_rtf: Spread | None
    gaps_s: Spread | None


def spread(values: Sequence[float | None]) -> Spread | None:
    """Of the values that are there."""
    found = [value for value in values if value is not None]
    if not found:
        return None
    points = np.percentile(found, (50, 90, 95, 99, 0, 100)).tolist()
    return Spread(float(np.mean(found)), *points)


def summarize(level: Level) -> Summary:
    """The figures of what has ended so far."""
    samples = level.samples
    failed = [sample.error for sample in samples if sample.error is not None]
    good = [sample.metrics for sample in samples if sample.error is None]
    wall = max((sample.end_s for sample in samples), default=0.0)
    audio = sum(metrics.audio_s for metrics in good)
    return Summary(
        kind=level.kind,
        value=level.value,
        requests=len(samples),
        completed=len(good),
        errors=dict(Counter(error.status for error in failed)),
        first_error=str(failed[0]) if failed else None,
        wall_s=wall,
        audio_s=audio,
        rtf=wall / audio if audio else None,
        throughput=audio / wall if wall else 0.0,
        real_time_streams=sum(metrics.underruns == 0 for metrics in good),
        underruns=sum(metrics.underruns for metrics in good),
        underrun_s=sum(metrics.underrun_s for metrics in good),
        retries=sum(sample.metrics.retries for sample in samples),
        most_in_flight=level.most_in_flight,
        most_late_s=max((sample.late_s for sample in samples), default=0.0),
        first_packet_s=spread([metrics.first_packet_s for metrics in good]),
        first_audible_s=spread([metrics.first_audible_s for metrics in good]),
        total_s=spread([metrics.total_s for metrics in good]),
        request_rtf=spread([metrics.rtf for metrics in good]),
        gaps_s=spread([gap for metrics in good for gap in metrics.gaps_s]),
    )


def table(summaries: Sequence[Summary]) -> str:
    """A Markdown table, one line a level, its columns aligned."""
    head = (
        *("load", "good", "first packet p50/p90/p99 ms", "audible p50/p99 ms"),
        *("total p50/p99 s", "gap p50/p99 ms", "RTF", "audio s/s", "underruns", "real time"),
    )
    rows = [head, *(_row(summary) for summary in summaries)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in rows
    ]
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([lines[0], rule, *lines[1:]])


def _row(s: Summary) -> tuple[str, ...]:
    unit = "at once" if s.kind == "concurrency" else "a second"
    return (
        f"{s.value:g} {unit}",
        f"{s.completed}/{s.requests}",
        _points(s.first_packet_s, ("p50", "p90", "p99"), 1000, 0),
        _points(s.first_audible_s, ("p50", "p99"), 1000, 0),
        _points(s.total_s, ("p50", "p99"), 1, 2),
        _points(s.gaps_s, ("p50", "p99"), 1000, 0),
        "-" if s.rtf is None else f"{s.rtf:.3f}",
        f"{s.throughput:.2f}",
        f"{s.underruns} ({s.underrun_s:.2f} s)",
        f"{s.real_time_streams}/{s.completed}",
    )


def _points(values: Spread | None, names: Sequence[str], scale: float, digits: int) -> str:
    if values is None:
        return "-"
    return "/".join(f"{scale * getattr(values, name):.{digits}f}" for name in names)


def plot(levels: Sequence[Level], summaries: Sequence[Summary], path: Path) -> None:
    """Draw a file whose format follows from its suffix. Levels and summaries correspond."""
    from matplotlib.figure import Figure  # an extra, needed for nothing else

    figure = Figure(figsize=(13, 4), layout="constrained")
    waits, against, rates = figure.subplots(1, 3)
    load = "streams at once" if summaries[0].kind == "concurrency" else "arrivals a second"
    _first_audible(waits, levels)
    _first_packet(against, summaries, load)
    _throughput(rates, summaries, load)
    figure.savefig(path, dpi=120)


def _first_audible(axes: Any, levels: Sequence[Level]) -> None:
    """Of each level, the share of requests that are heard within a time."""
    for level in levels:
        metrics = [sample.metrics for sample in level.samples if sample.error is None]
        heard = [m.first_audible_s for m in metrics if m.first_audible_s is not None]
        if heard:
            axes.ecdf(heard, label=f"{level.value:g}")
    axes.set(xlabel="first audible sample within, s", ylabel="share of requests")
    axes.set_xlim(left=0)
    if axes.lines:
        axes.legend(title=levels[0].kind)


def _first_packet(axes: Any, summaries: Sequence[Summary], load: str) -> None:
    with_audio = [s for s in summaries if s.first_packet_s is not None]
    for point in ("p50", "p95", "p99"):
        values = [getattr(s.first_packet_s, point) for s in with_audio]
        axes.plot([s.value for s in with_audio], values, marker="o", label=point)
    axes.set(xlabel=load, xticks=[s.value for s in summaries])
    axes.set(ylabel="first packet, s", ylim=(0, None))
    axes.legend()


def _throughput(axes: Any, summaries: Sequence[Summary], load: str) -> None:
    loads = [s.value for s in summaries]
    axes.plot(loads, [s.throughput for s in summaries], marker="o", label="audio s/s")
    axes.set(xlabel=load, xticks=loads, ylabel="seconds of audio in a second", ylim=(0, None))
    shares = axes.twinx()
    good = [100 * s.real_time_streams / s.completed if s.completed else 0 for s in summaries]
    shares.plot(loads, good, "s--", color="tab:gray", label="in real time")
    shares.set(ylabel="streams without underrun, %", ylim=(0, 105))
    lines = [*axes.get_lines(), *shares.get_lines()]
    axes.legend(lines, [line.get_label() for line in lines])

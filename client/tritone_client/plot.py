"""A picture of a benchmark; the one module of the client that needs matplotlib."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from tritone_client.load import Level
from tritone_client.summary import Summary


def plot(levels: Sequence[Level], summaries: Sequence[Summary], path: Path) -> None:
    """Draw a file whose format follows from its suffix. Levels and summaries correspond."""
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

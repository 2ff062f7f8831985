"""A snapshot as one screen of text, within 80 columns where names allow it."""

import textwrap
from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import zip_longest

from tritone.diagnostics.monitor.figures import Amount, Device, Figures, Quantiles, Spread
from tritone.diagnostics.monitor.observer import Model, Snapshot
from tritone.diagnostics.monitor.speech_log import SpeechError
from tritone.diagnostics.monitor.text import (
    UNKNOWN,
    clock,
    duration,
    gib,
    number,
    percent,
    printable,
    three_digits,
)

ALERT = "! "
"""What lines begin with that tell of something wrong."""

_WIDTH = 80
_HEAD = 16  # columns of a row's name
_COLUMN = 12
_NO_BREAK = "\N{NO-BREAK SPACE}"


def screen(snapshot: Snapshot) -> list[str]:
    """Its lines, without control characters; what is not known is "-"."""
    parts = (_head(snapshot), _models(snapshot), _metrics(snapshot.figures), _errors(snapshot))
    return [line.rstrip() for part in parts for line in part]


def _head(snapshot: Snapshot) -> Iterator[str]:
    said = {None: UNKNOWN, True: "yes", False: "no"}
    yield (
        f"Tritone at {snapshot.server}   live {said[snapshot.live]}   "
        f"ready {said[snapshot.ready]}   up {duration(snapshot.uptime_s)}   {clock(snapshot.time)}"
    )
    if snapshot.away_since:
        away_s = (snapshot.time - snapshot.away_since).total_seconds()
        yield (
            f"{ALERT}nothing answers since {clock(snapshot.away_since)} ({duration(away_s)}); "
            "trying on"
        )
    for problem in snapshot.problems:
        yield ALERT + printable(problem)
    if snapshot.figures:
        yield from _devices(snapshot.figures)


def _devices(figures: Figures) -> Iterator[str]:
    devices = {"CPU": figures.cpu} | {f"GPU {printable(u)}": d for u, d in figures.gpus.items()}
    for name, device in devices.items():
        yield f"{name:<{_HEAD - 1}} {percent(device.utilization):>6}   memory {_memory(device)}"


def _memory(device: Device) -> str:
    return f"{gib(device.memory_used_bytes)} of {gib(device.memory_total_bytes)} GiB"


def _models(snapshot: Snapshot) -> Iterator[str]:
    words = [_model(name, model) for name, model in snapshot.models.items()]
    if snapshot.server_process:
        words.append(f"the server itself {gib(snapshot.server_process.pss_bytes)} GiB")
    # what is said of one model stays on one line
    unbroken = ", ".join(word.replace(" ", _NO_BREAK) for word in words) or UNKNOWN
    lines = textwrap.wrap(unbroken, _WIDTH - _HEAD, break_on_hyphens=False)
    for head, line in zip_longest(["models"], lines, fillvalue=""):
        yield f"{head:<{_HEAD}}{line.replace(_NO_BREAK, ' ')}"


def _model(name: str, model: Model) -> str:
    words = [printable(name), printable(model.state)]
    if model.processes:
        several = f"{model.processes.count} processes " if model.processes.count > 1 else ""
        words.append(f"{several}{gib(model.processes.pss_bytes)} GiB")
    return " ".join(words)


def _metrics(figures: Figures | None) -> Iterator[str]:
    if figures is None:
        return
    now, waiting = figures.now, figures.waiting
    yield (
        f"{'now':<{_HEAD}}streams {number(now['streams'])}, "
        f"LLM generations {number(now['llm_generations'])}, "
        f"flow sequences {number(now['flow_sequences'])}"
    )
    stages = ", ".join(f"{stage} {number(count)}" for stage, count in waiting.items())
    yield f"{'waiting for':<{_HEAD}}{stages}"
    recent = f"last {duration(figures.window_s)}"
    yield from _amounts("requests", figures.requests, recent)
    spoken = {"audio s": "audio_s", "tokens": "tokens", "packets": "packets"}
    yield from _amounts("spoken", {n: figures.counted[key] for n, key in spoken.items()}, recent)
    yield from _spreads(figures.measured, recent)
    yield from _playback(figures, recent)
    yield from _parts(figures, recent)


def _amounts(title: str, amounts: dict[str, Amount], recent: str) -> Iterator[str]:
    yield ""
    yield _row(title, list(amounts))
    yield _row(f"  /s {recent}", [number(amount.per_s) for amount in amounts.values()])
    yield _row("  since start", [number(amount.total) for amount in amounts.values()])


def _spreads(measured: dict[str, Spread], recent: str) -> Iterator[str]:
    names = {
        "first_packet_s": "first packet s",
        "packet_gap_s": "packet gap s",
        "total_s": "total s",
        "rtf": "RTF",
    }
    yield ""
    yield _row("", [recent, "since start"], (2 * _COLUMN,) * 2)
    yield _row("", ["p50", "p95", "p50", "p95"])
    for key, name in names.items():
        spread = measured[key]
        both = (spread.window, spread.start)
        yield _row(name, [text for part in both for text in _quantiles(part, spread.limit)])


def _quantiles(quantiles: Quantiles, limit: float | None) -> list[str]:
    """A quantile at the histogram's highest bound may be anything above."""
    values = (quantiles.p50, quantiles.p95)
    return [f"{'>' if value and value == limit else ''}{three_digits(value)}" for value in values]


def _playback(figures: Figures, recent: str) -> Iterator[str]:
    counted, cache = figures.counted, figures.voice_cache
    shown = {
        "underruns": counted["underruns"],
        "dry s": counted["underrun_s"],
        "retries": counted["retries"],
        "voice hits": cache["hit"],
        "misses": cache["miss"],
    }
    yield ""
    yield _row("playback", list(shown))
    yield _row(f"  {recent}", [number(amount.window) for amount in shown.values()])
    yield _row("  since start", [number(amount.total) for amount in shown.values()])


def _parts(figures: Figures, recent: str) -> Iterator[str]:
    parts = figures.parts
    yield ""
    names = [name.replace("_", " ").replace("first", "1st") for name in parts]
    widths = [max(7, len(name) + 1) for name in names]
    yield _row("parts of time", names, widths)
    yield _row(f"  {recent}", [percent(share.window) for share in parts.values()], widths)
    yield _row("  since start", [percent(share.start) for share in parts.values()], widths)


def _errors(snapshot: Snapshot) -> Iterator[str]:
    yield ""
    yield "last errors" if snapshot.errors else "last errors     -"
    if snapshot.no_log:
        yield f"  {printable(snapshot.no_log)}"
    for error in reversed(snapshot.errors):
        outcome, name, text = map(printable, (error.outcome, error.id, error.error))
        yield f"  {_when(error)}  {outcome:<10}  {name}  {text}"


def _when(error: SpeechError) -> str:
    try:
        return clock(datetime.fromisoformat(error.time.replace("Z", "+00:00")))
    except ValueError:
        return UNKNOWN


def _row(head: str, cells: Sequence[str], widths: Sequence[int] = (_COLUMN,) * 5) -> str:
    return f"{head:<{_HEAD}}" + "".join(
        f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=False)
    )

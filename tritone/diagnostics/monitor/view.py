"""A snapshot as one screen, within 80 columns where names allow it."""

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import zip_longest

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

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


@dataclass(frozen=True)
class Fitted:
    """As much as fits: long lines are cut, and empty ones are there only where all lines fit."""

    content: RenderableType

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        wide = options.update_width(max(_WIDTH, options.max_width)).reset_height()
        lines = console.render_lines(self.content, wide, pad=False)
        if options.height is not None and len(lines) > options.height:
            lines = [line for line in lines if any(part.text.strip() for part in line)]
        for line in lines:
            yield from Segment.adjust_line_length(line, options.max_width, pad=False)
            yield Segment.line()


def screen(snapshot: Snapshot) -> Fitted:
    """Without control characters; what is not known is "-"."""
    lines = (*_head(snapshot), *_models(snapshot))
    return Fitted(Group(*lines, *_metrics(snapshot.figures), *_errors(snapshot)))


def _line(text: str, style: str = "") -> Text:
    return Text(text, style, no_wrap=True, overflow="crop")


def _alert(text: str) -> Text:
    return _line(ALERT + text, "red")


def _head(snapshot: Snapshot) -> Iterator[Text]:
    said = {None: UNKNOWN, True: "yes", False: "no"}
    yield _line(
        f"Tritone at {snapshot.server}   live {said[snapshot.live]}   "
        f"ready {said[snapshot.ready]}   up {duration(snapshot.uptime_s)}   {clock(snapshot.time)}",
        "bold",
    )
    if snapshot.away_since:
        away_s = (snapshot.time - snapshot.away_since).total_seconds()
        since = f"{clock(snapshot.away_since)} ({duration(away_s)})"
        yield _alert(f"nothing answers since {since}; trying on")
    for problem in snapshot.problems:
        yield _alert(printable(problem))
    if snapshot.figures:
        yield from _devices(snapshot.figures)


def _devices(figures: Figures) -> Iterator[Text]:
    devices = {"CPU": figures.cpu} | {f"GPU {printable(u)}": d for u, d in figures.gpus.items()}
    for name, device in devices.items():
        used = percent(device.utilization)
        yield _line(f"{name:<{_HEAD - 1}} {used:>6}   memory {_memory(device)}")


def _memory(device: Device) -> str:
    return f"{gib(device.memory_used_bytes)} of {gib(device.memory_total_bytes)} GiB"


def _models(snapshot: Snapshot) -> Iterator[Text]:
    words = [_model(name, model) for name, model in snapshot.models.items()]
    if snapshot.server_process:
        words.append(f"the server itself {gib(snapshot.server_process.pss_bytes)} GiB")
    # what is said of one model stays on one line
    unbroken = ", ".join(word.replace(" ", _NO_BREAK) for word in words) or UNKNOWN
    lines = textwrap.wrap(unbroken, _WIDTH - _HEAD, break_on_hyphens=False)
    for head, line in zip_longest(["models"], lines, fillvalue=""):
        yield _line(f"{head:<{_HEAD}}{line.replace(_NO_BREAK, ' ')}")


def _model(name: str, model: Model) -> str:
    words = [printable(name), printable(model.state)]
    if model.processes:
        several = f"{model.processes.count} processes " if model.processes.count > 1 else ""
        words.append(f"{several}{gib(model.processes.pss_bytes)} GiB")
    return " ".join(words)


def _metrics(figures: Figures | None) -> Iterator[RenderableType]:
    if figures is None:
        return
    now, waiting = figures.now, figures.waiting
    yield _line(
        f"{'now':<{_HEAD}}streams {number(now['streams'])}, "
        f"LLM generations {number(now['llm_generations'])}, "
        f"flow sequences {number(now['flow_sequences'])}"
    )
    stages = ", ".join(f"{stage} {number(count)}" for stage, count in waiting.items())
    yield _line(f"{'waiting for':<{_HEAD}}{stages}")
    recent = f"last {duration(figures.window_s)}"
    yield from _amounts("requests", figures.requests, recent)
    spoken = {"audio s": "audio_s", "tokens": "tokens", "packets": "packets"}
    yield from _amounts("spoken", {n: figures.counted[key] for n, key in spoken.items()}, recent)
    yield from _spreads(figures.measured, recent)
    yield from _playback(figures, recent)
    yield from _parts(figures, recent)


def _table(*rows: Sequence[str], widths: Sequence[int] = ()) -> Table:
    """Rows of a head and cells that stand right in their columns, below an empty line."""
    table = Table.grid()
    table.add_column(width=_HEAD, no_wrap=True)
    for width in widths or (_COLUMN,) * (len(rows[0]) - 1):
        table.add_column(width=width, no_wrap=True, justify="right")
    table.add_row("")
    for row in rows:
        table.add_row(*row)
    return table


def _amounts(title: str, amounts: dict[str, Amount], recent: str) -> Iterator[Table]:
    yield _table(
        [title, *amounts],
        [f"  /s {recent}", *(number(amount.per_s) for amount in amounts.values())],
        ["  since start", *(number(amount.total) for amount in amounts.values())],
    )


def _spreads(measured: dict[str, Spread], recent: str) -> Iterator[RenderableType]:
    names = {
        "first_packet_s": "first packet s",
        "packet_gap_s": "packet gap s",
        "total_s": "total s",
        "rtf": "RTF",
    }
    yield _line("")
    yield _line(f"{'':<{_HEAD}}{recent:>{2 * _COLUMN}}{'since start':>{2 * _COLUMN}}")
    table = _table(["", "p50", "p95", "p50", "p95"])
    for key, name in names.items():
        spread = measured[key]
        both = (spread.window, spread.start)
        table.add_row(name, *(text for part in both for text in _quantiles(part, spread.limit)))
    yield table


def _quantiles(quantiles: Quantiles, limit: float | None) -> list[str]:
    """A quantile at the histogram's highest bound may be anything above."""
    values = (quantiles.p50, quantiles.p95)
    return [f"{'>' if value and value == limit else ''}{three_digits(value)}" for value in values]


def _playback(figures: Figures, recent: str) -> Iterator[Table]:
    counted, cache = figures.counted, figures.voice_cache
    shown = {
        "underruns": counted["underruns"],
        "dry s": counted["underrun_s"],
        "retries": counted["retries"],
        "voice hits": cache["hit"],
        "misses": cache["miss"],
    }
    yield _table(
        ["playback", *shown],
        [f"  {recent}", *(number(amount.window) for amount in shown.values())],
        ["  since start", *(number(amount.total) for amount in shown.values())],
    )


def _parts(figures: Figures, recent: str) -> Iterator[Table]:
    parts = figures.parts
    names = [name.replace("_", " ").replace("first", "1st") for name in parts]
    yield _table(
        ["parts of time", *names],
        [f"  {recent}", *(percent(share.window) for share in parts.values())],
        ["  since start", *(percent(share.start) for share in parts.values())],
        widths=[max(7, len(name) + 1) for name in names],
    )


def _errors(snapshot: Snapshot) -> Iterator[Text]:
    yield _line("")
    yield _line("last errors" if snapshot.errors else "last errors     -")
    if snapshot.no_log:
        yield _line(f"  {printable(snapshot.no_log)}")
    for error in reversed(snapshot.errors):
        outcome, name, text = map(printable, (error.outcome, error.id, error.error))
        yield _line(f"  {_when(error)}  {outcome:<10}  {name}  {text}")


def _when(error: SpeechError) -> str:
    try:
        return clock(datetime.fromisoformat(error.time.replace("Z", "+00:00")))
    except ValueError:
        return UNKNOWN

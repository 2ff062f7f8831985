"""A snapshot as one screen, within 80 columns where names allow it."""

import math
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import zip_longest

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from tritone.diagnostics.monitor.figures import Figures, Spread
from tritone.diagnostics.monitor.observer import Model, Snapshot, SpeechError

ALERT = "! "  # before what is wrong
_SPOKEN = {"audio s": "audio_s", "tokens": "tokens", "packets": "packets"}
_PLAYED = {"underruns": "underruns", "dry s": "underrun_s", "retries": "retries"}
_MEASURED = {
    "first packet s": "first_packet_s",
    "packet gap s": "packet_gap_s",
    "total s": "total_s",
    "RTF": "rtf",
}

_WIDTH = 80
_HEAD = 16  # columns of a row's name
_COLUMN = 12
UNKNOWN = "-"
_NO_BREAK = "\N{NO-BREAK SPACE}"


def number(value: float | None) -> str:
    """Whole numbers as they are, others with three digits."""
    whole = value is not None and value == int(value)
    return f"{value:.0f}" if whole else three_digits(value)


def three_digits(value: float | None) -> str:
    """Of a measurement, which is no whole number but by chance."""
    if value is None:
        return UNKNOWN
    magnitude = math.floor(math.log10(abs(value))) if value else 0
    return f"{value:.{max(0, 2 - magnitude)}f}"


def percent(share: float | None) -> str:
    """share: 0 to 1."""
    return UNKNOWN if share is None else f"{100 * share:.0f} %"


def gib(count: float | None) -> str:
    """count: bytes."""
    return UNKNOWN if count is None else f"{count / 2**30:.2f}"


def duration(seconds: float | None) -> str:
    """Two units at most: 45 s, 12 min, 3 h 5 min, 2 d 4 h."""
    if seconds is None:
        return UNKNOWN
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = int(seconds // 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours < 24 else f"{hours // 24} d {hours % 24} h"


def clock(moment: datetime) -> str:
    """Of this machine's time zone."""
    return moment.astimezone().strftime("%H:%M:%S")


def printable(text: str) -> str:
    """Without what could move the cursor: a message may hold what a stranger has sent."""
    return "".join(c if c.isprintable() else "?" for c in " ".join(text.split()))


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


def _head(snapshot: Snapshot) -> Iterator[Text]:
    said = {None: UNKNOWN, True: "yes", False: "no"}
    yield _line(
        f"Tritone at {snapshot.server}   live {said[snapshot.live]}   "
        f"ready {said[snapshot.ready]}   up {duration(snapshot.uptime_s)}   {clock(snapshot.time)}",
        "bold",
    )
    alerts = list(map(printable, snapshot.problems))
    if snapshot.away_since:
        away_s = (snapshot.time - snapshot.away_since).total_seconds()
        since = f"{clock(snapshot.away_since)} ({duration(away_s)})"
        alerts.insert(0, f"nothing answers since {since}; trying on")
    for alert in alerts:
        yield _line(ALERT + alert, "red")
    if figures := snapshot.figures:
        devices = {"CPU": figures.cpu} | {f"GPU {printable(u)}": d for u, d in figures.gpus.items()}
        for name, device in devices.items():
            memory = f"{gib(device.memory_used_bytes)} of {gib(device.memory_total_bytes)} GiB"
            yield _line(f"{name:<{_HEAD - 1}} {percent(device.utilization):>6}   memory {memory}")


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
    names = {"stream_places": "places", "llm_generations": "LLM generations"}
    now = {names.get(name, name.replace("_", " ")): n for name, n in figures.now.items()}
    for head, counts in {"now": now, "waiting for": figures.waiting}.items():
        shown = ", ".join(f"{name} {number(count)}" for name, count in counts.items())
        yield _line(f"{head:<{_HEAD}}{shown}")
    recent = f"last {duration(figures.window_s)}"
    counted, cache = figures.counted, figures.voice_cache
    spoken = {name: counted[key] for name, key in _SPOKEN.items()}
    for title, amounts in {"requests": figures.requests, "spoken": spoken}.items():
        rates = {name: (amount.per_s, amount.total) for name, amount in amounts.items()}
        yield _pairs(title, f"/s {recent}", rates)
    yield from _spreads(figures.measured, recent)
    played = {name: counted[key] for name, key in _PLAYED.items()}
    played |= {"voice hits": cache["hit"], "misses": cache["miss"]}
    yield _pairs("playback", recent, {n: (a.window, a.total) for n, a in played.items()})
    parts = {
        name.replace("_", " ").replace("first", "1st"): (share.window, share.start)
        for name, share in figures.parts.items()
    }
    yield _pairs("parts of time", recent, parts, percent, [max(7, len(name) + 1) for name in parts])


def _pairs(
    title: str,
    recent: str,
    pairs: Mapping[str, tuple[float | None, float | None]],
    form: Callable[[float | None], str] = number,
    widths: Sequence[int] = (),
) -> Table:
    """A column for each name: its value of late, and since the start."""
    late, start = (list(map(form, values)) for values in zip(*pairs.values(), strict=True))
    rows = ([title, *pairs], [f"  {recent}", *late], ["  since start", *start])
    return _table(*rows, widths=widths)


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


def _spreads(measured: dict[str, Spread], recent: str) -> Iterator[RenderableType]:
    yield _line("")
    yield _line(f"{'':<{_HEAD}}{recent:>{2 * _COLUMN}}{'since start':>{2 * _COLUMN}}")
    table = _table(["", "p50", "p95", "p50", "p95"])
    for name, key in _MEASURED.items():
        spread = measured[key]
        values = (spread.window.p50, spread.window.p95, spread.start.p50, spread.start.p95)
        table.add_row(name, *(_quantile(value, spread.limit) for value in values))
    yield table


def _quantile(value: float | None, limit: float | None) -> str:
    """One at the histogram's highest bound may be anything above."""
    return f"{'>' if value and value == limit else ''}{three_digits(value)}"


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

"""From the rows of single sentences to one line for each subject, voice and list."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from statistics import fmean
from typing import Any

import numpy as np

from evaluation.judges import Row
from evaluation.lengths import runaways
from evaluation.recognizer import NAME
from evaluation.words import pool


@dataclass(frozen=True)
class Spread:
    """Median and 95th percentile."""

    median: float
    p95: float


@dataclass(frozen=True)
class Summary:
    """What a subject does with one voice on one list.

    lufs: mean loudness. overall, signal, background: means of DNSMOS P.835. similarity: mean cosine
    with the voice's own
    reference; nearest: share of sentences nearer to it than to any other; None without reference,
    and nearest also without a second one. empty, runaway, cut, failed: sentences.
    click, level: mean rank of the seams, 0.5 when they are like any other place.
    """

    subject: str
    voice: str | None
    list_name: str
    sentences: int
    wer: float
    wer_interval: tuple[float, float]
    cer: float
    lufs: float | None
    overall: float | None
    signal: float | None
    background: float | None
    similarity: float | None
    nearest: float | None
    empty: int
    runaway: int
    cut: int
    failed: int
    click: float | None
    level: float | None
    seams: int
    rtf: Spread | None
    first_packet_s: Spread | None


def summarize(rows: Sequence[Row]) -> list[Summary]:
    """One summary for each subject, voice and list, in the order of the rows.

    What is too long is told by the median of everything that a subject said with one voice.
    """
    long = _runaway_keys(rows)
    return [
        _summary([*group], {row.key for row in long if _place(row)[:2] == place[:2]})
        for place, group in groupby(rows, key=_place)
    ]


def report(rows: Sequence[Row]) -> dict[str, Any]:
    """Everything as plain values, for JSON."""
    long = {id(row) for row in _runaway_keys(rows)}
    return {
        "recognizer": NAME,
        "summaries": [asdict(summary) for summary in summarize(rows)],
        "rows": [{**asdict(row), "runaway": id(row) in long} for row in rows],
    }


def markdown(summaries: Iterable[Summary]) -> str:
    """A table; — is what does not apply."""
    columns: dict[str, Callable[[Summary], str]] = {
        "speech": lambda s: s.subject,
        "voice": lambda s: s.voice or "—",
        "list": lambda s: s.list_name,
        "n": lambda s: str(s.sentences),
        "WER [95 %]": lambda s: f"{s.wer:.3f} [{s.wer_interval[0]:.3f}, {s.wer_interval[1]:.3f}]",
        "CER": lambda s: f"{s.cer:.3f}",
        "DNSMOS OVRL / SIG / BAK": lambda s: _joined(s.overall, s.signal, s.background),
        "LUFS": lambda s: "—" if s.lufs is None else f"{s.lufs:.1f}",
        "own voice": lambda s: _joined(s.similarity),
        "nearest": lambda s: "—" if s.nearest is None else f"{s.nearest:.0%}",
        "empty / runaway / cut / failed": lambda s: " / ".join(
            map(str, (s.empty, s.runaway, s.cut, s.failed))
        ),
        "seam click / level": lambda s: _joined(s.click, s.level),
        "RTF, p95": lambda s: _spread(s.rtf, 1, 2),
        "first packet ms, p95": lambda s: _spread(s.first_packet_s, 1000, 0),
    }
    lines = [[*columns], ["---"] * len(columns)]
    lines += [[column(summary) for column in columns.values()] for summary in summaries]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _place(row: Row) -> tuple[str, str | None, str]:
    return row.subject, row.voice, row.key.rpartition("-")[0]


def _runaway_keys(rows: Sequence[Row]) -> list[Row]:
    found = []
    for voice in dict.fromkeys(_place(row)[:2] for row in rows):
        mine = [row for row in rows if _place(row)[:2] == voice and not row.empty]
        long = runaways([row.pace for row in mine], [row.tail_s for row in mine])
        found += [row for row, is_long in zip(mine, long, strict=True) if is_long]
    return found


def _summary(rows: list[Row], long: set[str]) -> Summary:
    subject, voice, list_name = _place(rows[0])
    score = pool([row.errors for row in rows])
    opinions = [row.opinion for row in rows if row.opinion]
    click = [rank for row in rows for rank in row.seams.click]
    level = [rank for row in rows for rank in row.seams.level]
    similarity, nearest = _likeness(rows)
    return Summary(
        subject=subject,
        voice=voice,
        list_name=list_name,
        sentences=len(rows),
        wer=score.wer,
        wer_interval=score.wer_interval,
        cer=score.cer,
        lufs=_mean([row.lufs for row in rows if not row.empty]),
        overall=_mean([opinion.overall for opinion in opinions]),
        signal=_mean([opinion.signal for opinion in opinions]),
        background=_mean([opinion.background for opinion in opinions]),
        similarity=similarity,
        nearest=nearest,
        empty=sum(row.empty for row in rows),
        runaway=sum(row.key in long for row in rows),
        cut=sum(row.cut for row in rows),
        failed=sum(bool(row.failure) for row in rows),
        click=_mean(click),
        level=_mean(level),
        seams=len(click),
        rtf=_spread_of(row.rtf for row in rows),
        first_packet_s=_spread_of(row.first_packet_s for row in rows),
    )


def _likeness(rows: list[Row]) -> tuple[float | None, float | None]:
    """Mean similarity with the own reference, and the share that is nearest to it."""
    compared = [
        (row.similarities[row.voice], [v for k, v in row.similarities.items() if k != row.voice])
        for row in rows
        if row.similarities and row.voice in row.similarities
    ]
    return (
        _mean([own for own, _ in compared]),
        _mean([float(own > max(others)) for own, others in compared if others]),
    )


def _mean(values: Sequence[float]) -> float | None:
    return fmean(values) if values else None


def _spread_of(values: Iterable[float | None]) -> Spread | None:
    known = [value for value in values if value is not None]
    if not known:
        return None
    return Spread(*(float(value) for value in np.percentile(known, (50, 95))))


def _joined(*values: float | None) -> str:
    return " / ".join("—" if value is None else f"{value:.2f}" for value in values)


def _spread(spread: Spread | None, scale: float, digits: int) -> str:
    if spread is None:
        return "—"
    return f"{spread.median * scale:.{digits}f}, {spread.p95 * scale:.{digits}f}"

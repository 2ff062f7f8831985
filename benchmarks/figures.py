"""Figures of a benchmark: collected, printed as a table, written as JSON, held against old ones."""

import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any


@dataclass(frozen=True)
class Figure:
    """One measured value: the median of `runs`. wanted: what it should be, in words.

    least: seconds that the machine's peaks allow, in the place of these; limit: which of them.
    """

    name: str
    unit: str
    runs: tuple[float, ...]
    wanted: str = ""
    least: float | None = None
    limit: str = ""

    @property
    def value(self) -> float:
        return median(self.runs)

    @property
    def share(self) -> float | None:
        """Of what the peaks allow: 1 is as fast as they are."""
        return None if self.least is None else self.least / self.value


def figure(
    name: str,
    unit: str,
    runs: Sequence[float],
    wanted: str = "",
    *,
    least: float | None = None,
    limit: str = "",
) -> Figure:
    return Figure(name, unit, tuple(runs), wanted, least, limit)


def ratio(name: str, over: Figure, under: Figure, wanted: str = "") -> Figure:
    """over / under, run by run, since runs of one round were measured side by side."""
    pairs = zip(over.runs, under.runs, strict=True)
    return Figure(name, "times", tuple(a / b for a, b in pairs), wanted)


def table(figures: Sequence[Figure], before: Mapping[str, float] | None = None) -> str:
    """Markdown, without columns that would be empty. before: the values of another run by name."""
    columns: dict[str, list[str]] = {
        "what": [f.name for f in figures],
        "measured": [f"{f.value:.3g} {f.unit}" for f in figures],
        "range": [
            f"{min(f.runs):.3g} to {max(f.runs):.3g}" if len(f.runs) > 1 else "" for f in figures
        ],
        "allowed by peaks": [
            "" if f.least is None else f"{f.least:.3g} s ({f.limit})" for f in figures
        ],
        "share": ["" if f.share is None else f"{f.share:.0%}" for f in figures],
        "old over new": [_times(before or {}, f) for f in figures],
        "wanted": [f.wanted for f in figures],
    }
    kept = {name: cells for name, cells in columns.items() if any(cells)}
    rows = [list(kept), ["---"] * len(kept), *zip(*kept.values(), strict=True)]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def _times(before: Mapping[str, float], now: Figure) -> str:
    old = before.get(now.name)
    return "" if old is None or not now.value else f"{old / now.value:.2f}"


def write(path: Path, figures: Sequence[Figure], **about: Any) -> None:
    rows = [{**asdict(f), "value": f.value, "share": f.share} for f in figures]
    path.write_text(json.dumps({"machine": machine(), **about, "figures": rows}, indent=1))


def machine() -> dict[str, Any]:
    """What the figures belong to."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    fields = dict(line.split("\t: ", 1) for line in map(_spaced, lines) if "\t: " in line)
    flags = set(fields.get("flags", "").split())
    return {
        "processor": fields.get("model name", platform.processor()),
        "cores": len(os.sched_getaffinity(0)),
        "features": sorted(flags & {"avx2", "avx512f", "avx512_bf16", "avx512_vnni", "amx_bf16"}),
    }


def _spaced(line: str) -> str:
    name, _, value = line.partition(":")
    return f"{name.strip()}\t: {value.strip()}" if value else line

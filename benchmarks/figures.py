"""Figures of a benchmark: collected, printed as a table, written as JSON."""

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any


@dataclass(frozen=True)
class Figure:
    """One measured value: the median of `runs`. wanted: what it should be, in words."""

    name: str
    unit: str
    runs: tuple[float, ...]
    wanted: str = ""

    @property
    def value(self) -> float:
        return median(self.runs)


def figure(name: str, unit: str, runs: Sequence[float], wanted: str = "") -> Figure:
    return Figure(name, unit, tuple(runs), wanted)


def ratio(name: str, over: Figure, under: Figure, wanted: str = "") -> Figure:
    """over / under, run by run, since runs of one round were measured side by side."""
    pairs = zip(over.runs, under.runs, strict=True)
    return Figure(name, "times", tuple(a / b for a, b in pairs), wanted)


def table(figures: Sequence[Figure]) -> str:
    """Markdown: figure, median, range, what it should be."""
    lines = ["| figure | median | range | wanted |", "|---|---|---|---|"]
    for f in figures:
        span = f"{min(f.runs):.3g} to {max(f.runs):.3g}" if len(f.runs) > 1 else ""
        lines.append(f"| {f.name} | {f.value:.3g} {f.unit} | {span} | {f.wanted} |")
    return "\n".join(lines)


def write(path: Path, figures: Sequence[Figure], **about: Any) -> None:
    rows = [{**asdict(f), "value": f.value} for f in figures]
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

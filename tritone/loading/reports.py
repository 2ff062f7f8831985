"""Reports as lines of a log, as a table and as JSON, and what a log says of its models' steps.

load token2wav, flow weights: begins at 2025-11-22T11:20:31.120+00:00 (/m/flow.safetensors,
    449.6 MB, resident 180 MiB, late after 52 s)
load token2wav, flow weights: done in 1.21 s (resident 640 MiB, GPU 1210 MiB)
load tensorrt_llm, LLM weights: done in 5.30 s (11 of 64 slots, resident 640 MiB, GPU 1210 MiB)
load token2wav, flow weights: late, 52 s; likely cause: ...; examine: ...
load token2wav, flow weights: failed after 1.21 s: ModelDirectoryError: ...; examine: ...
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from tritone.loading.steps import Report

_LINE = re.compile(
    r"load ([^\s,]+), ([^:]+): (?:(done|failed|late)\b|begins at (\S+) .*late after (\d+) s\))"
)
_HEADINGS = ("step", "file", "MB", "seconds", "resident MiB", "GPU MiB")
_TEXT_COLUMNS = 2  # the first ones; the others hold numbers


@dataclass(frozen=True)
class StepState:
    """Where a model's loading stands. since: Unix time. failed: it has, in this step."""

    model: str
    step: str
    since: float
    limit_s: float
    failed: bool = False


def line(report: Report) -> str:
    """One line, for any kind of report."""
    what, seconds, memory = f"load {report.model}, {report.step}:", report.seconds, _memory(report)
    if report.kind == "done":
        said = f"{report.note}, " if report.note else ""
        return f"{what} done in {seconds:.2f} s ({said}{memory})"
    if report.kind == "failed":
        return f"{what} failed after {seconds:.2f} s: {report.error}{_advice(report)}"
    if report.kind == "late":
        return f"{what} late, {seconds:.0f} s ({memory}){_advice(report)}"
    now = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
    file = f"{report.path}, {_size(report.nbytes)}, " if report.path else ""
    return f"{what} begins at {now} ({file}{memory}, late after {report.limit_s:.0f} s)"


def states(lines: Iterable[str]) -> dict[str, StepState]:
    """Model -> the step that it is in or failed in, of those that are in one, read from a log."""
    open_steps: dict[str, list[StepState]] = {}
    for match in filter(None, map(_LINE.search, lines)):
        model, step, kind, since, limit = match.groups()
        steps = open_steps.setdefault(model, [])
        if since:
            began = datetime.fromisoformat(since).timestamp()
            steps.append(StepState(model, step, began, float(limit)))
        elif kind in ("done", "failed") and steps and not steps[-1].failed:
            ended = steps.pop()
            if kind == "failed":  # the step around it fails too, and says less
                steps.append(replace(ended, failed=True))
    return {model: steps[-1] for model, steps in open_steps.items() if steps}


def _size(nbytes: int) -> str:
    return f"{nbytes / 1e6:.1f} MB" if nbytes >= 100_000 else f"{nbytes / 1e3:.1f} kB"


def _memory(report: Report) -> str:
    gpu = report.memory.gpu
    resident = f"resident {report.memory.resident >> 20} MiB"
    return resident if gpu is None else f"{resident}, GPU {gpu >> 20} MiB"


def _advice(report: Report) -> str:
    """The likely cause, if it is not in the error, and the command that examines it."""
    cause = f"; likely cause: {report.cause}" if report.cause else ""
    return f"{cause}; examine: {report.doctor}"


class Summary:
    """Takes every report and keeps what became of each step, in the order in which they ended."""

    def __init__(self, model_dir: Path) -> None:
        self._model_dir = model_dir
        self.steps: list[Report] = []
        self.late: set[str] = set()
        self.problem = ""

    def add(self, report: Report) -> None:
        if report.kind in ("done", "failed"):
            self.steps.append(report)
        elif report.kind == "late":
            self.late.add(report.step)

    @property
    def failed(self) -> Report | None:
        """The step that ended the loading; the one around it fails after it."""
        return next((report for report in self.steps if report.kind == "failed"), None)

    def end(self, error: BaseException) -> None:
        """Keep, as `problem`, what a person is told of the error that ended the loading."""
        if failed := self.failed:
            self.problem = f"the step {failed.step} failed: {failed.error}{_advice(failed)}"
            return
        after = f" after the step {self.steps[-1].step}" if self.steps else ""
        self.problem = f"loading ended{after}: {type(error).__name__}: {error}"

    def table(self) -> str:
        """A line a step, with the memory after it; steps within another are indented."""
        total = sum(report.seconds for report in self.steps if not report.inside)
        rows = [_HEADINGS, *(self._row(report) for report in self.steps)]
        rows.append(("total", "", "", f"{total:.2f}", "", ""))
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        return "\n".join(
            "  ".join(
                cell.ljust(width) if index < _TEXT_COLUMNS else cell.rjust(width)
                for index, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in rows
        )

    def plain(self) -> dict[str, Any]:
        """For JSON. steps: bytes, seconds and memory in bytes; failed, late: names of
        steps; problem: in words, for an error outside the steps too."""
        failed = self.failed
        return {
            "model_dir": str(self._model_dir),
            "steps": [
                {
                    "step": report.step,
                    "inside": report.inside,
                    "file": str(report.path) if report.path else None,
                    "bytes": report.nbytes,
                    "seconds": round(report.seconds, 4),
                    "resident_bytes": report.memory.resident,
                    "gpu_bytes": report.memory.gpu,
                }
                for report in self.steps
            ],
            "late": sorted(self.late),
            "failed": failed.step if failed else None,
            "problem": self.problem or None,
            "examine": failed.doctor if failed else None,
        }

    def _row(self, report: Report) -> tuple[str, ...]:
        memory, path = report.memory, report.path
        if path and path.is_relative_to(self._model_dir):
            path = path.relative_to(self._model_dir)
        late = " (late)" if report.step in self.late else ""
        mark = " (failed)" if report.kind == "failed" else late
        return (
            f"{'  ' if report.inside else ''}{report.step}{mark}",
            str(path or ""),
            f"{report.nbytes / 1e6:.1f}" if report.path else "",
            f"{report.seconds:.2f}",
            f"{memory.resident >> 20}",
            "" if memory.gpu is None else f"{memory.gpu >> 20}",
        )

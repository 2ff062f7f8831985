"""A report as a line of a log, and what a log says of the steps that models are in.

load token2wav, flow weights: begins at 2025-11-22T11:20:31.120+00:00 (/m/flow.safetensors,
    449.6 MB, resident 180 MiB, late after 52 s)
load token2wav, flow weights: done in 1.21 s (resident 640 MiB, GPU 1210 MiB)
load token2wav, flow weights: late, 52 s; likely cause: ...; examine: ...
load token2wav, flow weights: failed after 1.21 s: ModelDirectoryError: ...; examine: ...
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timezone

from tritone.loading.steps import Report

_LINE = re.compile(
    r"load ([^\s,]+), ([^:]+): (?:(done|failed|late)\b|begins at (\S+) .*late after (\d+) s\))"
)


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
    return f"load {report.model}, {report.step}: {_TEXTS[report.kind](report)}"


def states(lines: Iterable[str]) -> dict[str, StepState]:
    """Model -> the step that it is in or failed in, of those that are in one, read from a log."""
    open_steps: dict[str, list[StepState]] = {}
    for match in filter(None, map(_LINE.search, lines)):
        model, step, kind, since, limit = match.groups()
        steps = open_steps.setdefault(model, [])
        if since:
            steps.append(StepState(model, step, _unix_time(since), float(limit)))
        elif kind in ("done", "failed") and steps and not steps[-1].failed:
            ended = steps.pop()
            if kind == "failed":  # the step around it fails too, and says less
                steps.append(replace(ended, failed=True))
    return {model: steps[-1] for model, steps in open_steps.items() if steps}


def _begins(report: Report) -> str:
    now = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
    file = f"{report.path}, {size(report.nbytes)}, " if report.path else ""
    return f"begins at {now} ({file}{memory(report)}, late after {report.limit_s:.0f} s)"


def _done(report: Report) -> str:
    return f"done in {report.seconds:.2f} s ({memory(report)})"


def _failed(report: Report) -> str:
    return f"failed after {report.seconds:.2f} s: {report.error}{advice(report)}"


def _late(report: Report) -> str:
    return f"late, {report.seconds:.0f} s ({memory(report)}){advice(report)}"


_TEXTS = {"begins": _begins, "done": _done, "failed": _failed, "late": _late}


def size(nbytes: int) -> str:
    return f"{nbytes / 1e6:.1f} MB" if nbytes >= 100_000 else f"{nbytes / 1e3:.1f} kB"


def memory(report: Report) -> str:
    gpu = report.memory.gpu
    resident = f"resident {report.memory.resident >> 20} MiB"
    return resident if gpu is None else f"{resident}, GPU {gpu >> 20} MiB"


def advice(report: Report) -> str:
    """The likely cause, if it is not in the error, and the command that examines it."""
    cause = f"; likely cause: {report.cause}" if report.cause else ""
    return f"{cause}; examine: {report.doctor}"


def _unix_time(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()

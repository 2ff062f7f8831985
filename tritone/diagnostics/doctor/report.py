"""Diagnoses as a table, as JSON, and as an exit status."""

import json
import shutil
import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import groupby

from tritone.diagnostics.doctor.check import Status
from tritone.diagnostics.doctor.examine import Diagnosis

_COLOURS = {Status.PASS: "32", Status.WARN: "33", Status.FAIL: "31", Status.SKIP: "2"}
_INDENT = " " * 30


def exit_status(diagnoses: Sequence[Diagnosis]) -> int:
    """0: nothing to do, 1: warnings, 2: failures."""
    return max((diagnosis.finding.severity for diagnosis in diagnoses), default=0)


def table(diagnoses: Sequence[Diagnosis], *, colour: bool = False, verbose: bool = False) -> str:
    """A line a check, its fix below it, and the counts.

    Neighbours of one group that are left out for one reason share a line. verbose: every check has
    its own, with its seconds, and with stacks where it hung.
    """
    lines: list[str] = []
    for _, alike in groupby(diagnoses, lambda d: d if verbose else _line_of(d)):
        first, *others = alike
        name = f"{first.check.group} ({1 + len(others)} checks)" if others else first.check.name
        lines += _lines(first, name, colour, verbose)
    counts = Counter(diagnosis.finding.status for diagnosis in diagnoses)
    summary = ", ".join(f"{counts[status]} {status.value}" for status in Status if counts[status])
    return "\n".join([*lines, "", summary or "no checks"])


def as_json(diagnoses: Sequence[Diagnosis]) -> str:
    """An object with the exit status and one entry for each check."""
    entries = [
        {
            "check": diagnosis.check.name,
            "status": diagnosis.finding.status.value,
            "text": diagnosis.finding.text,
            "fix": diagnosis.finding.fix,
            "seconds": round(diagnosis.seconds, 3),
            "stacks": diagnosis.stacks,
        }
        for diagnosis in diagnoses
    ]
    return json.dumps({"exit_status": exit_status(diagnoses), "checks": entries}, indent=2)


def _line_of(diagnosis: Diagnosis) -> tuple[str, ...]:
    """What checks that share a line have in common."""
    if diagnosis.finding.status is Status.SKIP:
        return diagnosis.check.group, diagnosis.finding.text
    return (diagnosis.check.name,)


def _lines(diagnosis: Diagnosis, name: str, colour: bool, verbose: bool) -> Iterator[str]:
    finding = diagnosis.finding
    word = finding.status.value
    if colour:
        word = f"\033[{_COLOURS[finding.status]}m{word}\033[0m"
    seconds = f" [{diagnosis.seconds:.1f} s]" if verbose else ""
    width = max(40, shutil.get_terminal_size((140, 24)).columns - len(_INDENT))
    wrap = textwrap.TextWrapper(width, break_long_words=False, break_on_hyphens=False)
    head, *rest = wrap.wrap(f"{finding.text}{seconds}") or [""]
    yield f"{word}  {name:<22} {head}"
    yield from (f"{_INDENT}{line}" for line in rest)
    if finding.fix:
        yield f"{_INDENT}-> {finding.fix}"  # on one line, so that it can be copied
    if verbose and diagnosis.stacks.strip():
        yield textwrap.indent(diagnosis.stacks.rstrip(), _INDENT)

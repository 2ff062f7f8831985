"""The versions of what is installed, against what this package requires."""

import importlib.metadata
import re
import sys
from contextlib import suppress

from tritone.diagnostics.doctor.check import check
from tritone.diagnostics.doctor.finding import Finding, failure, passed, skipped, warning
from tritone.diagnostics.doctor.isolated import run_isolated
from tritone.diagnostics.doctor.target import Target

DISTRIBUTION = "tritone"
_PIP_S = 30.0
_NAME = re.compile(r"[A-Za-z0-9._-]+")
_CLASH = re.compile(r"^(\S+) \S+ (?:has requirement|requires) ([A-Za-z0-9._-]+)")


@check("python.requirements", limit_s=_PIP_S + 5)
def requirements(target: Target) -> Finding:
    """Versions that clash, among what is installed and what this package requires of it."""
    command = [sys.executable, "-m", "pip", "check", "--disable-pip-version-check"]
    outcome = run_isolated(command, _PIP_S)
    if outcome.late:
        return warning(f"`pip check` did not end within {_PIP_S:g} s", " ".join(command))
    if "No module named pip" in outcome.error:
        return skipped("this environment has no pip; with uv: uv pip check")
    ours, others = clashes(outcome.output.splitlines(), distributions_needed())
    if outcome.status != 0 and not ours + others:
        return warning(f"`pip check` says: {outcome.last_line}", " ".join(command))
    beside = f" ({len(others)} among packages that a server does not use)" if others else ""
    if ours:
        return failure(
            f"{'; '.join(ours)}{beside}", f"{sys.executable} -m pip install -c constraints.txt -e ."
        )
    return passed(f"what tritone {version_of(DISTRIBUTION)} requires is there, no clash{beside}")


def clashes(lines: list[str], needed: set[str]) -> tuple[list[str], list[str]]:
    """Complaints of `pip check`: about distributions that are needed, and about others."""
    found = [(line.rstrip("."), match[1]) for line in lines if (match := _CLASH.match(line))]
    ours = [line for line, name in found if _plain(name) in needed]
    return ours, [line for line, name in found if _plain(name) not in needed]


def distributions_needed() -> set[str]:
    """This package and all that it requires, directly or not, without extras."""
    needed, waiting = set[str](), [DISTRIBUTION]
    while waiting:
        name = _plain(waiting.pop())
        if name not in needed:
            needed.add(name)
            with suppress(importlib.metadata.PackageNotFoundError):  # `pip check` says so
                lines = importlib.metadata.requires(name) or []
                waiting += [_NAME.findall(line)[0] for line in lines if "extra ==" not in line]
    return needed


def _plain(name: str) -> str:
    """As the packaging specification compares names."""
    return re.sub(r"[-_.]+", "-", name).lower()


def version_of(distribution: str) -> str | None:
    """By its metadata; None where there is none."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None

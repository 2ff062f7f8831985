"""A check, and what it finds."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from tritone.diagnostics.doctor.target import Target


class Status(str, Enum):
    """How good or bad a finding is. SKIP: it does not apply here, for the reason given."""

    PASS = "pass"
    WARN = "warn"
    FAIL = "fail"
    SKIP = "skip"


@dataclass(frozen=True)
class Finding:
    """What a check found.

    text: the facts, with values and limits. fix: the next step, a command where there is one;
    every warning and failure has it. repairable: whether the check's `repair` can do it.
    """

    status: Status
    text: str
    fix: str = ""
    repairable: bool = False

    def __post_init__(self) -> None:
        needs_fix = self.status in (Status.WARN, Status.FAIL)
        assert self.fix or not needs_fix, f"a {self.status.value} without a fix: {self.text}"


def passed(text: str) -> Finding:
    return Finding(Status.PASS, text)


def skipped(reason: str) -> Finding:
    return Finding(Status.SKIP, reason)


def warning(text: str, fix: str, *, repairable: bool = False) -> Finding:
    return Finding(Status.WARN, text, fix, repairable)


def failure(text: str, fix: str, *, repairable: bool = False) -> Finding:
    return Finding(Status.FAIL, text, fix, repairable)


@dataclass(frozen=True)
class Check:
    """One line of the doctor's table.

    name: group.subject. run: a function of a module; looks, changes nothing, and returns. What it
        raises becomes a failure. It runs in a process of its own, which is killed after limit_s.
    when_late: the next step if it does not end in time.
    repair: does what `--fix` may do, and says what it did. It must be safe to run at any time.
    """

    name: str
    run: Callable[[Target], Finding]
    limit_s: float = 10.0
    when_late: str = "run it alone, with more time: scripts/doctor.py --only {name} --slow 10"
    repair: Callable[[Target], str] | None = None

    @property
    def group(self) -> str:
        return self.name.partition(".")[0]

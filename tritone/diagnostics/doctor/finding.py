"""What a check finds."""

from dataclasses import dataclass
from enum import Enum

from tritone.errors import TritoneError


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


def refused(error: TritoneError) -> Finding:
    """Of an error of the launcher, whose messages end with the next step, after a semicolon."""
    problem, _, step = str(error).rpartition("; ")
    return failure(problem or step, step.removeprefix("run: ").removeprefix("run "))

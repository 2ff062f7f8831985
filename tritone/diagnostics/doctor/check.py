"""A check, the decorator that makes one of a function, and what it finds."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from types import ModuleType
from typing import Any

from tritone.diagnostics.doctor.target import Target
from tritone.errors import EnvironmentProblem, TritoneError


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
        assert self.fix or not self.severity, f"a {self.status.value} without a fix: {self.text}"

    @property
    def severity(self) -> int:
        """0: nothing to do, 1: a warning, 2: a failure."""
        return {Status.WARN: 1, Status.FAIL: 2}.get(self.status, 0)


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


@dataclass(frozen=True)
class Check:
    """One line of the doctor's table.

    name: group.subject. run: a function of a module; looks, changes nothing, and returns. What it
        raises becomes a failure. It runs in a process of its own, which is killed after limit_s.
    unless: why the check does not apply to a target; empty where it does.
    when_late: the next step if it does not end in time.
    repair: does what `--fix` may do, and says what it did. It must be safe to run at any time.
    """

    name: str
    run: Callable[[Target], Finding]
    limit_s: float = 10.0
    unless: Callable[[Target], str] = lambda target: ""
    when_late: str = "run it alone, with more time: tritone doctor --only {name} --slow 10"
    repair: Callable[[Target], str] | None = None

    @property
    def group(self) -> str:
        return self.name.partition(".")[0]

    def __call__(self, target: Target) -> Finding:
        """In this process, and without a limit; what the launcher refuses is a failure."""
        why = self.unless(target)
        try:
            return skipped(why) if why else self.run(target)
        except EnvironmentProblem as error:
            return refused(error)


def check(name: str, **options: Any) -> Callable[[Callable[[Target], Finding]], Check]:
    """Makes a check of the function that it decorates; options: fields of Check."""
    return lambda run: Check(name, run, **options)


def checks_in(*modules: ModuleType) -> tuple[Check, ...]:
    """The checks that modules define, in their order."""
    return tuple(
        value
        for module in modules
        for value in vars(module).values()
        if isinstance(value, Check) and value.run.__module__ == module.__name__
    )

"""Work in tasks: what is done is skipped, what fails stops only what needs it."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from tritone.errors import TritoneError

State = Literal["built", "there", "failed", "skipped"]


@dataclass(frozen=True)
class Task:
    """One piece of work.

    name: unique. needs: names of tasks that must not have failed. plan: what `run` does, as lines
    for a reader. done: whether it need not run. run: does it and says in a few words what came out;
    raises TritoneError.
    """

    name: str
    needs: tuple[str, ...]
    plan: tuple[str, ...]
    done: Callable[[], bool]
    run: Callable[[], str]


@dataclass(frozen=True)
class Outcome:
    """How a task ended; seconds of its run, and what it said or why it failed."""

    name: str
    state: State
    seconds: float
    said: str


def run_tasks(tasks: Sequence[Task], *, force: bool) -> Iterator[Outcome]:
    """Run tasks in order, one outcome each. force: also those that are done."""
    failed: set[str] = set()
    for task in tasks:
        outcome = _run(task, failed, force)
        if outcome.state in ("failed", "skipped"):
            failed.add(task.name)
        yield outcome


def _run(task: Task, failed: set[str], force: bool) -> Outcome:
    missing = [name for name in task.needs if name in failed]
    if missing:
        return Outcome(task.name, "skipped", 0.0, f"{', '.join(missing)} failed")
    if not force and task.done():
        return Outcome(task.name, "there", 0.0, "unchanged since it was built")
    begin = time.monotonic()
    try:
        state: State = "built"
        said = task.run()
    except TritoneError as error:
        state, said = "failed", str(error)
    return Outcome(task.name, state, time.monotonic() - begin, said)


def table(outcomes: Sequence[Outcome]) -> list[str]:
    """Outcomes as lines of text, with the first line of what each said."""
    width = max((len(outcome.name) for outcome in outcomes), default=0)
    return [
        f"{outcome.name:<{width}}  {outcome.state:<7}  {outcome.seconds:8.1f} s  "
        f"{outcome.said.splitlines()[0]}"
        for outcome in outcomes
    ]

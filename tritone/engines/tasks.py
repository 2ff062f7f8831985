"""Work in tasks: what is done is skipped, what fails stops only what needs it."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from tritone.engines.machine import Machine
from tritone.engines.record import PartRecord, Verdict, engine_folder, open_record
from tritone.engines.sources import Sources
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


class EngineBuild:
    """What the builds of engines share: a folder for one machine and precision, and its record.

    machine: None where only the tasks' descriptions are wanted.
    """

    def __init__(self, sources: Sources, machine: Machine | None, dtype: str) -> None:
        self._sources, self._machine, self._dtype = sources, machine, dtype
        self._folder = engine_folder(sources.model_dir, machine, dtype)

    def _accepted(self, name: str, part: str, settings: str) -> PartRecord | None:
        """The entry of an engine that passed, if weights, numbers and settings are the same."""
        entry = open_record(self._folder, self._machine, self._dtype).parts.get(name)
        if entry is None or entry.gate is None or not entry.gate.passed:
            return None
        same = entry.settings == settings and entry.source == self._sources.digest(part)
        return entry if same else None

    def _keep(
        self, name: str, part: str, settings: str, nbytes: int, begin: float, verdict: Verdict
    ) -> None:
        """Record an engine, the work on which began at `begin` by the monotonic clock."""
        entry = PartRecord(
            source=self._sources.digest(part),
            settings=settings,
            nbytes=nbytes,
            seconds=round(time.monotonic() - begin, 1),
            gate=verdict,
        )
        record = open_record(self._folder, self._machine, self._dtype)
        record.with_part(name, entry).write(self._folder)

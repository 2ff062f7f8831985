"""The workers of a corpus as actors of a Ray cluster; one that dies is told, to be replaced."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tritone.errors import StageFailed, TritoneError
from tritone.local.offline.manifest import Item
from tritone.local.offline.speak import Outcome
from tritone.local.offline.worker import Desk, Job, Worker

_DEATHS_IN_A_ROW = 3  # of workers that were not ready yet
_PATIENCE_S = 60.0  # without a worker that is ready; then it is told, once
_EXIT = re.compile(r"Worker exit detail: (.*?)(?= Some common causes| There are|$)")


@dataclass(frozen=True)
class Event:
    """Of a worker, by its number: it is ready (neither of the others), an item has ended, or it
    died, and why. desk: where it is, or was; None if it never was ready."""

    worker: int
    desk: Desk | None
    outcome: Outcome | None = None
    death: str = ""


class Crew:
    """The actors, by number. tell: is called when one is ready or died.

    ray: the module, connected. worker: the class of the actors, which are made of the job.
    """

    def __init__(
        self, ray: Any, job: Job, tell: Callable[[str], object], worker: type[Worker] = Worker
    ) -> None:
        self._ray, self._job, self._tell = ray, job, tell
        self._class = ray.remote(worker).options(
            num_cpus=job.cores, num_gpus=job.gpus, max_concurrency=job.batch
        )
        self._actors: dict[int, Any] = {}
        self._calls: dict[Any, int] = {}  # what was asked of whom, until it is answered
        self._deaths = 0
        self._patience: float | None = _PATIENCE_S
        self.desks: dict[int, Desk] = {}  # of those that are ready

    def hire(self, number: int) -> None:
        self._actors[number] = actor = self._class.remote(self._job)
        self._calls[actor.open.remote()] = number

    def give(self, number: int, item: Item) -> None:
        self._calls[self._actors[number].speak.remote(item)] = number

    def wait(self) -> Event:
        """The next event. Raises TritoneError or OSError where no worker could do better, and
        StageFailed where workers die again and again before they are ready."""
        call = self._next_answer()
        number = self._calls.pop(call)
        try:
            answer = self._ray.get(call)
        except self._ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, (TritoneError, OSError)):
                raise error.cause from error
            raise
        except self._ray.exceptions.RayError as error:  # the process, or the node, is gone
            return self._died(number, error)
        if isinstance(answer, Outcome):
            return Event(number, self.desks[number], answer)
        self.desks[number], self._deaths, self._patience = answer, 0, None
        self._tell(f"worker {number} is ready: process {answer.pid} on {answer.host}")
        return Event(number, answer)

    def _next_answer(self) -> Any:
        while True:
            calls, _ = self._ray.wait(list(self._calls), num_returns=1, timeout=self._patience)
            if calls:
                return calls[0]
            free = int(self._ray.available_resources().get("CPU", 0))
            self._tell(
                f"no worker is ready after {self._patience:.0f} s: models are still being loaded, "
                f"or others use the cluster, of whose cores {free} are free"
            )
            self._patience = None

    def _died(self, number: int, error: Exception) -> Event:
        cause = cause_of(error)
        desk = self.desks.get(number)
        self._dismiss(number)
        if desk is None:
            self._deaths += 1
            if self._deaths >= _DEATHS_IN_A_ROW:
                problem = f"{self._deaths} in a row died before they were ready; the last: {cause}"
                raise StageFailed("worker", problem) from error
        where = f"process {desk.pid} on {desk.host}" if desk else "before it was ready"
        self._tell(f"worker {number} died ({where}) and is replaced: {cause}")
        return Event(number, desk, death=f"its worker died ({where}): {cause}")

    def _dismiss(self, number: int) -> None:
        """End an actor, whatever it does, and forget what was asked of it."""
        self._ray.kill(self._actors.pop(number), no_restart=True)
        self.desks.pop(number, None)
        self._calls = {call: of for call, of in self._calls.items() if of != number}

    def close(self) -> None:
        for number in list(self._actors):
            self._dismiss(number)


def cause_of(error: Exception) -> str:
    """Why a worker died, in a line: Ray says it in a page, or below the trace of an exception."""
    lines = [line for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    if "creation task" in lines[0]:
        return f"{lines[0].partition(', ')[0]}: {lines[-1]}"
    found = _EXIT.search(lines[-1])
    return f"{lines[0]} {found[1]}" if found else lines[0]

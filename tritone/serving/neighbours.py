"""The processes of the other models of this server: which one died, and who was waiting for it.

Triton 2.51 tells the callers of a model whose process died one after the other, a second each, and
those who read from a decoupled call never. So the public model watches these processes itself.
"""

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from tritone.errors import Overloaded, StageFailed
from tritone.launcher.model_processes import model_processes
from tritone.launcher.readable import readable
from tritone.serving.parameters import changed_settings
from tritone.unwanted_board import NOWHERE, StreamPlace

_LOOK_S = 0.2  # for processes that are not there yet, or are being replaced
_DIED = "its process ended"


@dataclass(frozen=True, eq=False)
class _Call:
    model: str
    wake: Callable[[], object]


class Neighbours:
    """Watches the processes of these models in a thread, until `close`.

    lost: called in that thread with the name of a model whose process has ended; back: when there
    is another, before the first call to it.

    C++ models have no process of their own and are not watched.
    """

    def __init__(
        self,
        models: Sequence[str],
        lost: Callable[[str], object],
        back: Callable[[str], object],
    ) -> None:
        self._models, self._on_lost, self._on_back = tuple(models), lost, back
        self._watched: dict[int, str] = {}  # pidfd -> model
        self._lost: set[str] = set()
        self._wake, self._ended = os.pipe()
        self._thread = threading.Thread(target=self._watch, name="neighbours", daemon=True)
        self._thread.start()

    @property
    def lost(self) -> list[str]:
        """Models whose process ended and that have no other yet."""
        return sorted(self._lost)

    def close(self) -> None:
        os.close(self._ended)  # readable at the other end: the thread wakes
        self._thread.join()
        for descriptor in (self._wake, *self._watched):
            os.close(descriptor)

    def _watch(self) -> None:
        while True:
            searching = len(set(self._watched.values())) < len(self._models)
            given = [self._wake, *self._watched]
            ready = readable(given, _LOOK_S if searching else None)
            if self._wake in ready:
                return
            for descriptor in ready:
                model = self._watched.pop(descriptor)
                os.close(descriptor)
                self._lost.add(model)
                self._on_lost(model)
            if searching:
                self._look()

    def _look(self) -> None:
        """Watch the processes that have come, for the first time or after one that was lost."""
        there = set(self._watched.values())
        for model, pids in model_processes(os.getppid()).items():
            if model in self._models and model not in there:
                try:
                    self._watched.update({os.pidfd_open(pid): model for pid in pids})
                except ProcessLookupError:
                    continue  # it has just ended: the next look finds its successor
                if model in self._lost:
                    self._on_back(model)
                self._lost.discard(model)


class Calls:
    """The calls of one stream that have not been answered. place: what they bring, so that they
    can be given up."""

    def __init__(self, neighbours: Neighbours, place: StreamPlace = NOWHERE) -> None:
        self.place = place
        self._neighbours = neighbours
        self._open: list[_Call] = []
        self._changing = threading.Lock()

    @contextmanager
    def to(self, model: str, wake: Callable[[], object] = lambda: None) -> Iterator[None]:
        """A call lasts as long as this context. wake: ends the waiting for an answer, from another
        thread. Raises StageFailed for a model that is lost, whose answer would take a second or
        never come."""
        if self.lost(model):
            raise lost_stage(model)
        call = _Call(model, wake)
        with self._changing:
            self._open.append(call)
        try:
            yield
        finally:
            with self._changing:
                self._open.remove(call)

    def lost(self, model: str) -> bool:
        """Whether that model's process has ended, and there is no other yet."""
        return model in self._neighbours.lost

    def to_any(self, *models: str) -> bool:
        """Whether one of these has not answered."""
        with self._changing:
            return any(call.model in models for call in self._open)

    def give_up(self, model: str) -> bool:
        """Wake who waits for an answer of a model that was lost; whether anybody does."""
        with self._changing:
            waiting = [call for call in self._open if call.model == model]
        for call in waiting:
            call.wake()
        return bool(waiting)


def lost_stage(model: str) -> StageFailed:
    """The error of a stream that needs a model whose process has ended."""
    address = _elsewhere(model)
    where = f"the server at {address}, where it runs, was lost, or " if address else ""
    return StageFailed(model, f"{where}{_DIED}; say it again in a few seconds")  # clients know it


def being_replaced(models: Sequence[str]) -> Overloaded:
    """The error of a stream that would need these models, which are lost."""
    named = [f"{model} at {at}" if (at := _elsewhere(model)) else model for model in models]
    return Overloaded(f"{', '.join(named)} is being started again; retry in a few seconds")


def _elsewhere(model: str) -> str:
    """The address of the server that runs a model in the place of this one; empty for its own."""
    return changed_settings(model).get("url", "")

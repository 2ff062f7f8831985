"""A stage of a model in a process of its own, as a server has it, and a pipe to it."""

import itertools
import multiprocessing
import queue
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any, Protocol

from tritone.errors import Overloaded, StageFailed

STAGE = "stage"
_CLOSING_S = 30.0  # that what is under way may take


@dataclass(frozen=True)
class Call:
    """What is asked of a stage, by name, and with what."""

    number: int
    name: str
    given: Any


@dataclass(frozen=True)
class Answer:
    """overloaded: the error, where there is one, says that there is no room."""

    number: int
    value: Any = None
    error: str = ""
    overloaded: bool = False

    def opened(self) -> Any:
        """The value. Raises Overloaded or StageFailed."""
        if self.error:
            raise Overloaded(self.error) if self.overloaded else StageFailed(STAGE, self.error)
        return self.value


def failed(call: Call, error: Exception) -> Answer:
    """Errors travel as text: not all of them can be pickled."""
    text = str(error) or type(error).__name__
    return Answer(call.number, error=text, overloaded=isinstance(error, Overloaded))


Send = Callable[[Answer], None]


class Stage(Protocol):
    """What a process does. together: calls that it takes at once."""

    together: int

    def take(self, calls: list[Call], send: Send) -> None: ...

    def close(self) -> None: ...


def serve(opened: Callable[[], Stage], pipe: Connection) -> None:
    """What a process runs: answers its opening, then takes what waits until None comes."""
    sending = threading.Lock()

    def send(answer: Answer) -> None:
        with sending, suppress(OSError):  # nobody reads any more
            pipe.send(answer)

    try:
        stage = opened()
    except Exception as error:
        send(failed(Call(0, "open", None), error))
        return
    send(Answer(0))
    ended = False
    while not ended:
        calls = [pipe.recv()]
        while len(calls) < stage.together and pipe.poll():
            calls.append(pipe.recv())
        ended = None in calls
        stage.take([call for call in calls if call is not None], send)
    stage.close()


class StageProcess:
    """A stage that has been started. opened: makes it there. process: else it is a thread, for
    tests."""

    def __init__(self, opened: Callable[[], Stage], *, process: bool = True) -> None:
        self._pipe, theirs = multiprocessing.Pipe()
        self._answers: dict[int, queue.SimpleQueue[Answer]] = {0: queue.SimpleQueue()}
        self._numbers = itertools.count(1)
        self._sending, self._ended = threading.Lock(), False
        context = multiprocessing.get_context("spawn")  # CUDA does not survive a fork
        kind: Any = context.Process if process else threading.Thread
        self._runs = kind(target=serve, args=(opened, theirs), daemon=True)
        self._runs.start()
        if process:
            theirs.close()  # so that its end is seen here
        threading.Thread(target=self._read, daemon=True).start()

    def ready(self) -> "StageProcess":
        """Wait until it is open; raises StageFailed with what it could not be opened for."""
        self._answers[0].get().opened()
        return self

    def number(self) -> int:
        return next(self._numbers)

    def begin(self, number: int, name: str, given: Any) -> None:
        """Ask for what has several answers; `forget` it in the end."""
        self._answers[number] = waiting = queue.SimpleQueue[Answer]()
        if self._ended:  # looked at once it is known that somebody waits
            waiting.put(_over(number))
        self.tell(name, given, number)

    def tell(self, name: str, given: Any, number: int = 0) -> None:
        """Ask for nothing."""
        with self._sending, suppress(OSError):  # whoever waits is told of its end
            self._pipe.send(Call(number, name, given))

    def answer(self, number: int) -> Any:
        return self._answers[number].get().opened()

    def forget(self, number: int) -> None:
        self._answers.pop(number, None)

    def call(self, name: str, given: Any) -> Any:
        """Ask for one answer and wait for it."""
        number = self.number()
        self.begin(number, name, given)
        try:
            return self.answer(number)
        finally:
            self.forget(number)

    def close(self) -> None:
        with self._sending, suppress(OSError):
            self._pipe.send(None)
        self._runs.join(_CLOSING_S)
        if self._runs.is_alive() and isinstance(self._runs, BaseProcess):  # stuck in a driver
            self._runs.kill()
            self._runs.join()

    def _read(self) -> None:
        with suppress(EOFError, OSError):
            while True:
                answer: Answer = self._pipe.recv()
                if waiting := self._answers.get(answer.number):
                    waiting.put(answer)
        self._ended = True
        for number, waiting in list(self._answers.items()):
            waiting.put(_over(number))


def _over(number: int) -> Answer:
    return Answer(number, error="its process has ended")

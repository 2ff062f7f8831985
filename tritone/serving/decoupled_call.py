"""Calls of decoupled models from inside the server, read so that nobody waits for ever."""

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Any

from tritone.serving.neighbours import Calls, lost_stage
from tritone.synthesis.run_ahead import awaited


class CallGate:
    """Many may wait for responses; starting a call waits for them to return and goes first.

    It keeps apart what the Python backend cannot do at the same time. In Triton 2.51 (the fix is
    from 2026) a process can deadlock when one thread starts a decoupled call while another waits
    for a response of an earlier one: the first holds the interpreter and wants the table of calls,
    the receiving thread holds the table and wants the waiting call, and that one wants the
    interpreter.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: set[object] = set()  # for each thread inside `receiving`
        self._starters: set[object] = set()  # inside or before `starting`
        self._inside: object = None  # of the starters

    @contextmanager
    def receiving(self) -> Iterator[None]:
        place = object()
        with self._changed:
            self._changed.wait_for(lambda: not self._starters)
            self._waiting.add(place)
        try:
            yield
        finally:
            with self._changed:
                self._waiting.discard(place)
                self._changed.notify_all()

    @contextmanager
    def starting(self) -> Iterator[None]:
        """One at a time."""
        place = object()
        try:
            with self._changed:
                self._starters.add(place)
                self._changed.wait_for(lambda: not self._waiting and self._inside is None)
                self._inside = place
            yield  # without the lock: a start at a model that is lost may never come back
        finally:
            with self._changed:
                self._leave(place)

    def forget(self) -> None:
        """Whoever waits or starts now will get nothing more: nobody waits for them any longer."""
        with self._changed:
            self._waiting.clear()
            self._leave(self._inside)

    def _leave(self, place: object) -> None:
        self._starters.discard(place)
        if self._inside is place:
            self._inside = None
        self._changed.notify_all()


GATE = CallGate()

# Triton 2.51 crashes where an iterator of responses is freed at once after the last of them, while
# its own thread still works on it: it is kept until some others have ended.
_ENDED: deque[Any] = deque(maxlen=64)
_LOST = object()


def start(request: Any) -> Any:
    """Start a decoupled call; returns the iterator of its responses, once the first is there."""
    with GATE.starting():
        return request.exec(decoupled=True)


def read(responses: Any) -> Iterator[Any]:
    """The responses of a call, to their end."""
    try:
        yield from awaited(responses, GATE.receiving)
    finally:
        _ENDED.append(responses)


class DecoupledCall:
    """Starts a call; iterate its responses once.

    They are read to their end in a thread of their own, which alone stays behind if the model's
    process ends: Triton never wakes it then. Responses that nobody reads would also stay in the
    server's shared memory for ever.

    Raises StageFailed, at once or in the iteration, when the model is lost.
    """

    def __init__(self, request: Any, calls: Calls, model: str) -> None:
        self._calls, self._model = calls, model
        self._arrived: SimpleQueue[Any] = SimpleQueue()
        with calls.to(model):
            self._responses = start(request)
        threading.Thread(target=self._read, name=f"from {model}", daemon=True).start()

    def __iter__(self) -> Iterator[Any]:
        with self._calls.to(self._model, wake=lambda: self._arrived.put(_LOST)):
            while (response := self._arrived.get()) is not None:
                if response is _LOST:
                    raise lost_stage(self._model)
                yield response

    def _read(self) -> None:
        try:
            for response in read(self._responses):
                self._arrived.put(response)
        finally:
            self._arrived.put(None)

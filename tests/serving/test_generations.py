"""What a generation sends, and how it ends when it breaks."""

import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from backend_fakes import backend
from waiting import wait_until

from tritone.errors import Cancelled, InvalidRequest, StageFailed
from tritone.llm.contract import GenerationRequest, Increment, Prompt

REQUEST = GenerationRequest(Prompt(np.array([1], np.int32)), 1, 1)


class Model:
    """Gives one token, and then an error."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def submit(self, request: GenerationRequest) -> Iterator[Increment]:
        if isinstance(self._error, InvalidRequest):
            raise self._error
        return self._tokens()

    def _tokens(self) -> Iterator[Increment]:
        yield Increment(np.array([7], np.int32))
        raise self._error

    def close(self) -> None:
        """Nothing is open."""


class Sender:
    def __init__(self) -> None:
        self.sent: list[tuple[Any, int]] = []

    def send(self, response: Any = None, flags: int = 0) -> None:
        self.sent.append((response, flags))

    def is_cancelled(self) -> bool:
        return False


@pytest.fixture
def modules(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimpleNamespace]:
    with backend(monkeypatch, "messages", "metrics", "generations") as modules:
        yield modules


def sent_of(modules: SimpleNamespace, error: Exception) -> list[tuple[Any, int]]:
    generations = modules.generations.Generations(Model(error), 1, "tensorrt_llm")
    sender = Sender()
    generations.start("1", REQUEST, sender)
    wait_until(lambda: sender.sent and sender.sent[-1][1])
    generations.close()
    return sender.sent


def test_an_error_is_an_output_before_the_last_response(modules: SimpleNamespace) -> None:
    """A caller in the server never gets one that is Triton's, once it has had a response, and
    waits for ever for one that is the last response too."""
    *_, (reply, flags), last = sent_of(modules, StageFailed("llm", "the largest logit is nan"))
    ((name, words),) = reply
    assert name == "failure" and words.shape == (1, 1) and not flags
    assert words.item() == b"StageFailed: llm: the largest logit is nan"
    assert last == (None, 1)


def test_a_stop_is_answered_while_all_threads_are_taken(modules: SimpleNamespace) -> None:
    """Of another server, too, that asks whether this one takes its key."""
    generations = modules.generations.Generations(Model(Cancelled("")), 1, "tensorrt_llm")
    over, sender = threading.Event(), Sender()
    generations._pool.submit(over.wait)
    generations.stop("of nobody", sender)
    assert [flags for _, flags in sender.sent] == [0, 1]
    over.set()
    generations.close()


def test_a_cancelled_generation_ends_without_an_error(modules: SimpleNamespace) -> None:
    sent = sent_of(modules, Cancelled("nobody listens"))
    assert [flags for _, flags in sent] == [0, 0, 1] and sent[-1] == (None, 1)


@pytest.mark.parametrize(
    ("field", "wire"),
    [("top_k", "runtime_top_k"), ("seed", "random_seed"), ("input_ids", "input_ids")],
)
def test_a_refusal_names_the_input(modules: SimpleNamespace, field: str, wire: str) -> None:
    generations = modules.generations.Generations(Model(InvalidRequest(field, "x")), 1, "llm")
    with pytest.raises(InvalidRequest, match=f"^{wire}: x$"):
        generations.start("1", REQUEST, Sender())
    generations.close()


def test_of_two_that_end_at_once_the_last_is_told_last(
    modules: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever tells a number keeps the others from changing it."""
    generations = modules.generations.Generations(Model(Cancelled("")), 2, "llm")
    told: list[tuple[float, int, bool]] = []

    def note(number: float) -> None:
        alone = not generations._counting.acquire(blocking=False)
        told.append((number, len(generations._running), alone))

    monkeypatch.setattr(generations._gauge, "set", note)
    senders = Sender(), Sender()
    for name, sender in zip("12", senders, strict=True):
        generations.start(name, REQUEST, sender)
    wait_until(lambda: all(sender.sent and sender.sent[-1][1] for sender in senders))
    generations.close()
    assert told[-1][0] == 0 and all(number == now and alone for number, now, alone in told)

"""The public model's view of the others' processes: who died, and who was waiting for it."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from waiting import HANG_S, wait_until

from tritone.errors import StageFailed
from tritone.serving import neighbours
from tritone.serving.decoupled_call import DecoupledCall
from tritone.serving.neighbours import Calls, Neighbours
from tritone_client import SpeechError

MODELS = ("llm", "vocoder")
SLEEP = [sys.executable, "-c", "import time; time.sleep(600)"]


class House:
    """Processes under the names of models, and what was told of them."""

    def __init__(self) -> None:
        self.processes = {model: subprocess.Popen(SLEEP) for model in MODELS}
        self.told: list[str] = []

    def pids(self, _: int) -> dict[str, list[int]]:
        every = self.processes.items()
        return {model: [process.pid] for model, process in every if process.poll() is None}

    def kill(self, model: str) -> None:
        self.processes[model].kill()
        self.processes[model].wait()

    def close(self) -> None:
        for model in MODELS:
            self.kill(model)


@pytest.fixture
def house(monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    house = House()
    monkeypatch.setattr(neighbours, "model_processes", house.pids)
    yield house
    house.close()


@pytest.fixture
def watching(house: House) -> Iterator[Neighbours]:
    def told(what: str) -> Any:
        return lambda model: house.told.append(f"{model} {what}")

    watching = Neighbours(MODELS, told("lost"), told("back"))
    wait_until(lambda: len(watching._watched) == len(MODELS))
    yield watching
    watching.close()


def test_a_process_that_dies_is_lost_until_another_has_come(
    house: House, watching: Neighbours
) -> None:
    calls = Calls(watching)
    with calls.to("vocoder"):
        assert not calls.lost("vocoder")
    house.kill("vocoder")
    wait_until(lambda: watching.lost == ["vocoder"])
    with pytest.raises(StageFailed, match="vocoder: its process ended"), calls.to("vocoder"):
        pass
    with calls.to("llm"):
        pass
    house.processes["vocoder"] = subprocess.Popen(SLEEP)
    wait_until(lambda: not watching.lost)
    assert house.told == ["vocoder lost", "vocoder back"]
    with calls.to("vocoder"):
        pass


def test_only_who_waits_for_it_is_woken(watching: Neighbours) -> None:
    calls, woken = Calls(watching), []
    with (
        calls.to("llm", lambda: woken.append("llm")),
        calls.to("vocoder", lambda: woken.append("vocoder")),
    ):
        assert calls.give_up("llm") and woken == ["llm"]
    assert not calls.give_up("llm"), "it has been answered"


class Responses:
    """Some responses, then none for ever, or the end once it is allowed."""

    def __init__(self, *responses: int) -> None:
        self._responses, self.ends = responses, threading.Event()

    def __iter__(self) -> Iterator[int]:
        yield from self._responses
        self.ends.wait()

    def exec(self, *, decoupled: bool) -> Iterator[int]:
        assert decoupled
        return iter(self)


def test_who_reads_from_a_model_that_dies_is_not_left_waiting(watching: Neighbours) -> None:
    responses, calls = Responses(1, 2), Calls(watching)
    reading = iter(DecoupledCall(responses, calls, "llm"))
    assert [next(reading), next(reading)] == [1, 2]
    came: list[Exception] = []

    def read_on() -> None:
        try:
            next(reading)
        except StageFailed as error:
            came.append(error)

    thread = threading.Thread(target=read_on)
    thread.start()
    assert calls.give_up("llm")
    thread.join(HANG_S)
    assert str(came[0]).startswith("llm: its process ended")
    responses.ends.set()


def test_what_nobody_reads_is_read_to_its_end(watching: Neighbours) -> None:
    """Responses that are left would stay in the server's shared memory."""
    taken: list[int] = []

    def responses() -> Iterator[int]:
        for number in range(5):
            taken.append(number)
            yield number

    request = SimpleNamespace(exec=lambda decoupled: responses())
    reading = iter(DecoupledCall(request, Calls(watching), "llm"))
    assert next(reading) == 0
    del reading
    wait_until(lambda: taken == list(range(5)))


@pytest.mark.parametrize("url", ["", "llm:8001"])
def test_what_was_lost_is_asked_for_again_by_clients(
    monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("TRITONE_SETTINGS", json.dumps({"llm": {"url": url}}))
    lost = neighbours.lost_stage("llm")
    assert lost.stage == "llm" and url in str(lost)
    assert SpeechError("INTERNAL", str(lost)).passes
    waiting = neighbours.being_replaced(["llm", "vocoder"])
    named = f"llm at {url}, vocoder" if url else "llm, vocoder"
    assert str(waiting) == f"{named} is being started again; retry in a few seconds"

"""Flow and vocoder stop for a stream that is given up: their models know it from its requests."""

import json
import os
from collections.abc import Callable, Iterator
from importlib.util import module_from_spec, spec_from_file_location
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from backend_fakes import backend
from paths import PROJECT

from tritone import unwanted_board
from tritone.acoustic.unwanted import check_wanted
from tritone.errors import Cancelled
from tritone.triton_models import PLACE_PARAMETER
from tritone.unwanted_board import StreamPlace
from tritone.variables import UNWANTED_VARIABLE

MODULES = "log_text", "metrics", "messages", "sequence_states", "parameters", "wanted"


class Request:
    """Of a stream that has a place; inputs by name."""

    def __init__(self, place: StreamPlace, **inputs: Any) -> None:
        self._place, self.inputs = place, {n: np.array([v]) for n, v in inputs.items()}

    def parameters(self) -> str:
        return json.dumps({PLACE_PARAMETER: self._place.number})


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[StreamPlace]:
    descriptor = unwanted_board.create()
    monkeypatch.setenv(UNWANTED_VARIABLE, str(descriptor))
    yield StreamPlace(unwanted_board.UnwantedBoard(descriptor))
    os.close(descriptor)


@pytest.fixture
def load(place: StreamPlace, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Any]]:
    """A model of the repository that is not initialized."""

    def model(name: str) -> Any:
        spec = spec_from_file_location(name, PROJECT / "model_repo" / name / "1" / "model.py")
        assert spec is not None and spec.loader is not None
        module = module_from_spec(spec)
        spec.loader.exec_module(module)
        module.inner_inputs = Inputs
        return module.TritonPythonModel.__new__(module.TritonPythonModel)

    with backend(monkeypatch, *MODULES):
        yield model


class Inputs:
    """As `tritone.serving.messages.Inputs`, without Triton's tensors."""

    def __init__(self, request: Request) -> None:
        self._inputs = request.inputs

    def array(self, name: str) -> Any:
        return self._inputs.get(name)

    def scalar(self, name: str, default: Any = None) -> Any:
        return self._inputs[name][0] if name in self._inputs else default

    def flag(self, name: str, default: bool = False) -> bool:
        return bool(self.scalar(name, default))

    def integers(self, name: str) -> Any:
        return self._inputs.get(name)

    def shaped(self, name: str, *_: int) -> Any:
        return self._inputs.get(name)


def test_the_vocoder(place: StreamPlace, load: Callable[[str], Any]) -> None:
    def step(*_: Any, **__: Any) -> Any:
        check_wanted()
        return np.zeros(0, np.float32), SimpleNamespace(to_bytes=lambda: b"state")

    model = load("vocoder")
    model._stage = SimpleNamespace(bins=80, start=lambda **_: None, step=step)
    model._step(Request(place))
    place.give_up()
    with pytest.raises(Cancelled):
        model._step(Request(place))
    check_wanted()  # of nobody else


def test_the_flow(place: StreamPlace, load: Callable[[str], Any]) -> None:
    model = load("token2wav")
    model._sequences = SimpleNamespace(take=lambda _: "state")
    step = next(model._step(Request(place, CORRID=1)))
    assert not step.unwanted()
    place.give_up()
    assert step.unwanted()


def test_the_flow_of_an_utterance_in_one_pass(
    place: StreamPlace, load: Callable[[str], Any]
) -> None:
    asked: list[Callable[[], bool]] = []

    def whole(tokens: Any, voice: Any, unwanted: Callable[[], bool]) -> Any:
        asked.append(unwanted)
        return np.zeros((80, 0), np.float32)

    model = load("token2wav")
    model._sequences = SimpleNamespace(take=lambda _: None)
    model._stage, model._voice = SimpleNamespace(whole=whole), lambda _: None
    request = Request(place, CORRID=1, START=True, END=True, finalize=True, streaming=False)
    with pytest.raises(StopIteration):
        next(model._step(request))
    (unwanted,) = asked
    assert not unwanted()
    place.give_up()
    assert unwanted()

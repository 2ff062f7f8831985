"""As much of the Python backend's module as `tritone.serving` uses outside of a server."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar

import pytest

NAME = "triton_python_backend_utils"


def _error(message: str, code: int) -> SimpleNamespace:
    return SimpleNamespace(message=message, code=code)


class MetricFamily:
    """Of any name and kind. written: to all, in order: name, value of the label, number. begun:
    what gauges were set to outright."""

    GAUGE, COUNTER, HISTOGRAM = range(3)
    written: ClassVar[list[tuple[str, str, float]]] = []
    begun: ClassVar[list[tuple[str, str, float]]] = []

    def __init__(self, name: str, **_: Any) -> None:
        self._name = name

    def Metric(self, labels: dict[str, str], **_: Any) -> SimpleNamespace:
        label = next(iter(labels.values()), "")

        def write(number: float) -> None:
            self.written.append((self._name, label, float(number)))

        def begin(number: float) -> None:
            self.begun.append((self._name, label, float(number)))

        return SimpleNamespace(increment=write, observe=write, set=begin)


def _response(output_tensors: Sequence[Any] = (), error: Any = None) -> Any:
    """The error, where there is one, else the tensors."""
    return error or tuple(output_tensors)


@contextmanager
def backend(monkeypatch: pytest.MonkeyPatch, *names: str) -> Iterator[SimpleNamespace]:
    """Modules of `tritone.serving` over the fake, by name."""
    utils = ModuleType(NAME)
    for code, name in enumerate(("INVALID_ARG", "UNAVAILABLE", "CANCELLED", "INTERNAL")):
        setattr(_error, name, code)
    quiet = {f"log_{level}": lambda _: None for level in ("verbose", "warn", "error")}
    fakes = {
        "TritonError": _error,
        "InferenceResponse": _response,
        "Tensor": lambda name, values: (name, values),
        "Logger": SimpleNamespace(**quiet),
        "MetricFamily": MetricFamily,
        "TRITONSERVER_RESPONSE_COMPLETE_FINAL": 1,
    }
    for name, fake in fakes.items():
        setattr(utils, name, fake)
    monkeypatch.setitem(sys.modules, NAME, utils)
    names = ("failures", *names)
    paths = [f"tritone.serving.{name}" for name in names]
    for path in paths:
        monkeypatch.delitem(sys.modules, path, raising=False)
    try:
        yield SimpleNamespace(**{n: import_module(p) for n, p in zip(names, paths, strict=True)})
    finally:
        for path in paths:
            sys.modules.pop(path, None)

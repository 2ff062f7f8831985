"""Whether a caller has gone is asked rarely, and an answer of yes is kept."""

from types import SimpleNamespace

import pytest

from tritone.serving import cancellation
from tritone.serving.cancellation import CallerWatch


def test_looks_are_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, looks = SimpleNamespace(now=100.0), [False, True, False]
    monkeypatch.setattr(cancellation.time, "monotonic", lambda: clock.now)
    watch = CallerWatch(SimpleNamespace(is_cancelled=lambda: looks.pop(0)))
    assert not watch.gone() and len(looks) == 3  # it has just come
    clock.now += 0.021
    assert not watch.gone() and len(looks) == 2
    clock.now += 0.019
    assert not watch.gone() and len(looks) == 2
    clock.now += 0.002
    assert watch.gone() and watch.gone() and len(looks) == 1
    clock.now += 1
    assert watch.gone() and len(looks) == 1

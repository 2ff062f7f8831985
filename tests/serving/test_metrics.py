"""Metrics are written by a thread of their own, few at a time and in order."""

import threading
from collections.abc import Iterator
from itertools import count
from types import SimpleNamespace

import pytest
from backend_fakes import MetricFamily, backend
from waiting import HANG_S


@pytest.fixture
def metrics(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimpleNamespace]:
    monkeypatch.setattr(MetricFamily, "written", [])
    with backend(monkeypatch, "metrics") as modules:
        yield modules.metrics


def test_changes_of_one_metric_become_one(
    metrics: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    ready = threading.Event()
    monkeypatch.setattr(metrics, "time", SimpleNamespace(sleep=lambda _: ready.wait()))
    streams = metrics.Gauge("streams", "")
    seconds = metrics.Histogram("seconds", "", part=("flow", "vocoder"))
    requests = metrics.Counter("requests", "", outcome=("ok", "failed"))
    for number in (1, 2):
        streams.set(number)
        seconds.observe(number / 10, "flow")
        requests.add(number, "ok")
    requests.add(0, "failed")  # nothing to write
    assert not MetricFamily.written  # nobody waits for it
    ready.set()
    for metric in (streams, seconds, requests):
        metric.close()  # not before all is written
    assert MetricFamily.written == [
        ("streams", "", 2.0),
        ("seconds", "flow", 0.1),
        ("seconds", "flow", 0.2),
        ("requests", "ok", 3.0),
    ]


def test_a_gauge_is_written_by_its_differences(metrics: SimpleNamespace) -> None:
    """What Triton's own `set` does meanwhile, no other thread of the interpreter may."""
    streams = metrics.Gauge("streams", "")
    for number in (5, 2, 2, 0):
        streams.set(number)
        metrics.flush()
    streams.close()
    assert MetricFamily.written == [("streams", "", n) for n in (5.0, -3.0, -2.0)]


def test_a_gauge_begins_at_0_whatever_a_process_before_has_left(
    metrics: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MetricFamily, "begun", [])
    waiting = metrics.Gauge("waiting", "", stage=("flow", "vocoder"))
    assert MetricFamily.begun == [("waiting", "flow", 0.0), ("waiting", "vocoder", 0.0)]
    waiting.close()


def test_a_number_that_cannot_be_written_is_the_only_one_lost(metrics: SimpleNamespace) -> None:
    first, second = metrics.Gauge("first", ""), metrics.Gauge("second", "")
    first.of[""].increment = lambda _: 1 / 0
    first.set(1)
    second.set(2)
    first.close()
    second.close()
    assert MetricFamily.written == [("second", "", 2.0)]


def test_who_waits_is_not_kept_by_what_comes_after(metrics: SimpleNamespace) -> None:
    streams, over, numbers = metrics.Gauge("streams", ""), threading.Event(), count(1)

    def again(_: float) -> None:
        if not over.is_set():
            streams.set(next(numbers))

    streams.of[""].increment = again
    streams.set(next(numbers))
    waiting = threading.Thread(target=metrics.flush, daemon=True)
    waiting.start()
    waiting.join(HANG_S)
    assert not waiting.is_alive()
    over.set()
    streams.close()


def test_a_label_takes_no_other_value(metrics: SimpleNamespace) -> None:
    requests = metrics.Counter("requests", "", outcome=("ok",))
    with pytest.raises(KeyError):
        requests.add(1, "odd")

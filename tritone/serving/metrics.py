"""Metrics on Triton's own endpoint.

A family must outlive its metrics, and both must be let go in the model's `finalize`, while the
server still listens: one that is freed later crashes the process.
"""

import logging
import threading
import time
from collections.abc import Sequence
from typing import ClassVar

import triton_python_backend_utils as pb_utils

_LOG = logging.getLogger(__name__)
_GATHER_S = 0.01  # in which changes of one metric become one


class _Writer:
    """Changes metrics in a thread of its own: each change is a message to the server and back, for
    which no stream should wait.

    One thread for all, because in Triton 2.51 two that change one metric at the same time crash the
    server: each call writes the metric anew into shared memory and frees what the other's call is
    being read from.
    """

    def __init__(self) -> None:
        self._noted: dict[tuple[Metric, str], list[float]] = {}  # by value of the label
        self._begun = self._done = 0  # rounds of writing
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def note(self, metric: "Metric", value: str, number: float) -> None:
        """What comes to a change that is not written yet is written with it, after all that was
        noted before."""
        with self._changed:
            numbers = self._noted.pop((metric, value), [])
            self._noted[metric, value] = metric.merged(numbers, number)
            if not self._thread:
                self._thread = threading.Thread(target=self._run, name="metrics", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def flush(self) -> None:
        """Until all that was noted is written, whatever is noted meanwhile."""
        with self._changed:
            due = self._begun + bool(self._noted)
            self._changed.wait_for(lambda: self._done >= due)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._noted)
            time.sleep(_GATHER_S)
            with self._changed:
                noted, self._noted = self._noted, {}
                self._begun += 1
            for (metric, value), numbers in noted.items():
                try:
                    for number in numbers:
                        metric.write(value, number)
                except Exception:  # a number that is lost must not stop the others
                    _LOG.exception("a metric could not be written")
            noted.clear()  # nothing is kept of a metric that may be closed
            with self._changed:
                self._done = self._begun
                self._changed.notify_all()


_WRITER = _Writer()
flush = _WRITER.flush


class Metric:
    """Metrics of one name. of: Triton's, by value of the label."""

    kind: ClassVar[str]

    def __init__(
        self, name: str, description: str, *, bounds: Sequence[float] = (), **label: Sequence[str]
    ) -> None:
        """bounds: of a histogram. label: its name, with every value that it takes."""
        kind = getattr(pb_utils.MetricFamily, self.kind)
        self._family = pb_utils.MetricFamily(name=name, description=description, kind=kind)
        buckets = {"buckets": list(bounds)} if bounds else {}
        self.of = {
            value: self._family.Metric(labels={key: value} if key else {}, **buckets)
            for key, values in (label or {"": ("",)}).items()
            for value in values
        }

    def _note(self, value: str, number: float) -> None:
        if value not in self.of:
            raise KeyError(value)
        _WRITER.note(self, value, number)

    def merged(self, numbers: list[float], number: float) -> list[float]:
        """What is left to write when `number` comes after `numbers`."""
        raise NotImplementedError

    def write(self, value: str, number: float) -> None:
        raise NotImplementedError

    def close(self) -> None:
        flush()
        self.of.clear()
        del self._family


class Gauge(Metric):
    """A number that goes up and down. It begins at 0, whatever Triton shows of a process that died
    before, since all that follows is told by differences."""

    kind = "GAUGE"

    def __init__(
        self, name: str, description: str, *, bounds: Sequence[float] = (), **label: Sequence[str]
    ) -> None:
        super().__init__(name, description, bounds=bounds, **label)
        self._shown = dict.fromkeys(self.of, 0.0)
        for metric in self.of.values():
            metric.set(0)

    def set(self, number: float, value: str = "") -> None:
        """value: of the label."""
        self._note(value, number)

    def merged(self, numbers: list[float], number: float) -> list[float]:
        return [number]

    def write(self, value: str, number: float) -> None:
        """By the difference: Triton's own way to set a number keeps the interpreter from all other
        threads until the server has answered."""
        if number != self._shown[value]:
            self.of[value].increment(number - self._shown[value])
            self._shown[value] = number


class Counter(Metric):
    """A number that only grows."""

    kind = "COUNTER"

    def add(self, number: float, value: str = "") -> None:
        """number: zero or more; value: of the label."""
        if number:
            self._note(value, number)

    def merged(self, numbers: list[float], number: float) -> list[float]:
        return [sum(numbers) + number]

    def write(self, value: str, number: float) -> None:
        self.of[value].increment(number)


class Histogram(Metric):
    """How often values fell below each of some bounds, and their sum."""

    kind = "HISTOGRAM"

    def observe(self, number: float, value: str = "") -> None:
        """value: of the label."""
        self._note(value, number)

    def merged(self, numbers: list[float], number: float) -> list[float]:
        return [*numbers, number]

    def write(self, value: str, number: float) -> None:
        self.of[value].observe(number)

"""Metrics on Triton's own endpoint.

A family must outlive its metrics, and both must be let go in the model's `finalize`, while the
server still listens: one that is freed later crashes the process.
"""

import threading
from collections.abc import Sequence
from typing import ClassVar

import triton_python_backend_utils as pb_utils

# In Triton 2.51 two threads that change one metric at the same time crash the server: each call
# writes the metric anew into shared memory and frees what the other's call is being read from.
_CHANGING = threading.Lock()


class Metric:
    """Metrics of one name, one for each value of its label."""

    kind: ClassVar[str]

    def __init__(
        self, name: str, description: str, *, bounds: Sequence[float] = (), **label: Sequence[str]
    ) -> None:
        """bounds: of a histogram. label: its name, with every value that it takes."""
        kind = getattr(pb_utils.MetricFamily, self.kind)
        self._family = pb_utils.MetricFamily(name=name, description=description, kind=kind)
        buckets = {"buckets": list(bounds)} if bounds else {}
        self._metrics = {
            value: self._family.Metric(labels={key: value} if key else {}, **buckets)
            for key, values in (label or {"": ("",)}).items()
            for value in values
        }

    def close(self) -> None:
        self._metrics.clear()
        del self._family


class Gauge(Metric):
    """A number that goes up and down."""

    kind = "GAUGE"

    def set(self, number: float, value: str = "") -> None:
        """value: of the label."""
        with _CHANGING:
            self._metrics[value].set(number)


class Counter(Metric):
    """A number that only grows."""

    kind = "COUNTER"

    def add(self, number: float, value: str = "") -> None:
        """number: zero or more; value: of the label."""
        if number:
            with _CHANGING:
                self._metrics[value].increment(number)


class Histogram(Metric):
    """How often values fell below each of some bounds, and their sum."""

    kind = "HISTOGRAM"

    def observe(self, number: float, value: str = "") -> None:
        """value: of the label."""
        with _CHANGING:
            self._metrics[value].observe(number)

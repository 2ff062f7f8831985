"""Metrics on Triton's own endpoint.

A family must outlive its metrics, and both must be let go in the model's `finalize`, while the
server still listens: one that is freed later crashes the process.
"""

import threading
from collections.abc import Sequence
from typing import Any

import triton_python_backend_utils as pb_utils

# In Triton 2.51 two threads that change one metric at the same time crash the server: each call
# writes the metric anew into shared memory and frees what the other's call is being read from.
_CHANGING = threading.Lock()


class MetricGroup:
    """Metrics of one name, one for each value of its label."""

    def __init__(
        self, kind: str, name: str, description: str, label: str = "", values: Sequence[str] = ()
    ) -> None:
        """kind: COUNTER, GAUGE or HISTOGRAM. label: its name, with every value that it takes."""
        self._family = pb_utils.MetricFamily(
            name=name, description=description, kind=getattr(pb_utils.MetricFamily, kind)
        )
        self._metrics = {
            value: self._metric({label: value} if label else {}) for value in values or ("",)
        }

    def _metric(self, labels: dict[str, str]) -> Any:
        return self._family.Metric(labels=labels)

    def close(self) -> None:
        self._metrics.clear()
        del self._family


class Gauge(MetricGroup):
    """A number that goes up and down."""

    def __init__(
        self, name: str, description: str, label: str = "", values: Sequence[str] = ()
    ) -> None:
        super().__init__("GAUGE", name, description, label, values)

    def set(self, number: float, value: str = "") -> None:
        """value: of the label."""
        with _CHANGING:
            self._metrics[value].set(number)


class Counter(MetricGroup):
    """A number that only grows."""

    def __init__(
        self, name: str, description: str, label: str = "", values: Sequence[str] = ()
    ) -> None:
        super().__init__("COUNTER", name, description, label, values)

    def add(self, number: float, value: str = "") -> None:
        """number: zero or more; value: of the label."""
        if number:
            with _CHANGING:
                self._metrics[value].increment(number)


class Histogram(MetricGroup):
    """How often values fell below each of some bounds, and their sum."""

    def __init__(
        self,
        name: str,
        description: str,
        bounds: Sequence[float],
        label: str = "",
        values: Sequence[str] = (),
    ) -> None:
        self._bounds = list(bounds)
        super().__init__("HISTOGRAM", name, description, label, values)

    def _metric(self, labels: dict[str, str]) -> Any:
        return self._family.Metric(labels=labels, buckets=self._bounds)

    def observe(self, number: float, value: str = "") -> None:
        """value: of the label."""
        with _CHANGING:
            self._metrics[value].observe(number)

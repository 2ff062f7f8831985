"""Gauges on Triton's own metrics endpoint."""

import triton_python_backend_utils as pb_utils


class Gauge:
    """One number that Prometheus can read at /metrics."""

    def __init__(self, name: str, description: str) -> None:
        # The family must outlive its metric: Triton refuses a metric whose family is gone.
        self._family = pb_utils.MetricFamily(
            name=name, description=description, kind=pb_utils.MetricFamily.GAUGE
        )
        self._metric = self._family.Metric(labels={})

    def set(self, value: float) -> None:
        self._metric.set(value)

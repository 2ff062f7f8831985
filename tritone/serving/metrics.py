"""Gauges on Triton's own metrics endpoint."""

import triton_python_backend_utils as pb_utils


class Gauge:
    """One number that Prometheus can read at /metrics; close it in the model's `finalize`."""

    def __init__(self, name: str, description: str) -> None:
        # The family must outlive its metric: Triton refuses a metric whose family is gone.
        self._family = pb_utils.MetricFamily(
            name=name, description=description, kind=pb_utils.MetricFamily.GAUGE
        )
        self._metric = self._family.Metric(labels={})

    def set(self, value: float) -> None:
        self._metric.set(value)

    def close(self) -> None:
        """Let go while the server still listens: a metric freed later crashes the process."""
        del self._metric
        del self._family

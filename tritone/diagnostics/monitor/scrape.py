"""One reading of a metrics page."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

from tritone.diagnostics.monitor.histogram import Histogram

Labels = Mapping[str, str]


@dataclass(frozen=True)
class Scrape:
    """Sample name -> its series, each the labels and the value.

    A counter's name ends with _total here, whatever the server calls it, as in OpenMetrics: Triton
    writes nv_inference_request_success. Numbers that are none (NaN) are left out.
    """

    series: Mapping[str, Sequence[tuple[Labels, float]]]

    def value(self, name: str, **labels: str) -> float | None:
        """The sum of the series with these labels; None where there is none."""
        values = [value for _, value in self._with(name, labels)]
        return sum(values) if values else None

    def label_values(self, name: str, label: str) -> list[str]:
        """The values that `label` takes, in the page's order."""
        return list(dict.fromkeys(has[label] for has, _ in self._with(name, {}) if label in has))

    def histogram(self, name: str, **labels: str) -> Histogram | None:
        """The sum of the histograms with these labels; None where there is none."""
        buckets: dict[float, float] = {}
        for has, value in self._with(f"{name}_bucket", labels):
            bound = float(has["le"])
            buckets[bound] = buckets.get(bound, 0.0) + value
        total = self.value(f"{name}_sum", **labels)
        if math.inf not in buckets or total is None:
            return None
        ordered = sorted(buckets)
        return Histogram(tuple(ordered[:-1]), tuple(buckets[bound] for bound in ordered), total)

    def _with(self, name: str, labels: Labels) -> list[tuple[Labels, float]]:
        return [
            (has, value)
            for has, value in self.series.get(name, ())
            if labels.items() <= has.items()
        ]


def parse(text: str) -> Scrape:
    """Read Prometheus' text format; raises ValueError for text that is something else."""
    series: dict[str, list[tuple[Labels, float]]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if not math.isnan(sample.value):
                series.setdefault(sample.name, []).append((sample.labels, float(sample.value)))
    return Scrape(series)

"""Readings of a metrics page, and what happened between them."""

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

Labels = Mapping[str, str]

_OWN = "tritone_"
_GROWING = ("_total", "_count")


@dataclass(frozen=True)
class Histogram:
    """How many values were at most each of `bounds`, and how many there were at all.

    bounds: (n,) finite upper bounds, ascending. counts: (n + 1,) cumulative, the last for all
    values.
    """

    bounds: tuple[float, ...]
    counts: tuple[float, ...]

    def since(self, earlier: "Histogram") -> "Histogram | None":
        """What was observed after `earlier`; None if that is not this histogram in the past."""
        if earlier.bounds != self.bounds:
            return None
        counts = tuple(now - then for now, then in zip(self.counts, earlier.counts, strict=True))
        return Histogram(self.bounds, counts) if min(counts) >= 0 else None

    def quantile(self, q: float) -> float | None:
        """An estimate of the q-quantile, 0 to 1; None where nothing was observed.

        As PromQL's histogram_quantile: linear within the bucket that the rank falls in, the first
        one from 0 on. A rank above all bounds gives the highest bound, which is then too low.
        """
        if not self.bounds or self.counts[-1] <= 0:
            return None
        rank = q * self.counts[-1]
        index = next(i for i, count in enumerate(self.counts) if count >= rank)
        if index == len(self.bounds):
            return self.bounds[-1]
        upper = self.bounds[index]
        lower = self.bounds[index - 1] if index else min(0.0, upper)
        below = self.counts[index - 1] if index else 0.0
        inside = self.counts[index] - below
        return lower + (upper - lower) * (rank - below) / inside if inside else lower


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
        if math.inf not in buckets:
            return None
        ordered = sorted(buckets)
        return Histogram(tuple(ordered[:-1]), tuple(buckets[bound] for bound in ordered))

    def _with(self, name: str, labels: Labels) -> list[tuple[Labels, float]]:
        series = self.series.get(name, ())
        return [(has, value) for has, value in series if labels.items() <= has.items()]


def parse(text: str) -> Scrape:
    """Read Prometheus' text format; raises ValueError for text that is something else."""
    series: dict[str, list[tuple[Labels, float]]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if not math.isnan(sample.value):
                series.setdefault(sample.name, []).append((sample.labels, float(sample.value)))
    return Scrape(series)


class Window:
    """What happened between the newest scrape and the one about `seconds` before it; None where it
    cannot be known.

    A server that was started anew counts from zero again: the scrapes before are forgotten then.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._scrapes: deque[tuple[float, Scrape]] = deque()

    def add(self, at: float, scrape: Scrape) -> None:
        """at: seconds of a clock that never goes back."""
        if self._scrapes and _restarted(self._scrapes[-1][1], scrape):
            self._scrapes.clear()
        self._scrapes.append((at, scrape))
        # The first of those kept is the youngest that is at least a window old.
        while len(self._scrapes) > 2 and self._scrapes[1][0] <= at - self._seconds:
            self._scrapes.popleft()

    @property
    def newest(self) -> Scrape:
        return self._scrapes[-1][1]

    @property
    def span_s(self) -> float | None:
        """Seconds between the two scrapes; None while there is but one."""
        if len(self._scrapes) < 2:
            return None
        return self._scrapes[-1][0] - self._scrapes[0][0]

    def increase(self, counter: str, **labels: str) -> float | None:
        """How much a counter grew."""
        now = self.newest.value(counter, **labels)
        then = self._scrapes[0][1].value(counter, **labels)
        return None if self.span_s is None or now is None or then is None else now - then

    def rate(self, counter: str, **labels: str) -> float | None:
        """A counter's growth per second."""
        grown = self.increase(counter, **labels)
        return grown / self.span_s if grown is not None and self.span_s else None

    def histogram(self, name: str, **labels: str) -> Histogram | None:
        """What a histogram observed within the window."""
        now = self.newest.histogram(name, **labels)
        then = self._scrapes[0][1].histogram(name, **labels)
        return None if self.span_s is None or now is None or then is None else now.since(then)


def _restarted(before: Scrape, after: Scrape) -> bool:
    """Whether one of our counters is lower; Triton's own are not asked: unloading resets them."""
    for name, series in before.series.items():
        if name.startswith(_OWN) and name.endswith(_GROWING):
            now = {frozenset(has.items()): value for has, value in after.series.get(name, ())}
            if any(now.get(frozenset(has.items()), value) < value for has, value in series):
                return True
    return False

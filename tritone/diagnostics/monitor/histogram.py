"""Histograms as Prometheus keeps them, and what can be told of quantiles from them."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Histogram:
    """How many values were at most each of `bounds`, and how many there were at all.

    bounds: (n,) finite upper bounds, ascending. counts: (n + 1,) cumulative, the last for all
    values. total: the values' sum.
    """

    bounds: tuple[float, ...]
    counts: tuple[float, ...]
    total: float

    @property
    def count(self) -> float:
        return self.counts[-1]

    def since(self, earlier: "Histogram") -> "Histogram | None":
        """What was observed after `earlier`; None if that is not this histogram in the past."""
        if earlier.bounds != self.bounds:
            return None
        counts = tuple(now - then for now, then in zip(self.counts, earlier.counts, strict=True))
        if min(counts) < 0:
            return None
        return Histogram(self.bounds, counts, self.total - earlier.total)

    def quantile(self, q: float) -> float | None:
        """An estimate of the q-quantile; None where nothing was observed.

        As PromQL's histogram_quantile: linear within the bucket that the rank falls in, the first
        one from 0 on. A rank above all bounds gives the highest bound, which is then too low.
        """
        assert 0 <= q <= 1, q
        if not self.bounds or self.count <= 0:
            return None
        rank = q * self.count
        index = next(i for i, count in enumerate(self.counts) if count >= rank)
        if index == len(self.bounds):
            return self.bounds[-1]
        upper = self.bounds[index]
        lower = self.bounds[index - 1] if index else min(0.0, upper)
        below = self.counts[index - 1] if index else 0.0
        inside = self.counts[index] - below
        return lower + (upper - lower) * (rank - below) / inside if inside else lower

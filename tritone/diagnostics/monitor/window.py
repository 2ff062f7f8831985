"""Scrapes of the last while, and what happened between them."""

from collections import deque
from collections.abc import Sequence

from tritone.diagnostics.monitor.histogram import Histogram
from tritone.diagnostics.monitor.scrape import Labels, Scrape

_OWN = "tritone_"
_GROWING = ("_total", "_count")


class Window:
    """What happened between the newest scrape and the one about `seconds` before it.

    A server that was started anew counts from zero again: the scrapes before are forgotten then.
    """

    def __init__(self, seconds: float) -> None:
        assert seconds > 0, seconds
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
        """How much a counter grew; None where it cannot be known."""
        now, then = self.newest.value(counter, **labels), None
        if self.span_s is not None:
            then = self._scrapes[0][1].value(counter, **labels)
        return None if now is None or then is None else now - then

    def rate(self, counter: str, **labels: str) -> float | None:
        """A counter's growth per second; None where it cannot be known."""
        grown = self.increase(counter, **labels)
        return grown / self.span_s if grown is not None and self.span_s else None

    def histogram(self, name: str, **labels: str) -> Histogram | None:
        """What a histogram observed within the window; None where it cannot be known."""
        now, then = self.newest.histogram(name, **labels), None
        if self.span_s is not None:
            then = self._scrapes[0][1].histogram(name, **labels)
        return None if now is None or then is None else now.since(then)


def _restarted(before: Scrape, after: Scrape) -> bool:
    """Whether one of our counters is lower; Triton's own are not asked: unloading resets them."""
    for name, series in before.series.items():
        if name.startswith(_OWN) and name.endswith(_GROWING):
            now = _by_labels(after.series.get(name, ()))
            if any(now.get(key, value) < value for key, value in _by_labels(series).items()):
                return True
    return False


def _by_labels(series: Sequence[tuple[Labels, float]]) -> dict[frozenset[tuple[str, str]], float]:
    return {frozenset(labels.items()): value for labels, value in series}

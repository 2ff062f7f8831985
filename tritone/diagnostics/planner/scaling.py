"""How many machines an autoscaler wants."""

from collections import deque
from dataclasses import dataclass
from math import ceil


@dataclass(frozen=True)
class Autoscaling:
    """As Kubernetes' autoscaler has it. least, most: machines. Every `every_s` seconds as many are
    wanted as make `use` of their places used. A new one serves after `delay_s`; machines go when as
    few were wanted for `keep_s`."""

    least: int
    most: int
    use: float = 0.7
    every_s: float = 15.0
    delay_s: float = 120.0
    keep_s: float = 600.0


class Wanted:
    def __init__(self, rule: Autoscaling) -> None:
        self._rule = rule
        self._recent: deque[tuple[float, int]] = deque()

    def at(self, now: float, full: float, machines: int) -> int:
        """full: machines whose places the streams of this moment would fill. machines: those there
        are, or are on their way."""
        rule = self._rule
        wanted = min(max(ceil(full / rule.use), rule.least), rule.most)
        self._recent.append((now, wanted))
        while self._recent[0][0] < now - rule.keep_s:
            self._recent.popleft()
        if wanted >= machines:
            return wanted
        return min(machines, max(number for _, number in self._recent))

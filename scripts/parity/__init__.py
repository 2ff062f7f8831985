"""One comparison of our output with golden data."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class ParityResult:
    """How far one golden case is from ours.

    error: the largest difference, in the unit that the case implies; NaN never passes.
    threshold: the largest error that still counts as equal; math.inf marks an informational case.
    """

    case: str
    error: float
    threshold: float
    note: str = ""

    @property
    def passed(self) -> bool:
        return self.error <= self.threshold

    @property
    def informational(self) -> bool:
        return math.isinf(self.threshold)

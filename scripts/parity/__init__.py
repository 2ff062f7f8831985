"""One comparison of our output with golden data."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike


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


def close(
    case: str, ours: ArrayLike, golden: ArrayLike, threshold: float, note: str = ""
) -> ParityResult:
    """By the largest difference of two arrays or CPU tensors; NaN where their shapes differ."""
    left, right = np.asarray(ours, np.float64), np.asarray(golden, np.float64)
    if left.shape != right.shape:
        return ParityResult(case, math.nan, threshold, f"shape {left.shape}, golden {right.shape}")
    return ParityResult(case, float(np.abs(left - right).max(initial=0.0)), threshold, note)


def equal(
    case: str, ours: Sequence[Any], golden: Sequence[Any], threshold: float = 0.0, note: str = ""
) -> ParityResult:
    """By the number of items that differ."""
    differing = sum(a != b for a, b in zip(ours, golden, strict=False))
    return ParityResult(case, float(differing + abs(len(ours) - len(golden))), threshold, note)

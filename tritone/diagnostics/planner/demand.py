"""What is asked of a fleet: when speeches are asked for, and how long each is."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tritone.errors import InvalidRequest


@dataclass(frozen=True)
class Demand:
    """arrivals: seconds since the begin, in order. audio: seconds of each speech. filling: of the
    first speeches, which find a fleet that is still empty and are not judged."""

    arrivals: tuple[float, ...]
    audio: tuple[float, ...]
    filling: int = 0

    @property
    def rate(self) -> float:
        """Speeches a second."""
        return len(self.arrivals) / self.arrivals[-1]

    @property
    def listened(self) -> float:
        """Speeches that are heard at a time, on average."""
        return sum(self.audio) / self.arrivals[-1]

    def faster(self, factor: float) -> "Demand":
        """The same speeches, so many times as many in a time."""
        return Demand(tuple(at / factor for at in self.arrivals), self.audio, self.filling)


def poisson(
    rate: float, lengths: Sequence[float], count: int, seed: int, filling_s: float = 0.0
) -> Demand:
    """`count` speeches that come independently, `rate` a second; lengths are drawn from those.
    filling_s: seconds of which the speeches are not judged."""
    rng = np.random.default_rng(seed)
    gaps = rng.exponential(1 / rate, count)
    arrivals, audio = np.cumsum(gaps), rng.choice(lengths, count)
    filling = min(int(np.searchsorted(arrivals, filling_s)), count - 1)
    return Demand(tuple(arrivals.tolist()), tuple(audio.tolist()), filling)


def read_trace(path: Path) -> Demand:
    """A CSV with the columns arrival_s and audio_s. Raises InvalidRequest, with the line."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InvalidRequest(str(path), str(error)) from error
    found: list[tuple[float, float]] = []
    for number, row in enumerate(rows, start=2):
        try:
            at, audio = float(row["arrival_s"]), float(row["audio_s"])
        except (KeyError, TypeError, ValueError):
            raise InvalidRequest(
                str(path), f"line {number}: numbers in the columns arrival_s and audio_s are needed"
            ) from None
        if not (0 <= at < float("inf") and 0 < audio < float("inf")):
            raise InvalidRequest(
                str(path),
                f"line {number}: arrival_s is {at:g}, audio_s is {audio:g}",
            )
        found.append((at, audio))
    found.sort()
    if not found or found[-1][0] <= 0:
        raise InvalidRequest(str(path), "no speech comes after second 0")
    return Demand(tuple(at for at, _ in found), tuple(audio for _, audio in found))

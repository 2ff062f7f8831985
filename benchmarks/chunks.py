"""Cost of a chunk as an utterance grows, with all of the past visible and with bounded context."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
from tqdm import tqdm

from benchmarks.figures import Figure, figure
from benchmarks.parts import Acoustics, Stream

EARLY, LATE = 5, 60  # the chunks of one second whose costs are compared
_AROUND = 2  # neighbours on each side, which average out what the machine does beside


@dataclass(frozen=True)
class Growth:
    """CPU seconds of each chunk of the flow, medians over the rounds."""

    seconds: list[float]
    cache_bytes: int

    def at(self, chunk: int) -> float:
        return median(self.seconds[chunk - 1 - _AROUND : chunk + _AROUND])


def growth(kinds: Mapping[str, Acoustics], rounds: int) -> dict[str, Growth]:
    """The kinds in turn on the same tokens."""
    runs: dict[str, list[list[float]]] = {name: [] for name in kinds}
    cached: dict[str, int] = {}
    for _ in tqdm(range(rounds), desc="cost of a chunk", unit="round"):
        for name, acoustics in kinds.items():
            tokens = acoustics.tokens((LATE + _AROUND) * acoustics.seconds_per_chunk)
            stream = Stream(acoustics, tokens)
            runs[name].append([flow for flow, _ in stream])
            cached[name] = stream.cache_bytes
    return {
        name: Growth([median(costs) for costs in zip(*of, strict=True)], cached[name])
        for name, of in runs.items()
    }


def figures_of(grown: Mapping[str, Growth], bounded: str) -> list[Figure]:
    found = []
    for name, one in grown.items():
        wanted = "at most 1.2" if name == bounded else ""
        grew = one.at(LATE) / one.at(EARLY)
        found += [
            figure(f"flow, {name}: second {EARLY}", "s of CPU", [one.at(EARLY)]),
            figure(f"  second {LATE} over second {EARLY}", "", [grew], wanted),
            figure(f"  caches of a stream after {LATE} s", "MB", [one.cache_bytes / 1e6]),
        ]
    return found


def plot(grown: Mapping[str, Growth], path: Path) -> None:
    from matplotlib import pyplot

    figure_, axes = pyplot.subplots(figsize=(7, 4))
    for name, one in grown.items():
        axes.plot(np.arange(1, len(one.seconds) + 1), 1000 * np.array(one.seconds), label=name)
    axes.set(xlabel="chunk of one second", ylabel="flow, ms of CPU", ylim=(0, None))
    axes.legend()
    figure_.savefig(path, dpi=120, bbox_inches="tight")
    pyplot.close(figure_)

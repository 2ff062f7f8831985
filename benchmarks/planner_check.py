"""How near `tritone plan` comes to a real server: p95 of the first packet, predicted and measured.

    python -m benchmarks.planner_check

A server of its own, without limits, is measured as by `benchmarks.capacity`. Then requests arrive
at it as a Poisson process, at `--loads` of what it can do, and the same arrivals are simulated. Run
it on a machine that does nothing else.
"""

import argparse
import asyncio
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

import numpy as np

from benchmarks.capacity import FEWEST, levels, line_of
from benchmarks.overload import TEXTS, first_packets, p95, server
from tritone import resources
from tritone.diagnostics.planner.demand import Demand
from tritone.diagnostics.planner.fleet import Fleet, simulate
from tritone.diagnostics.planner.measured import Measured
from tritone_client import AsyncSpeechClient, Utterance
from tritone_client.bench import numbers
from tritone_client.load import Level, closed_loop, open_loop, poisson_arrivals, speaker

DRAWS = 15  # of lengths and first packets for the same arrivals
UNLIMITED = 100_000
NEAR = 0.2


@dataclass(frozen=True)
class Compared:
    """load: of what the server can do. rate: requests a second. The others: p95 of the first
    packet, in seconds."""

    load: float
    rate: float
    measured: float
    predicted: float

    @property
    def error(self) -> float:
        """0.1: predicted a tenth too high."""
        return self.predicted / self.measured - 1

    def __str__(self) -> str:
        return (
            f"load {self.load:.0%}, {self.rate:.2f} requests a second: first packet p95 measured "
            f"{1000 * self.measured:.0f} ms, predicted {1000 * self.predicted:.0f} ms "
            f"({self.error:+.0%})"
        )


def predicted(measured: Measured, arrivals: Sequence[float]) -> float:
    """p95 of the first packet on one machine without limits, s; the middle of several draws."""
    fleet = Fleet(measured, machines=1, limit=UNLIMITED)

    def draw(seed: int) -> float:
        lengths = np.random.default_rng(seed).choice(measured.audio_s, len(arrivals)).tolist()
        return simulate(
            fleet, Demand(tuple(arrivals), tuple(lengths), len(arrivals) // 10), seed
        ).first_packet(0.95)

    return median(map(draw, range(DRAWS)))


def most_requests(measured: Measured) -> float:
    """A second, of one machine that is full."""
    lengths = measured.audio_s
    return max(measured.speed(n) for n in range(1, measured.most + 1)) * len(lengths) / sum(lengths)


async def compare(
    url: str, counts: Sequence[int], loads: Sequence[float], requests: int
) -> tuple[Measured, list[Compared]]:
    found = []
    async with AsyncSpeechClient(url) as client:
        speak = speaker(client, [Utterance(text) for text in TEXTS], seed=1, timeout=600.0)
        await closed_loop(Level("concurrency", 1), speak, FEWEST, 1)  # warm
        measured = Measured(
            format="tritone-capacity-1",
            kind="this machine",
            model=await client.model(),
            cores=1,
            cpu_s_per_audio_s=None,
            levels=await levels(speak, counts, lambda level: print(line_of(level), flush=True)),
        )
        for load in loads:
            rate = load * most_requests(measured)
            arrivals = poisson_arrivals(rate, requests, seed=1)
            level = Level("rate", rate)
            await open_loop(level, speak, arrivals)
            steady = [s for s in level.samples if s.number >= len(arrivals) // 10]
            seen = p95(first_packets(steady))
            found.append(Compared(load, rate, seen, predicted(measured, arrivals)))
            print(found[-1], flush=True)
    return measured, found


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--model", type=Path, default=resources.embedded_voice())
    add("--streams", type=numbers(int), default=[1, 2, 3, 4, 6, 8], metavar="N,...")
    add("--loads", type=numbers(float), default=[0.3, 0.5, 0.7], metavar="SHARE,...")
    add("--requests", type=int, default=400, help="at each load (%(default)s)")
    add("--json", type=Path, help="write the figures there")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    options = build_parser().parse_args(arguments)
    unlimited = {"max_streams": 0, "max_first_audio_seconds": 0, "playback_reserve": 0}
    with server(options.model, **unlimited) as url:
        _, found = asyncio.run(compare(url, options.streams, options.loads, options.requests))
    if options.json:
        told = [{**asdict(each), "error": each.error} for each in found]
        options.json.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    far = [each for each in found if abs(each.error) > NEAR]
    for each in far:
        print(f"fault: {each.error:+.0%} at load {each.load:.0%}", file=sys.stderr)
    return 1 if far else 0


if __name__ == "__main__":
    sys.exit(main())

"""Three times what a server can carry: who is taken, who is refused, and how the taken ones fare.

    python -m benchmarks.overload --seconds 60

A server without limits is measured unloaded (one stream after the other) and full (a closed loop).
At one with `--first-audio`, requests then arrive at `--times` what the first finished in a second
when full, whatever becomes of them.
"""

import argparse
import asyncio
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import quantiles

from tritone import resources
from tritone.launcher import ServerSettings, TritonServer
from tritone.launcher.ports import free_ports
from tritone_client import AsyncSpeechClient, Utterance
from tritone_client.load import Level, Sample, closed_loop, open_loop, poisson_arrivals, speaker

TEXTS = (
    "The birch canoe slid on the smooth planks.",
    "Glue the sheet to the dark blue background. It is easy to tell the depth of a well.",
    "These days a chicken leg is a rare dish. Rice is often served in round bowls. The juice of "
    "lemons makes fine punch.",
)
UNLOADED, FULL = 40, 60  # requests
TOGETHER = 8


@dataclass(frozen=True)
class Report:
    """Seconds, but for counts. capacity: requests a second when full. p95: of the first packet."""

    unloaded_p95: float
    capacity: float
    arrived: int
    taken: int
    refused: int
    failed: int
    underruns: int
    p95: float
    slowest_refusal: float

    @property
    def faults(self) -> list[str]:
        """What was promised and does not hold."""
        found = []
        if self.p95 > 2 * self.unloaded_p95:
            found.append("the first packet's p95 is more than twice its unloaded value")
        if self.underruns:
            found.append(f"{self.underruns} underruns of streams that were taken")
        if self.slowest_refusal > 0.1:
            found.append(f"a refusal took {1000 * self.slowest_refusal:.0f} ms")
        if self.failed:
            found.append(f"{self.failed} streams failed")
        return found

    def __str__(self) -> str:
        return (
            f"unloaded: first packet p95 {1000 * self.unloaded_p95:.0f} ms\n"
            f"full: {self.capacity:.1f} requests a second\n"
            f"overloaded: {self.arrived} arrived, {self.taken} taken, {self.refused} refused; "
            f"first packet p95 {1000 * self.p95:.0f} ms "
            f"({self.p95 / self.unloaded_p95:.2f} times unloaded), {self.underruns} underruns, "
            f"slowest refusal {1000 * self.slowest_refusal:.0f} ms"
        )


def p95(values: Sequence[float]) -> float:
    return quantiles(values, n=20, method="inclusive")[-1] if len(values) > 1 else values[0]


def first_packets(samples: Sequence[Sample]) -> list[float]:
    found = [s.metrics.first_packet_s for s in samples if s.error is None]
    return [seconds for seconds in found if seconds is not None]


async def capacity(url: str) -> tuple[float, float]:
    """First packet's p95 unloaded, and requests a second when full; of a server without limits."""
    async with AsyncSpeechClient(url) as client:
        speak = speaker(client, [Utterance(text) for text in TEXTS], seed=1, timeout=60.0)
        unloaded, full = Level("concurrency", 1), Level("concurrency", TOGETHER)
        await closed_loop(unloaded, speak, UNLOADED, 1)
        await closed_loop(full, speak, FULL, TOGETHER)
    done = sum(sample.error is None for sample in full.samples)
    return p95(first_packets(unloaded.samples)), done / max(s.end_s for s in full.samples)


async def overload(url: str, rate: float, seconds: float) -> list[Sample]:
    """What became of requests that arrive at this rate."""
    async with AsyncSpeechClient(url) as client:
        speak = speaker(client, [Utterance(text) for text in TEXTS], seed=1, timeout=60.0)
        alone, over = Level("concurrency", 1), Level("rate", rate)
        await closed_loop(alone, speak, UNLOADED, 1)  # from which the forecast learns
        await open_loop(over, speak, poisson_arrivals(rate, round(rate * seconds), seed=1))
    return over.samples


def report(unloaded_p95: float, capacity: float, over: Sequence[Sample]) -> Report:
    refused = [s for s in over if s.error and s.error.status == "UNAVAILABLE"]
    taken = [s for s in over if s.error is None]
    return Report(
        unloaded_p95=unloaded_p95,
        capacity=capacity,
        arrived=len(over),
        taken=len(taken),
        refused=len(refused),
        failed=len(over) - len(taken) - len(refused),
        underruns=sum(s.metrics.underruns for s in taken),
        p95=p95(first_packets(taken)),
        slowest_refusal=max((s.metrics.total_s - s.late_s for s in refused), default=0.0),
    )


@contextmanager
def server(model: Path, **admission: float) -> Iterator[str]:
    """Its gRPC address. admission: settings of the public model."""
    http, grpc, metrics = free_ports()
    with tempfile.TemporaryDirectory() as folder:
        settings = ServerSettings(
            model_dir=model,
            http_port=http,
            grpc_port=grpc,
            metrics_port=metrics,
            cache_dir=Path(folder),
        )
        given = {name: str(value) for name, value in admission.items()}
        with TritonServer(replace(settings, parameters={settings.public: given})) as running:
            running.wait_ready()
            yield running.urls.grpc


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--model", type=Path, default=resources.embedded_voice())
    parser.add_argument("--seconds", type=float, default=60.0, help="of overload (%(default)s)")
    parser.add_argument("--times", type=float, default=3.0, help="the capacity (%(default)s)")
    parser.add_argument(
        "--first-audio", type=float, default=0.1, help="max_first_audio_seconds (%(default)s)"
    )
    parser.add_argument("--json", type=Path, help="write the figures there")
    return parser


def main() -> int:
    options = build_parser().parse_args()
    with server(options.model, max_first_audio_seconds=0, playback_reserve=0) as url:
        unloaded, full = asyncio.run(capacity(url))
    with server(options.model, max_first_audio_seconds=options.first_audio) as url:
        over = asyncio.run(overload(url, options.times * full, options.seconds))
    found = report(unloaded, full, over)
    print(found)
    if options.json:
        options.json.write_text(json.dumps(vars(found), indent=2) + "\n", encoding="utf-8")
    for fault in found.faults:
        print(f"fault: {fault}", file=sys.stderr)
    return 1 if found.faults else 0


if __name__ == "__main__":
    sys.exit(main())

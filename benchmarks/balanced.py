"""Three servers behind HAProxy: what they carry together, and what is lost when one is killed.

    python -m benchmarks.balanced --seconds 60

Everything is computed in float32, where the same request has the same samples on every server, so
what is heard is compared with what a quiet server says. On one machine the servers share its cores:
one by one says what the cores allow, and the three together can have no more.
"""

import argparse
import asyncio
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, aclosing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.request import urlopen

import numpy as np
from numpy.typing import NDArray
from prometheus_client.parser import text_string_to_metric_families

from benchmarks.balancer import Balancer, Ports, balancer
from benchmarks.overload import TEXTS
from tritone import resources
from tritone.errors import StartCrashed
from tritone.launcher import ServerSettings, TritonServer
from tritone.launcher.ports import free_ports
from tritone_client import AsyncSpeechClient, SpeechError, Utterance
from tritone_client.load import Level, Outcome, Sample, closed_loop, open_loop, poisson_arrivals
from tritone_client.metrics import StreamMeter

SERVERS = 3
TOGETHER = 9  # requests of a full load at a time
TIMEOUT_S = 120.0
RETRIES = 6  # some 6 s of pauses
LOOK_S = 0.05

EXACT = {
    "cosyvoice2": {"max_first_audio_seconds": "0", "playback_reserve": "0"},
    "token2wav": {"dtype": "fp32"},
    "vocoder": {"dtype": "fp32"},
}
"""Settings with which the same request has the same samples, and none is refused."""

Float32 = NDArray[np.float32]


@contextmanager
def several(
    model: Path, folder: Path, places: Sequence[tuple[int, ...]]
) -> Iterator[list[TritonServer]]:
    """Servers of one model, ready. places: the ports of each, HTTP, gRPC and metrics."""
    with ExitStack() as stack:
        running = []
        for number, (http, grpc, metrics) in enumerate(places):
            settings = ServerSettings(
                model_dir=model,
                http_port=http,
                grpc_port=grpc,
                metrics_port=metrics,
                cache_dir=folder / f"server-{number}",
                exit_timeout_s=120,
                parameters=EXACT,
            )
            running.append(stack.enter_context(TritonServer(settings)))
        for server in running:
            wait_ready(server)
        yield running


def wait_ready(server: TritonServer) -> None:
    """Triton 2.51 may crash at its start, when the machine is busy: then it is started once more,
    as `tritone serve` does."""
    try:
        server.wait_ready()
    except StartCrashed:
        server.stop()
        server.start()
        server.wait_ready()


def ports(server: TritonServer) -> Ports:
    return Ports(server.settings.grpc_port, server.settings.http_port)


@dataclass
class Said:
    """What is said, and how it has to sound. wrong: numbers of requests that sounded otherwise."""

    every: list[Utterance]
    expected: list[Float32]
    wrong: list[int] = field(default_factory=list)
    errors: list[tuple[float, str]] = field(default_factory=list)

    async def speak(self, client: AsyncSpeechClient, number: int) -> Outcome:
        """Of a load: request number n."""
        index, meter = number % len(self.every), StreamMeter(await client.sample_rate())
        parts = [np.zeros(0, np.float32)]
        stream = client.stream(self.every[index], timeout=TIMEOUT_S, on_retry=meter.retry)
        try:
            async with aclosing(stream):
                async for samples in stream:
                    meter.packet(samples)
                    parts.append(samples)
        except SpeechError as error:
            self.errors.append((time.monotonic(), str(error)))
            return meter.finish(), error
        if not np.array_equal(np.concatenate(parts), self.expected[index]):
            self.wrong.append(number)
        return meter.finish(), None


async def known(url: str) -> Said:
    """As a quiet server says it."""
    every = [Utterance(text, seed=seed) for text in TEXTS for seed in range(3)]
    async with AsyncSpeechClient(url) as client:
        return Said(every, [await client.speak(utterance) for utterance in every])


async def full(url: str, said: Said, requests: int) -> float:
    """Seconds of audio in a second, of a closed loop."""
    level = Level("concurrency", TOGETHER)
    async with AsyncSpeechClient(url, retries=RETRIES) as client:
        await client.sample_rate()  # once, and not by each caller
        await closed_loop(level, lambda number: said.speak(client, number), requests, TOGETHER)
    audio = sum(sample.metrics.audio_s for sample in level.samples if sample.error is None)
    return audio / max(sample.end_s for sample in level.samples)


@dataclass(frozen=True)
class Loss:
    """What became of requests around the loss of a server. streams: that it spoke then. noticed_s:
    from the kill until the last error of a stream that was lost with it."""

    samples: list[Sample]
    streams: int
    wrong: int
    noticed_s: float | None

    def __str__(self) -> str:
        errors = sum(sample.error is not None for sample in self.samples)
        again = sum(sample.metrics.retries for sample in self.samples)
        dry = sum(sample.metrics.underruns for sample in self.samples if sample.error is None)
        late = "" if self.noticed_s is None else f", the last {self.noticed_s:.2f} s after the kill"
        return (
            f"{len(self.samples)} requests, {self.streams} of them there, {errors} errors{late}, "
            f"asked again {again} times, "
            f"{self.wrong} with other samples than a quiet server's, {dry} underruns"
        )


async def lost(
    url: str, said: Said, victim: TritonServer, rate: float, seconds: float, *, resume: bool
) -> Loss:
    """Requests at this rate; in the middle of it the server is killed, as soon as it speaks."""
    said.wrong, said.errors = [], []
    level, killed, streams = Level("rate", rate), 0.0, 0
    arrivals = poisson_arrivals(rate, round(rate * seconds), seed=1)

    async def kill() -> None:
        nonlocal killed, streams
        await asyncio.sleep(arrivals[len(arrivals) // 2])
        while not (streams := await asyncio.to_thread(streams_of, victim)):
            await asyncio.sleep(LOOK_S)
        killed = time.monotonic()
        os.kill(victim.pid, signal.SIGKILL)

    async with AsyncSpeechClient(url, retries=RETRIES, resume=resume) as client:
        await client.sample_rate()
        load = open_loop(level, lambda number: said.speak(client, number), arrivals)
        await asyncio.gather(load, kill())
    after = [at - killed for at, _ in said.errors if at >= killed]
    return Loss(level.samples, streams, len(said.wrong), max(after, default=None))


def streams_of(server: TritonServer) -> int:
    """That it speaks now."""
    with urlopen(server.urls.metrics, timeout=TIMEOUT_S) as answer:
        families = text_string_to_metric_families(answer.read().decode())
        return int(next(f.samples[0].value for f in families if f.name == "tritone_streams"))


def renew(server: TritonServer) -> None:
    """Start one anew that was killed."""
    server.stop()
    server.start()
    wait_ready(server)


def measure(
    running: Sequence[TritonServer], front: Balancer, requests: int, seconds: float
) -> dict[str, object]:
    """Print the figures as they come; all of them at the end."""
    said = asyncio.run(known(running[0].urls.grpc))
    alone = [asyncio.run(full(server.urls.grpc, said, requests)) for server in running]
    print(f"one by one: {', '.join(f'{speed:.2f}' for speed in alone)} s of audio a second")
    together = asyncio.run(full(front.url, said, requests))
    share = together / max(alone)
    print(f"balanced: {together:.2f} s of audio a second, {share:.2f} of the best one's")
    print(f"streams of each: {front.taken()}; {len(said.wrong)} with other samples")
    found: dict[str, object] = {"alone": alone, "balanced": together, "taken": front.taken()}
    mean = sum(map(len, said.expected)) / len(said.expected) / asyncio.run(rate_of(front.url))
    for resume in (False, True):
        half = 0.5 * together / mean  # requests a second
        what = asyncio.run(lost(front.url, said, running[0], half, seconds, resume=resume))
        print(f"one of {len(running)} killed at half the load, resume {resume}: {what}")
        found[f"killed, resume {resume}"] = {
            "requests": len(what.samples),
            "streams": what.streams,
            "errors": [str(sample.error) for sample in what.samples if sample.error],
            "retries": sum(sample.metrics.retries for sample in what.samples),
            "wrong": what.wrong,
            "noticed_s": what.noticed_s,
        }
        renew(running[0])
    return found


async def rate_of(url: str) -> int:
    async with AsyncSpeechClient(url) as client:
        return await client.sample_rate()


def faults(found: dict[str, object]) -> list[str]:
    """What was promised and does not hold."""
    told = []
    plain, resumed = found["killed, resume False"], found["killed, resume True"]
    assert isinstance(plain, dict) and isinstance(resumed, dict)
    if plain["noticed_s"] is not None and plain["noticed_s"] > 2:
        told.append(f"an error came {plain['noticed_s']:.1f} s after the kill")
    if resumed["errors"]:
        told.append(f"{len(resumed['errors'])} errors with resume: {resumed['errors'][0]}")
    if wrong := plain["wrong"] + resumed["wrong"]:
        told.append(f"{wrong} requests with other samples than a quiet server's")
    return told


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--model", type=Path, default=resources.embedded_voice())
    parser.add_argument("--requests", type=int, default=60, help="of a full load (%(default)s)")
    parser.add_argument("--seconds", type=float, default=60.0, help="of half a load (%(default)s)")
    parser.add_argument("--json", type=Path, help="write the figures there")
    return parser


def main() -> int:
    options = build_parser().parse_args()
    each = iter(free_ports(3 * SERVERS))
    with (
        tempfile.TemporaryDirectory() as folder,
        several(options.model, Path(folder), [*zip(each, each, each, strict=True)]) as running,
        balancer([ports(server) for server in running], Path(folder)) as front,
    ):
        found = measure(running, front, options.requests, options.seconds)
    if options.json:
        options.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    problems = faults(found)
    for problem in problems:
        print(f"fault: {problem}", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())

"""Load on a server, closed or open loop, every request measured as its listener would hear it."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from tritone_client.aio import AsyncSpeechClient
from tritone_client.metrics import StreamMeter, StreamMetrics
from tritone_client.request import Utterance
from tritone_client.response import SpeechError

Kind = Literal["concurrency", "rate"]
Outcome = tuple[StreamMetrics, SpeechError | None]
# speaks request number n of a level and says how it went
Speak = Callable[[int], Awaitable[Outcome]]


@dataclass(frozen=True)
class Sample:
    """One request that has ended.

    due_s: when it was to be sent, in seconds since the level began. late_s: how much later than
    that it was sent. metrics: of the stream, its times counted from due_s. error: None if it ended
    well and held audio.
    """

    number: int
    due_s: float
    late_s: float
    metrics: StreamMetrics
    error: SpeechError | None = None

    @property
    def end_s(self) -> float:
        return self.due_s + self.metrics.total_s

    def as_dict(self) -> dict[str, Any]:
        times = {"due_s": round(self.due_s, 4), "late_s": round(self.late_s, 4)}
        error = None if self.error is None else str(self.error)
        return {"number": self.number, **times, **self.metrics.as_dict(), "error": error}


@dataclass
class Level:
    """One load: `value` streams at a time (concurrency), or arrivals a second (rate). It begins
    with the loop that it is given to."""

    kind: Kind
    value: float
    on_sample: Callable[[], object] = lambda: None
    clock: Callable[[], float] = time.perf_counter
    samples: list[Sample] = field(default_factory=list)
    most_in_flight: int = 0

    def __post_init__(self) -> None:
        self._in_flight = 0
        self.begin()

    def begin(self) -> None:
        self._begin = self.clock()

    def now(self) -> float:
        """Seconds since the level began."""
        return self.clock() - self._begin

    async def request(self, number: int, speak: Speak, due_s: float | None = None) -> None:
        """Send a request now and note how it went; without due_s it is due now."""
        sent = self.now()
        due = sent if due_s is None else due_s
        self._in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self._in_flight)
        try:
            metrics, error = await speak(number)
        finally:
            self._in_flight -= 1
        late = sent - due
        self.samples.append(Sample(number, due, late, counted_from(metrics, late), error))
        self.on_sample()


def poisson_arrivals(rate: float, count: int, seed: int) -> tuple[float, ...]:
    """When `count` requests arrive, in seconds: independent exponential gaps of mean 1 / rate.

    With one seed, the arrivals at another rate are the same ones on another scale.
    """
    gaps = np.random.default_rng(seed).exponential(size=count) / rate
    return tuple(np.cumsum(gaps).tolist())


def counted_from(metrics: StreamMetrics, late_s: float) -> StreamMetrics:
    """The metrics with their times counted from late_s before the request was sent."""
    total = metrics.total_s + late_s
    first, audible = metrics.first_packet_s, metrics.first_audible_s
    return replace(
        metrics,
        first_packet_s=None if first is None else first + late_s,
        first_audible_s=None if audible is None else audible + late_s,
        total_s=total,
        rtf=total / metrics.audio_s if metrics.audio_s else None,
    )


async def closed_loop(level: Level, speak: Speak, requests: int, concurrency: int) -> None:
    """Keep `concurrency` streams going: the next request is sent when one has ended."""
    level.begin()
    numbers = iter(range(requests))

    async def caller() -> None:
        for number in numbers:
            await level.request(number, speak)

    await asyncio.gather(*(caller() for _ in range(concurrency)))


async def open_loop(level: Level, speak: Speak, arrivals: Sequence[float]) -> None:
    """Send each request when it is due, whatever became of those before it."""
    level.begin()

    async def arrive(number: int, due_s: float) -> None:
        await asyncio.sleep(due_s - level.now())
        await level.request(number, speak, due_s)

    await asyncio.gather(*(arrive(number, due_s) for number, due_s in enumerate(arrivals)))


def speaker(
    client: AsyncSpeechClient, utterances: Sequence[Utterance], seed: int | None, timeout: float
) -> Speak:
    """Request n speaks utterance n, counted round, with seed + n where it has no seed of its own.

    seed None leaves that to the server. timeout: seconds for one request.
    """

    async def speak(number: int) -> Outcome:
        utterance = utterances[number % len(utterances)]
        if utterance.seed is None and seed is not None:
            utterance = replace(utterance, seed=seed + number)
        try:
            meter = StreamMeter(await client.sample_rate())
        except SpeechError as error:
            return StreamMeter(1).finish(), error  # nothing was sent and nothing is heard
        try:
            async for samples in client.stream(utterance, timeout=timeout, on_retry=meter.retry):
                meter.packet(samples)
        except SpeechError as error:
            return meter.finish(), error
        metrics = meter.finish()
        silent = SpeechError("NO_AUDIO", "the stream ended well, without a sample in it")
        return metrics, None if metrics.packets else silent

    return speak

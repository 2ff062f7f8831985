"""Where the time of one utterance goes: stages that note how long they were waited for."""

import time
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from tritone.arrays import Float32
from tritone.llm.contract import Generation, GenerationRequest, Increment
from tritone.local.stages import LocalStages
from tritone.synthesis.rules import FlowSession, VocoderSession
from tritone.synthesis.values import Segment, SynthesisRequest
from tritone.voice import Voice

ItemT = TypeVar("ItemT")


@dataclass
class StageSeconds:
    """Seconds that one utterance waited for each stage.

    recording: reading the recording of the voice. voice: turning it into a voice (resampling,
    speech tokenizer, mel, speaker encoder), or loading the registered one. text: normalising,
    cutting and tokenising. llm: speech tokens. flow: tokens to frames. vocoder: frames to samples.
    save: writing the file.

    Each is written by one thread alone; stages of one utterance may overlap.
    """

    recording: float = 0.0
    voice: float = 0.0
    text: float = 0.0
    llm: float = 0.0
    flow: float = 0.0
    vocoder: float = 0.0
    save: float = 0.0

    @contextmanager
    def measure(self, stage: str) -> Iterator[None]:
        begin = time.perf_counter()
        try:
            yield
        finally:
            setattr(self, stage, getattr(self, stage) + time.perf_counter() - begin)

    def waits(self, stage: str, source: Iterable[ItemT]) -> Generator[ItemT, None, None]:
        """The items of `source`, the time until each of them measured."""
        items = iter(source)
        while True:
            with self.measure(stage):
                item = next(items, None)
            if item is None:
                return
            yield item


class MeasuredStages:
    """`pipeline.Stages` for one utterance, over the stages that all utterances share."""

    def __init__(self, stages: LocalStages, seconds: StageSeconds) -> None:
        self._stages, self._seconds = stages, seconds

    def prepare(self, request: SynthesisRequest) -> Iterator[Segment]:
        with self._seconds.measure("voice"):
            self._stages.frontend.voice_of(request)  # cached: `prepare` finds it there
        with self._seconds.measure("text"):
            segments = self._stages.prepare(request)
        return self._seconds.waits("text", segments)

    def generate(self, request: GenerationRequest) -> "_MeasuredGeneration":
        with self._seconds.measure("llm"):
            return _MeasuredGeneration(self._stages.generate(request), self._seconds)

    def open_flow(self, voice: Voice, *, streaming: bool) -> "_MeasuredFlow":
        with self._seconds.measure("flow"):
            session = self._stages.open_flow(voice, streaming=streaming)
        return _MeasuredFlow(session, self._seconds)

    def open_vocoder(self, *, seed: int, speed: float) -> "_MeasuredVocoder":
        with self._seconds.measure("vocoder"):
            session = self._stages.open_vocoder(seed=seed, speed=speed)
        return _MeasuredVocoder(session, self._seconds)


@dataclass(frozen=True)
class _MeasuredGeneration:
    generation: Generation
    seconds: StageSeconds

    def __iter__(self) -> Iterator[Increment]:
        return self.seconds.waits("llm", self.generation)

    def cancel(self) -> None:
        self.generation.cancel()


@dataclass(frozen=True)
class _MeasuredFlow:
    session: FlowSession
    seconds: StageSeconds

    def step(self, tokens: Increment, *, finalize: bool) -> Float32:
        with self.seconds.measure("flow"):
            return self.session.step(tokens, finalize=finalize)

    def close(self) -> None:
        self.session.close()


@dataclass(frozen=True)
class _MeasuredVocoder:
    session: VocoderSession
    seconds: StageSeconds

    def step(self, frames: Float32, *, finalize: bool) -> Float32:
        with self.seconds.measure("vocoder"):
            return self.session.step(frames, finalize=finalize)

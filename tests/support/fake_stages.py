"""`pipeline.Stages` without models: what it was asked is written down, what it gives is set."""

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from frontend_fixtures import OFFSET, TASK_ID, model_config, voice
from waiting import HANG_S

from tritone.arrays import Float32, Int32
from tritone.families.cosyvoice2.config import TextConfig
from tritone.families.cosyvoice2.rules import CosyVoice2Rules
from tritone.families.cosyvoice2.voice import Voice
from tritone.llm.contract import GenerationRequest, Increment, Prompt, SamplingParams
from tritone.synthesis.pipeline import Settings, synthesize
from tritone.synthesis.rules import Hops, SpeechRules
from tritone.synthesis.timing import Timing
from tritone.synthesis.values import AudioChunk, Segment, SynthesisRequest

SAMPLES = 960  # for each token
CONFIG = model_config(TextConfig())
RULES = CosyVoice2Rules(CONFIG, Hops())
SEEDED = SamplingParams(seed=7)


def segment(text: str, tokens: int = 10, prompt: int = 0) -> Segment:
    ids = np.frombuffer(text.encode(), np.uint8).astype(np.int32)
    if prompt:
        ids = np.append(ids, TASK_ID).astype(np.int32)
    return Segment(Prompt(ids), tokens, text, voice(tokens=prompt), notes=(f"note of {text}",))


def codes(count: int, first: int = 0) -> list[int]:
    return [(first + i) % 6561 for i in range(count)]


@dataclass
class FakeStages:
    """speeches: for each generation in turn its codes, given `increment` at a time. said: likewise
    the place in the prompt that each was said for, of a language model that tells.

    fail: called with the name of each thing done, to raise in its place. hold: a generation gives
    so many codes and then waits until it is cancelled. The sound of a token is SAMPLES samples of
    its code / 6561. frames, sound: what comes of the frames of a flow session, and of the samples
    of a vocoder session, by its number.
    """

    segments: Sequence[Segment]
    speeches: Sequence[Sequence[int]]
    said: Sequence[Sequence[int]] = ()
    increment: int = 1
    fail: Callable[[str], None] = lambda _: None
    hold: int | None = None
    frames: Callable[[int, Float32], Float32] = lambda _, frames: frames
    sound: Callable[[int, Float32], Float32] = lambda _, wave: wave
    events: list[str] = field(default_factory=list)
    asked: list[GenerationRequest] = field(default_factory=list)
    voices: list[Voice] = field(default_factory=list)
    generations: list["FakeGeneration"] = field(default_factory=list)
    flows: list["FakeFlow"] = field(default_factory=list)
    vocoders: list[tuple[int, float]] = field(default_factory=list)
    takes_open_text: bool = True
    prepared: bool = True  # the front end's iterator is closed, or was never open

    def note(self, event: str) -> None:
        self.events.append(event)
        self.fail(event)

    def prepare(self, request: SynthesisRequest) -> Iterator[Segment]:
        self.prepared = False
        try:
            for number, piece in enumerate(self.segments):
                self.note(f"prepare {number}")
                yield piece
        finally:
            self.prepared = True

    def generate(self, request: GenerationRequest) -> "FakeGeneration":
        self.note(f"generate {len(self.asked)}")
        self.asked.append(request)
        self.generations.append(FakeGeneration(self, len(self.generations), request.max_tokens))
        return self.generations[-1]

    def open_flow(self, voice: Voice, *, streaming: bool) -> "FakeFlow":
        self.note(f"open flow {len(self.flows)}")
        self.voices.append(voice)
        self.flows.append(FakeFlow(self, len(self.flows)))
        return self.flows[-1]

    def open_vocoder(self, *, seed: int, speed: float) -> "FakeVocoder":
        self.note(f"open vocoder {len(self.vocoders)}")
        self.vocoders.append((seed, speed))
        return FakeVocoder(self, len(self.vocoders) - 1)

    @property
    def all_freed(self) -> bool:
        generations = all(g.ended or g.cancelled for g in self.generations)
        return generations and all(f.closed for f in self.flows) and self.prepared


class FakeGeneration:
    def __init__(self, stages: FakeStages, index: int, most: int) -> None:
        self.stages, self.index, self.most = stages, index, most
        self.stopped = threading.Event()
        self.ended = False
        self.given = 0

    @property
    def cancelled(self) -> bool:
        return self.stopped.is_set()

    def __iter__(self) -> Iterator[Increment]:
        speech = self.stages.speeches[self.index][: self.most]
        for begin in range(0, len(speech), self.stages.increment):
            if begin == self.stages.hold:
                assert self.stopped.wait(HANG_S), "nobody cancelled it"
            if self.cancelled:
                return
            self.stages.note(f"tokens of {self.index}")
            given = speech[begin : begin + self.stages.increment]
            self.given += len(given)
            yield Increment(np.array(given, dtype=np.int32) + OFFSET, said=self._said(begin))
        self.ended = True

    def _said(self, begin: int) -> Int32 | None:
        if not self.stages.said:
            return None
        said = self.stages.said[self.index][begin : begin + self.stages.increment]
        return np.array(said, np.int32)

    def cancel(self) -> None:
        self.stopped.set()


class FakeFlow:
    def __init__(self, stages: FakeStages, index: int) -> None:
        self.stages, self.index = stages, index
        self.closed = False
        self.tokens: list[list[int]] = []
        self.thread = ""

    @property
    def taken(self) -> int:
        return sum(map(len, self.tokens))

    def step(self, tokens: Increment, *, finalize: bool) -> Float32:
        assert not self.closed
        self.stages.note(f"flow {self.index}{' ends' if finalize else ''}")
        self.tokens.append(tokens.ids.tolist())
        self.thread = threading.current_thread().name
        mel = np.repeat(tokens.ids.astype(np.float32) / 6561, 2)
        return self.stages.frames(self.index, np.broadcast_to(mel, (80, len(mel))).copy())

    def close(self) -> None:
        self.closed = True


class FakeVocoder:
    def __init__(self, stages: FakeStages, index: int) -> None:
        self.stages, self.index = stages, index
        self.ended = False

    def step(self, frames: Float32, *, cuts: Sequence[int] = (), finalize: bool) -> Float32:
        assert not self.ended and all(0 < cut < frames.shape[1] for cut in cuts)
        self.ended = finalize
        self.stages.note("vocoder ends" if finalize else "vocoder")
        return self.stages.sound(self.index, np.repeat(frames[0], SAMPLES // 2))


def request(**changes: Any) -> SynthesisRequest:
    return SynthesisRequest(**{"text": "hello", "sampling": SEEDED, **changes})


def patient(**changes: Any) -> Settings:
    """Time for every retry, however slow the machine is."""
    return Settings(**{"max_retry_seconds": HANG_S, **changes})


def speak(
    stages: FakeStages,
    settings: Settings | None = None,
    rules: SpeechRules = RULES,
    timing: Timing | None = None,
    **changes: Any,
) -> list[AudioChunk]:
    asked, settings = request(**changes), settings or patient()
    chunks = list(synthesize(asked, stages, rules, settings, timing=timing))
    assert stages.all_freed
    return chunks


def spoken(chunks: list[AudioChunk]) -> list[int]:
    """The codes that are heard."""
    wave = np.concatenate([chunk.samples for chunk in chunks])
    return np.rint(wave[SAMPLES // 2 :: SAMPLES] * 6561).astype(int).tolist()


def one(speech: list[int], **options: Any) -> FakeStages:
    """One segment, with text enough for its speech."""
    return FakeStages([segment("one", max(10, len(speech) // 10))], [speech], **options)


def wave_of(chunks: list[AudioChunk]) -> Float32:
    return np.concatenate([chunk.samples for chunk in chunks])


def sound_of(speech: list[int]) -> Float32:
    return np.repeat(np.array(speech, np.float32) / 6561, SAMPLES)


def spoil(value: float, session: int = 0, after: int = 0) -> Callable[[int, Float32], Float32]:
    """For `frames` and `sound`: a value in the place of one session's, from call `after` on."""
    calls = [0]

    def spoiled(index: int, values: Float32) -> Float32:
        if index != session:
            return values
        calls[0] += 1
        return np.full_like(values, value) if calls[0] > after else values

    return spoiled

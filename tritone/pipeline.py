"""From a request to audio chunks, over whatever runs the stages: Triton, this process, or fakes.

The language model of a segment runs on while the flow and the vocoder work on its earlier tokens,
and the next segment's starts as soon as this one's has ended.
"""

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np

from tritone.chunking import ChunkPlanner, ChunkPolicy
from tritone.config import ModelConfig
from tritone.errors import Cancelled, StageFailed
from tritone.guard import GuardPolicy, TokenGuard
from tritone.limits import Limits, check
from tritone.timing import Timing
from tritone.types import (
    AudioChunk,
    Float32,
    Generation,
    GenerationRequest,
    Int32,
    Segment,
    SynthesisRequest,
    Voice,
)


class FlowSession(Protocol):
    """One segment's way through the flow."""

    def step(self, tokens: Int32, *, finalize: bool) -> Float32:
        """Take new codes; return the mel frames that became final, (mel, frames)."""
        ...

    def close(self) -> None:
        """Free what the session holds; safe after an error and when called twice."""
        ...


class VocoderSession(Protocol):
    """One segment's way through the vocoder."""

    def step(self, mel: Float32, *, finalize: bool) -> Float32:
        """Take new frames, (mel, frames); return the samples that are ready."""
        ...


class Stages(Protocol):
    """The seam between the pipeline and what runs the models."""

    def prepare(self, request: SynthesisRequest) -> Iterator[Segment]: ...

    def generate(self, request: GenerationRequest) -> Generation: ...

    def open_flow(self, voice: Voice, *, streaming: bool) -> FlowSession: ...

    def open_vocoder(self, *, seed: int, speed: float) -> VocoderSession: ...


@dataclass(frozen=True)
class Settings:
    """What the deployment decides."""

    limits: Limits = field(default_factory=Limits)
    guard: GuardPolicy = field(default_factory=GuardPolicy)
    first_hop: int = 15  # tokens that the first audio waits for, where the prompt allows it
    max_hop: int = 100
    max_segment_tokens: int = 1500  # one minute; ends a generation that has lost the text
    max_attempts: int = 2  # generations of one segment before anything of it is heard

    def chunk_policy(self, config: ModelConfig) -> ChunkPolicy:
        return ChunkPolicy(
            chunk=config.flow.chunk_size,
            lookahead=config.flow.pre_lookahead_len,
            first_hop=self.first_hop,
            max_hop=self.max_hop,
        )


def synthesize(
    request: SynthesisRequest,
    stages: Stages,
    config: ModelConfig,
    settings: Settings,
    cancelled: Callable[[], bool] = lambda: False,
) -> Iterator[AudioChunk]:
    """Speak a request: chunks of audio, the last of which carries the whole timing record.

    Raises InvalidRequest before any work, StageFailed when a stage breaks, and Cancelled once
    `cancelled()` is true. However it ends, also by closing the iterator, all it held is freed.
    """
    check(request, settings.limits)
    run = _Run(request, stages, config, settings, cancelled)
    segments = iter(stages.prepare(request))
    speaking: _SegmentSpeech | None = None
    try:
        speaking = run.begin(next(segments, None))
        if speaking is None:
            raise StageFailed("frontend", "gave no segment")
        run.timing.mark("frontend")
        while speaking:
            for wave in speaking.waveforms():
                yield run.emit(wave)
            speaking.followed_by = run.begin(next(segments, None))
            yield run.emit(speaking.last_waveform(), last=speaking.followed_by is None)
            speaking.close()
            speaking = speaking.followed_by
    finally:
        while speaking:
            speaking.close()
            speaking = speaking.followed_by


class _Run:
    """What the segments of one request share."""

    def __init__(
        self,
        request: SynthesisRequest,
        stages: Stages,
        config: ModelConfig,
        settings: Settings,
        cancelled: Callable[[], bool],
    ) -> None:
        self.request, self.stages, self.config, self.settings = request, stages, config, settings
        self.timing = Timing()
        self._cancelled = cancelled
        given = request.sampling.seed
        self.seed = int(np.random.SeedSequence().generate_state(1)[0]) if given is None else given

    def check_cancelled(self) -> None:
        if self._cancelled():
            raise Cancelled("the caller no longer wants the audio")

    def begin(self, segment: Segment | None) -> "_SegmentSpeech | None":
        """Start a segment's generation; None passes through."""
        if segment is None:
            return None
        self.timing.segments += 1
        for note in segment.notes:
            self.timing.note(note)
        return _SegmentSpeech(self, segment)

    def emit(self, wave: Float32, *, last: bool = False) -> AudioChunk:
        timing = self.timing
        if not np.isfinite(wave).all():
            raise StageFailed("vocoder", "gave samples that are not finite")
        timing.samples += len(wave)
        timing.packets += 1
        timing.mark("first_packet")
        if last:
            timing.mark("total")
        return AudioChunk(wave, timing.record(self.config.sample_rate), last)


class _SegmentSpeech:
    """One segment on its way from text ids to audio."""

    def __init__(self, run: _Run, segment: Segment) -> None:
        self._run, self._segment = run, segment
        self.followed_by: _SegmentSpeech | None = None
        self._policy = run.settings.chunk_policy(run.config)
        self._voice = segment.voice
        if run.request.streaming:
            trim = self._policy.prompt_trim(len(segment.voice.prompt_tokens))
            self._voice = trim_prompt(segment.voice, trim, run.config.flow.token_mel_ratio)
        self._heard = False
        self._attempt = 0
        self._begin()

    def _begin(self) -> None:
        """Start a generation, and open the flow, which prepares the voice meanwhile."""
        run = self._run
        self._planner = ChunkPlanner(self._policy, len(self._voice.prompt_tokens))
        self._vocoder = run.stages.open_vocoder(seed=run.seed, speed=run.request.speed)
        self._generation = self._generate()
        try:
            self._flow = run.stages.open_flow(self._voice, streaming=run.request.streaming)
        except BaseException:
            self._generation.cancel()
            raise

    def waveforms(self) -> Iterator[Float32]:
        """Audio of every hop that is complete before the generation ends."""
        while not (yield from self._attempted()):
            self._run.timing.retries += 1
            self._attempt += 1
            self._flow.close()
            self._begin()

    def last_waveform(self) -> Float32:
        """What is left, once the generation has ended."""
        return self._say(self._planner.rest(), finalize=True)

    def close(self) -> None:
        self._generation.cancel()
        self._flow.close()

    def _attempted(self) -> Generator[Float32, None, bool]:
        """One generation; returns whether its tokens may be spoken to the end."""
        guard = TokenGuard(self._run.settings.guard, self._run.config.llm.speech_codes)
        problem, timing = "", self._run.timing
        for ids in self._generation:
            self._run.check_cancelled()
            timing.mark("first_token")
            codes = ids - np.int32(self._run.config.llm.speech_offset)
            problem = guard.admit(codes)
            if problem:
                self._generation.cancel()
                break
            timing.tokens += len(codes)
            self._planner.push(codes)
            yield from self._ready_waveforms()
        problem = problem or guard.ended(self._segment.target_tokens)
        if not problem:
            return True
        timing.note(f"generation {self._attempt + 1} of {self._segment.text!r}: {problem}")
        if self._heard or (guard.count and self._attempt + 1 == self._run.settings.max_attempts):
            return True
        if self._attempt + 1 == self._run.settings.max_attempts:
            raise StageFailed("tensorrt_llm", f"{problem}, {self._attempt + 1} times")
        return False

    def _ready_waveforms(self) -> Iterator[Float32]:
        while self._run.request.streaming and self._planner.ready:
            timing = self._run.timing
            timing.mark("first_hop")
            ahead = timing.ahead(self._run.config.sample_rate)
            tokens = self._planner.take(ahead, timing.elapsed() / timing.tokens)
            wave = self._say(tokens, finalize=False)
            if len(wave):
                self._heard = True
                yield wave

    def _say(self, tokens: Int32, *, finalize: bool) -> Float32:
        timing = self._run.timing
        self._run.check_cancelled()
        begin = timing.elapsed()
        mel = self._flow.step(tokens, finalize=finalize)
        between = timing.elapsed()
        self._run.check_cancelled()
        wave = self._vocoder.step(mel, finalize=finalize)
        timing.flow += between - begin
        timing.vocoder += timing.elapsed() - between
        return wave

    def _generate(self) -> Generation:
        sampling, target = self._run.config.sampling, self._segment.target_tokens
        longest = int(sampling.max_tokens_per_text_token * target)
        seed = self._run.seed + self._run.timing.segments - 1 + 1000 * self._attempt
        return self._run.stages.generate(
            GenerationRequest(
                input_ids=self._segment.input_ids,
                min_tokens=int(sampling.min_tokens_per_text_token * target),
                max_tokens=max(1, min(longest, self._run.settings.max_segment_tokens)),
                sampling=replace(self._run.request.sampling, seed=seed),
            )
        )


def trim_prompt(voice: Voice, tokens: int, ratio: int) -> Voice:
    """A voice without the first `tokens` of its prompt and their mel frames."""
    if not tokens:
        return voice
    return replace(
        voice,
        prompt_tokens=voice.prompt_tokens[tokens:],
        prompt_mel=voice.prompt_mel[tokens * ratio :],
    )

"""One segment of a request on its way from text ids to mel frames."""

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, replace

import numpy as np

from tritone.arrays import Float32, Int32
from tritone.config import ModelConfig
from tritone.errors import Cancelled, StageFailed
from tritone.families.cosyvoice2.chunk_planner import ChunkPlanner, ChunkPolicy
from tritone.families.cosyvoice2.guard import GuardPolicy, TokenGuard
from tritone.families.cosyvoice2.voice import Voice
from tritone.llm.contract import Generation, GenerationRequest
from tritone.synthesis.deadlines import StageTurns
from tritone.synthesis.run_ahead import RunAhead
from tritone.synthesis.stages import Stages
from tritone.synthesis.timing import Timing
from tritone.synthesis.values import Segment, SynthesisRequest

SEED_RANGE = 1 << 64


@dataclass(frozen=True)
class SpeechPolicy:
    """How segments are spoken. attempts: generations of one segment before any of it is spoken.

    max_tokens: of one segment, to end a generation that has lost the text.
    """

    chunks: ChunkPolicy
    guard: GuardPolicy
    max_tokens: int
    attempts: int


@dataclass(frozen=True)
class Run:
    """What the segments of one request share."""

    request: SynthesisRequest
    stages: Stages
    config: ModelConfig
    policy: SpeechPolicy
    timing: Timing
    cancelled: Callable[[], bool]
    seed: int
    turns: StageTurns

    @property
    def seconds_left(self) -> float:
        """Until playback runs dry."""
        return self.timing.until_dry(self.turns.patience)

    def check_cancelled(self) -> None:
        if self.cancelled():
            raise Cancelled("the caller no longer wants the audio")


class SegmentSpeech:
    """A segment's generation and its flow; `close` ends both."""

    def __init__(self, run: Run, segment: Segment, index: int) -> None:
        """Start the generation. index: of the segment within the request."""
        self._run, self._segment, self._index = run, segment, index
        self._voice = segment.voice
        if run.request.streaming:
            trim = run.policy.chunks.prompt_trim(len(segment.voice.prompt_tokens))
            self._voice = trim_prompt(segment.voice, trim, run.config.flow.token_mel_ratio)
        self._begun = False  # whether the flow has had tokens
        self._attempt = 0
        run.timing.segments += 1
        run.timing.voice_cached = segment.voice.cached
        for note in segment.notes:
            run.timing.note(note)
        self._begin()

    def hops(self) -> Iterator[Float32]:
        """The mel of every hop that is complete before the generation ends."""
        while not (yield from self._attempted()):
            self._run.timing.retries += 1
            self._attempt += 1
            self.close()
            self._begin()

    def rest(self) -> Float32:
        """The mel of what is left, once the generation has ended."""
        return self._mel(self._planner.rest(), finalize=True)

    def close(self) -> None:
        try:
            self._end_generation()
        finally:
            self._flow.close()

    def _begin(self) -> None:
        """Start a generation, and open the flow, which prepares the voice meanwhile."""
        run = self._run
        self._planner = ChunkPlanner(run.policy.chunks, len(self._voice.prompt_tokens))
        self._generation = self._generate()
        # the flow may be slower: then tokens gather here
        self._ids = RunAhead(_increments(self._generation), depth=None)
        try:
            self._flow = run.stages.open_flow(self._voice, streaming=run.request.streaming)
        except BaseException:
            self._end_generation()
            raise

    def _end_generation(self) -> None:
        try:
            self._generation.cancel()
        finally:
            self._ids.close()

    def _attempted(self) -> Generator[Float32, None, bool]:
        """One generation; returns whether its tokens are to be spoken to the end."""
        guard = TokenGuard(self._run.policy.guard, self._run.config.llm.speech_codes)
        problem, timing = "", self._run.timing
        for ids in self._ids:
            self._run.check_cancelled()
            timing.mark("first_token")
            codes = ids - np.int32(self._run.config.llm.speech_offset)
            problem = guard.admit(codes)
            if problem:
                self._generation.cancel()
                break
            timing.tokens += len(codes)
            self._planner.push(codes)
            if not (self._begun and self._ids.waiting):
                yield from self._ready_hops()
        yield from self._ready_hops()
        problem = problem or guard.ended(self._segment.target_tokens)
        if problem:
            timing.note(f"generation {self._attempt + 1} of {self._segment.text!r}: {problem}")
        return self._accepts(problem, guard.count)

    def _accepts(self, problem: str, tokens: int) -> bool:
        """Speak a flawed generation only if it has begun or all attempts were flawed."""
        last = self._attempt + 1 == self._run.policy.attempts
        if problem and last and not tokens:
            raise StageFailed("tensorrt_llm", f"{problem}, {self._attempt + 1} times")
        return not problem or self._begun or last

    def _ready_hops(self) -> Iterator[Float32]:
        timing = self._run.timing
        while self._run.request.streaming and self._planner.ready:
            alone = self._run.turns.flow.idle
            tokens = self._planner.take(timing.ahead, timing.seconds_per_token, alone=alone)
            yield self._mel(tokens, finalize=False)

    def _mel(self, tokens: Int32, *, finalize: bool) -> Float32:
        self._run.check_cancelled()
        self._begun = True
        with self._run.timing.flowing(), self._run.turns.flow.turn(self._run.seconds_left):
            return self._flow.step(tokens, finalize=finalize)

    def _generate(self) -> Generation:
        sampling, target = self._run.config.sampling, self._segment.target_tokens
        longest = int(sampling.max_tokens_per_text_token * target)
        seed = (self._run.seed + self._index + 1000 * self._attempt) % SEED_RANGE
        return self._run.stages.generate(
            GenerationRequest(
                input_ids=self._segment.input_ids,
                min_tokens=int(sampling.min_tokens_per_text_token * target),
                max_tokens=max(1, min(longest, self._run.policy.max_tokens)),
                sampling=replace(self._run.request.sampling, seed=seed),
            )
        )


def _increments(generation: Generation) -> Generator[Int32, None, None]:
    yield from generation


def trim_prompt(voice: Voice, tokens: int, ratio: int) -> Voice:
    """A voice without the first `tokens` of its prompt and their mel frames."""
    if not tokens:
        return voice
    return replace(
        voice,
        prompt_tokens=voice.prompt_tokens[tokens:],
        prompt_mel=voice.prompt_mel[tokens * ratio :],
    )

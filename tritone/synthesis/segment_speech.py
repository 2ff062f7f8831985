"""One segment of a request on its way from its prompt to acoustic frames."""

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, replace

from tritone.arrays import Float32
from tritone.errors import Cancelled, StageFailed
from tritone.llm.contract import Generation, GenerationRequest, Increment
from tritone.synthesis.deadlines import StageTurns
from tritone.synthesis.limits import MAX_SEED
from tritone.synthesis.rules import SpeechRules, Stages
from tritone.synthesis.run_ahead import RunAhead
from tritone.synthesis.timing import Timing
from tritone.synthesis.values import Segment, SynthesisRequest


@dataclass(frozen=True)
class Run:
    """What the segments of one request share.

    max_tokens: of one segment. attempts: generations of one before any of it is spoken.
    """

    request: SynthesisRequest
    stages: Stages
    rules: SpeechRules
    max_tokens: int
    attempts: int
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
        self._run, self.segment, self._index = run, segment, index
        self._begun = False  # whether the flow has had tokens
        self._attempt = 0
        run.timing.segments += 1
        run.timing.voice_cached = segment.voice_cached
        for note in segment.notes:
            run.timing.note(note)
        self._begin()

    def hops(self) -> Iterator[Float32]:
        """The frames of every hop that is complete before the generation ends."""
        while not (yield from self._attempted()):
            self._run.timing.retries += 1
            self._attempt += 1
            self.close()
            self._begin()

    def rest(self) -> Float32:
        """The frames of what is left, once the generation has ended."""
        return self._frames(self._planner.rest(), finalize=True)

    def close(self) -> None:
        try:
            self._end_generation()
        finally:
            self._flow.close()

    def _begin(self) -> None:
        """Start a generation, and open the flow, which prepares the voice meanwhile."""
        run = self._run
        streaming = run.request.streaming
        self._planner, voice = run.rules.plan(self.segment.voice, streaming=streaming)
        self._generation = self._generate()
        # the flow may be slower: then tokens gather here
        self._increments = RunAhead(_increments_of(self._generation), depth=None)
        try:
            self._flow = run.stages.open_flow(voice, streaming=streaming)
        except BaseException:
            self._end_generation()
            raise

    def _end_generation(self) -> None:
        try:
            self._generation.cancel()
        finally:
            self._increments.close()

    def _attempted(self) -> Generator[Float32, None, bool]:
        """One generation; returns whether its tokens are to be spoken to the end."""
        rules, timing = self._run.rules, self._run.timing
        guard, problem = rules.guard(), ""
        for increment in self._increments:
            self._run.check_cancelled()
            timing.mark("first_token")
            codes = rules.codes(increment)
            problem = guard.admit(codes)
            if problem:
                self._generation.cancel()
                break
            timing.tokens += len(codes)
            self._planner.push(codes)
            if not (self._begun and self._increments.waiting):
                yield from self._ready_hops()
        yield from self._ready_hops()
        problem = problem or guard.ended(self.segment.target_tokens)
        if problem:
            timing.note(f"generation {self._attempt + 1} of {self.segment.text!r}: {problem}")
        # a flawed one is spoken only if it has begun or all attempts were flawed
        last = self._attempt + 1 == self._run.attempts
        if problem and last and not guard.count:
            raise StageFailed("tensorrt_llm", f"{problem}, {self._attempt + 1} times")
        return not problem or self._begun or last

    def _ready_hops(self) -> Iterator[Float32]:
        timing = self._run.timing
        while self._run.request.streaming and self._planner.ready:
            alone = self._run.turns.flow.idle
            tokens = self._planner.take(timing.ahead, timing.seconds_per_token, alone=alone)
            yield self._frames(tokens, finalize=False)

    def _frames(self, tokens: Increment, *, finalize: bool) -> Float32:
        self._run.check_cancelled()
        self._begun = True
        with self._run.timing.flowing(), self._run.turns.flow.turn(self._run.seconds_left):
            return self._flow.step(tokens, finalize=finalize)

    def _generate(self) -> Generation:
        least, most = self._run.rules.token_bounds(self.segment.target_tokens)
        seed = (self._run.seed + self._index + 1000 * self._attempt) % (MAX_SEED + 1)
        return self._run.stages.generate(
            GenerationRequest(
                prompt=self.segment.prompt,
                min_tokens=least,
                max_tokens=max(1, min(most, self._run.max_tokens)),
                sampling=replace(self._run.request.sampling, seed=seed),
            )
        )


def _increments_of(generation: Generation) -> Generator[Increment, None, None]:
    yield from generation

"""One segment of a request on its way from its prompt to acoustic frames."""

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, replace

from tritone.arrays import Float32
from tritone.errors import Cancelled, InvalidRequest, StageFailed
from tritone.llm.contract import Generation, GenerationRequest, Increment
from tritone.synthesis.deadlines import StageTurns
from tritone.synthesis.limits import MAX_SEED
from tritone.synthesis.rules import SpeechRules, Stages
from tritone.synthesis.run_ahead import RunAhead
from tritone.synthesis.text_guard import SpeechGuard, TextGuard
from tritone.synthesis.timing import Timing
from tritone.synthesis.values import Segment, SynthesisRequest


@dataclass(frozen=True)
class Run:
    """What the segments of one request share.

    max_tokens: of one segment. attempts: generations of one, where the ones before were flawed.
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
        self.cut = False  # whether the speech ends before its generation did
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
            if self._guard.text and not self._over_long:
                self._end_generation()
                self._go_on(self._guard.text)
            else:
                self.close()
                self._begin()
        for note in self._guard.text.notes if self._guard.text else ():
            self._run.timing.note(f"{self.segment.text!r}: {note}")

    def _go_on(self, text: TextGuard) -> None:
        """Another generation from where speech stood: once with all that was said as its prompt,
        after that with the rest of the text alone, which cannot fail in the same way."""
        rest = min(text.rest, text.length - 1)
        text.again(lenient=self._last, dropped=rest if self._attempt > 1 else 0)
        self._start_generation()

    def rest(self) -> Float32:
        """The frames of what is left, once the generation has ended."""
        return self._frames(self._planner.rest(), finalize=True)

    def close(self) -> None:
        try:
            self._end_generation()
        finally:
            self._flow.close()

    @property
    def _last(self) -> bool:
        return self._attempt + 1 >= self._run.attempts

    def _begin(self) -> None:
        """Start a generation, and open the flow, which prepares the voice meanwhile."""
        run = self._run
        streaming = run.request.streaming
        self._planner, voice = run.rules.plan(self.segment.voice, streaming=streaming)
        self._guard = self._new_guard()
        self._admitted: list[Increment] = []
        self._start_generation()
        try:
            self._flow = run.stages.open_flow(voice, streaming=streaming)
        except BaseException:
            self._end_generation()
            raise

    def _new_guard(self) -> SpeechGuard:
        begins, text = self._run.rules.text_begins(self.segment), None
        if begins is not None:
            length, ids = self.segment.target_tokens, self.segment.prompt.ids
            said = () if ids is None else tuple(ids[begins : begins + length].tolist())
            text = TextGuard(begins, length, lenient=self._last, ids=said)
        return SpeechGuard(self._run.rules.guard(), text)

    def _start_generation(self) -> None:
        self._generation = self._generate()
        # the flow may be slower: then tokens gather here
        self._increments = RunAhead(_increments_of(self._generation), depth=None)

    def _end_generation(self) -> None:
        try:
            self._generation.cancel()
        finally:
            self._increments.close()

    def _attempted(self) -> Generator[Float32, None, bool]:
        """One generation; returns whether its tokens are to be spoken to the end."""
        rules, timing, guard = self._run.rules, self._run.timing, self._guard
        problem, over = "", False
        for increment in self._increments:
            self._run.check_cancelled()
            timing.mark("first_token")
            verdict = guard.admit(rules.codes(increment))
            problem, over = verdict.problem, verdict.over
            self._admit(verdict.tokens)
            if problem or over:
                self._generation.cancel()
                break
            if not (self._begun and self._increments.waiting):
                yield from self._ready_hops()
        if not problem and not over:
            verdict = guard.ended(self.segment.target_tokens)
            problem = verdict.problem or self._endless()
            self._admit(verdict.tokens)
        yield from self._ready_hops()
        if problem or over:
            what = problem or "said once, and begun again"
            timing.note(f"generation {self._attempt + 1} of {self.segment.text!r}: {what}")
        self.cut = bool(problem) or over
        return not problem or self._spoken_as_it_is(problem)

    def _admit(self, codes: Increment) -> None:
        self._run.timing.tokens += len(codes)
        if len(codes):
            self._admitted.append(codes)
            self._planner.push(codes)

    def _endless(self) -> str:
        least, most = self._run.rules.token_bounds(self.segment.target_tokens)
        if least == most or not self._over_long:  # a length that is set is no flaw
            return ""
        return f"no end after {self._most_tokens} speech tokens"

    @property
    def _over_long(self) -> bool:
        return self._guard.count >= self._most_tokens

    def _spoken_as_it_is(self, problem: str) -> bool:
        """Whether a flawed generation is: if all attempts were, or if it has begun and cannot be
        taken up again."""
        if self._last and not self._guard.count:
            said = f"{problem}, {self._attempt + 1} times"
            if self._run.request.reference_wav is not None:
                raise InvalidRequest(
                    "reference_wav",
                    f"nothing is said after this recording ({said}); send one in which a single "
                    "voice speaks clearly, or leave out reference_text if it is not what is said",
                )
            raise StageFailed("tensorrt_llm", said)
        return self._last or (self._begun and (self._over_long or not self._guard.text))

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

    @property
    def _most_tokens(self) -> int:
        """Of the segment, in all attempts that it is spoken from."""
        _, most = self._run.rules.token_bounds(self.segment.target_tokens)
        return max(1, min(most, self._run.max_tokens))

    def _generate(self) -> Generation:
        """The first generation of the segment, or one that goes on after what was admitted."""
        run, rules, segment = self._run, self._run.rules, self.segment
        seed = (run.seed + self._index + 1000 * self._attempt) % (MAX_SEED + 1)
        sampling = rules.retried(run.request.sampling) if self._attempt else run.request.sampling
        least, _ = rules.token_bounds(segment.target_tokens)
        prompt, said, text = segment.prompt, self._guard.count, self._guard.text
        if text and text.dropped:
            prompt = prompt.without(text.start, text.start + text.dropped)
        elif said:
            prompt = rules.continued(prompt, Increment.joined(self._admitted))
        if text and said:
            least, _ = rules.token_bounds(text.left)
        return run.stages.generate(
            GenerationRequest(
                prompt=prompt,
                min_tokens=least,
                max_tokens=max(1, self._most_tokens - said),
                sampling=replace(sampling, seed=seed),
            )
        )


def _increments_of(generation: Generation) -> Generator[Increment, None, None]:
    yield from generation

"""One segment of a request on its way from its prompt to acoustic frames."""

from collections.abc import Generator, Iterator
from dataclasses import replace

from tritone.arrays import Float32
from tritone.errors import InvalidRequest, StageFailed, TritoneError
from tritone.llm.contract import Generation, GenerationRequest, Increment, OpenText
from tritone.synthesis.flaws import Flaw
from tritone.synthesis.growing import GrowingSegment
from tritone.synthesis.limits import MAX_SEED
from tritone.synthesis.rules import Planner
from tritone.synthesis.run import Run, Tries
from tritone.synthesis.run_ahead import RunAhead
from tritone.synthesis.text_guard import NOTHING, SpeechGuard, TextGuard
from tritone.synthesis.values import Segment
from tritone.triton_models import LANGUAGE_MODEL
from tritone.voice import Voice

NEVER_SPOKEN = ("bad_id", "transcript")  # attempts flawed so, however much they said
HELD_BACK = ("repetition", "transcript")  # flaws that suspect tokens were the beginning of


class SegmentSpeech:
    """A segment's generation and its flow; `close` ends both."""

    def __init__(
        self,
        run: Run,
        segment: Segment,
        index: int,
        tries: Tries,
        growing: GrowingSegment | None = None,
    ) -> None:
        """Start the generation. index: of the segment within the request. growing: the segment,
        where its text is still being written."""
        self._run, self._whole, self._index, self._tries = run, segment, index, tries
        self._growing = growing
        self._begun = False  # whether the flow has had tokens
        self.cut = False  # whether the speech ends before its generation did
        self.broken_off = False  # whether it ends within its text
        self._best: list[Increment] = []  # what the longest attempt said that was given up
        run.timing.segments = max(run.timing.segments, index + 1)
        run.timing.voice_cached = segment.voice_cached
        self._note()
        self._begin()

    @property
    def segment(self) -> Segment:
        """With the text so far."""
        return self._growing.segment if self._growing else self._whole

    def _note(self) -> None:
        for note in self.segment.notes:
            self._run.timing.note(note)

    def hops(self) -> Iterator[Float32]:
        """The frames of every hop that is complete before the generation ends."""
        while flaw := (yield from self._attempted()):
            text = self._guard.text if self._can_go_on else None
            self._run.try_again(self._tries)
            if text:
                self._end_generation()
                self._go_on(text)
            else:
                if flaw.kind not in NEVER_SPOKEN:
                    self._best = max(self._best, self._admitted, key=_length)
                self.close()
                self._begin()
        for flaw in self._guard.text.passed if self._guard.text else ():
            self._run.timing.flaw(flaw, f"{self.segment.text!r}")
        self._note()

    def _go_on(self, text: TextGuard) -> None:
        """Another generation from where speech stood: once with all that was said as its prompt,
        after that with the rest of the text alone, which cannot fail in the same way. It is the
        last one where listeners have waited long enough."""
        if self._run.late(self._tries):
            self._tries.used = self._run.attempts - 1
        rest = min(text.rest, text.length - 1) if self._admitted else 0
        text.again(lenient=self._last, dropped=rest if self._tries.used > 1 else 0)
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
        return self._run.exhausted(self._tries)

    def _begin(self) -> None:
        """Start a generation, and open the flow, which prepares the voice meanwhile."""
        self._planner, voice = self._plan()
        self._guard = self._new_guard()
        self._admitted: list[Increment] = []
        self._waiting = NOTHING  # admitted, and not to be spoken yet
        self._start_generation()
        try:
            streaming = self._run.request.streaming
            self._flow = self._run.stages.open_flow(voice, streaming=streaming)
        except BaseException:
            self._end_generation()
            raise

    def _plan(self) -> tuple[Planner, Voice]:
        run = self._run
        return run.rules.plan(self.segment.voice, streaming=run.request.streaming)

    def _new_guard(self) -> SpeechGuard:
        begins, text = self._run.rules.text_begins(self.segment), None
        if begins is not None:
            length, ids = self._text(begins)
            text = TextGuard(begins, length, lenient=self._last, ids=ids)
        return SpeechGuard(self._run.rules.guard(self.segment), text)

    def _text(self, begins: int) -> tuple[int, tuple[int, ...]]:
        """Of the segment, text tokens and their ids."""
        segment = self.segment
        length, ids = segment.target_tokens, segment.prompt.ids
        return length, () if ids is None else tuple(ids[begins : begins + length].tolist())

    def _follow_text(self) -> None:
        """The guard is to know as much of the text as the generation."""
        if self._growing and self._guard.text_guard:
            more = self._growing.open
            self._guard.text_guard.grow(*self._text(self._guard.text_guard.start), more=more)

    def _start_generation(self) -> None:
        if self._growing:
            said = self._guard.count
            self._generation = self._growing.begin(
                self._generate, lambda segment: self._bounds(segment, said)
            )
        else:
            self._generation = self._generate(self._whole, False)
        # the flow may be slower: then tokens gather here
        self._increments = RunAhead(_increments_of(self._generation), depth=None)

    def _end_generation(self) -> None:
        if self._growing:
            self._growing.detach()
        try:
            self._generation.cancel()
        finally:
            self._increments.close()

    def _attempted(self) -> Generator[Float32, None, Flaw | None]:
        """One generation; returns what is wrong with it unless it is to be spoken to the end."""
        rules, timing, guard = self._run.rules, self._run.timing, self._guard
        flaw, over = None, False
        growing = self._growing
        for increment in growing.spoken(self._increments) if growing else self._increments:
            self._run.check_cancelled()
            if not len(increment):
                continue
            timing.mark("first_token")
            self._follow_text()
            verdict = guard.admit(rules.codes(increment))
            flaw, over = verdict.flaw, verdict.over
            self._admit(verdict.tokens)
            if flaw:
                self._generation.cancel()
                break
            if not (self._begun and self._increments.waiting):
                yield from self._ready_hops()
        self._follow_text()
        if not flaw:
            verdict = guard.ended(self.segment.target_tokens)
            self._admit(verdict.tokens, ended=True)
            flaw = verdict.flaw or self._endless()
        else:
            self._admit(NOTHING, ended=over or flaw.kind not in HELD_BACK)
        self._waiting = NOTHING
        if flaw:
            timing.flaw(flaw, f"generation {self._tries.used + 1} of {self.segment.text!r}")
        self.cut = flaw is not None
        self.broken_off = flaw is not None and not over and flaw.kind != "early_end"
        given_up = None if over or not flaw or self._spoken_as_it_is(flaw) else flaw
        if not given_up or self._can_go_on:
            yield from self._ready_hops()
        return given_up

    def _admit(self, codes: Increment, *, ended: bool = False) -> None:
        """Speak what has been admitted, but for what may prove to be a flaw."""
        self._run.timing.tokens += len(codes)
        codes = Increment.joined([self._waiting, codes])
        sure = len(codes) if ended else max(0, len(codes) - self._guard.tokens.suspect)
        self._waiting = codes[sure:]
        if sure:
            self._admitted.append(codes[:sure])
            self._planner.push(codes[:sure])

    def _endless(self) -> Flaw | None:
        least, most = self._run.rules.token_bounds(self.segment.target_tokens)
        if least == most or not self._over_long:  # a length that is set is no flaw
            return None
        return Flaw("no_end", f"no end after {self._most_tokens} speech tokens")

    @property
    def _over_long(self) -> bool:
        return self._guard.count >= self._most_tokens

    @property
    def _can_go_on(self) -> bool:
        """Whether another generation can say what this one has not."""
        return self._guard.text is not None and not self._over_long

    def _spoken_as_it_is(self, flaw: Flaw) -> bool:
        """Whether a flawed generation is: if it has begun and cannot be taken up again, or if there
        is no time left to try. If nothing of it was heard, the longest attempt is spoken."""
        if not self._last and self._can_go_on:
            return False
        if self._begun:
            return True
        if not (self._last or self._run.late(self._tries)):
            return False
        if flaw.kind in NEVER_SPOKEN or _length(self._best) > _length(self._admitted):
            self._admitted = self._best
            self._planner, _ = self._plan()
            self._planner.push(Increment.joined(self._best))
        if not self._admitted:
            raise self._nothing(f"{flaw.problem}, {self._tries.used + 1} times")
        return True

    def _nothing(self, problem: str) -> TritoneError:
        """The error where no attempt said anything."""
        if self._run.request.reference_wav is None:
            return StageFailed(LANGUAGE_MODEL, problem)
        return InvalidRequest(
            "reference_wav",
            f"nothing is said after this recording ({problem}); send one in which a single voice "
            "speaks clearly, or leave out reference_text if it is not what is said",
        )

    def _ready_hops(self) -> Iterator[Float32]:
        timing = self._run.timing
        while self._run.request.streaming and self._planner.ready:
            alone = self._run.turns.flow.idle
            tokens = self._planner.take(timing.ahead, timing.seconds_per_token, alone=alone)
            yield self._frames(tokens, finalize=False)

    def _frames(self, tokens: Increment, *, finalize: bool) -> Float32:
        self._run.check_cancelled()
        self._begun = True
        with self._run.timing.flowing(), self._run.turn(self._run.turns.flow):
            return self._flow.step(tokens, finalize=finalize)

    @property
    def _most_tokens(self) -> int:
        """Of the segment, in all attempts that it is spoken from."""
        return self._most_of(self.segment)

    def _most_of(self, segment: Segment) -> int:
        _, most = self._run.rules.token_bounds(segment.target_tokens)
        return max(1, min(most, self._run.max_tokens))

    def _bounds(self, segment: Segment, said: int) -> tuple[int, int]:
        """Fewest and most tokens of a generation that goes on after so many."""
        text = self._guard.text
        least, _ = self._run.rules.token_bounds(
            text.left if text and said else segment.target_tokens
        )
        return least, max(1, self._most_of(segment) - said)

    def _generate(self, segment: Segment, more: bool) -> Generation:
        """The first generation of the segment, or one that goes on after what was admitted. more:
        whether text follows."""
        run, rules = self._run, self._run.rules
        seed = (run.seed + self._index + 1000 * self._tries.used) % (MAX_SEED + 1)
        sampling = rules.retried(run.request.sampling) if self._tries.used else run.request.sampling
        prompt, said, text = segment.prompt, self._guard.count, self._guard.text
        if text and text.dropped:
            prompt = prompt.without(text.start, text.start + text.dropped)
        elif said:
            prompt = rules.continued(prompt, Increment.joined(self._admitted))
        rest: OpenText | None = None
        if more:
            prompt, rest = rules.opened(prompt, segment, ended=False)
        least, most = self._bounds(segment, said)
        return run.stages.generate(
            GenerationRequest(prompt, least, most, replace(sampling, seed=seed), rest)
        )


def _length(speech: list[Increment]) -> int:
    return sum(map(len, speech))


def _increments_of(generation: Generation) -> Generator[Increment, None, None]:
    yield from generation

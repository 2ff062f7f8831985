"""What the pipeline asks: of a family its rules of speech, and of whatever runs the models (Triton,
this process, or fakes) their stages.

A family's rules are sans-I/O: no clock, no lock, no sleep, no torch.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Protocol

from tritone.arrays import Float32, Int32
from tritone.llm.contract import (
    Generation,
    GenerationRequest,
    Increment,
    OpenText,
    Prompt,
    SamplingParams,
)
from tritone.synthesis.flaws import Flaw
from tritone.synthesis.values import Segment, SynthesisRequest
from tritone.voice import Voice

Cuts = Sequence[int]


@dataclass(frozen=True)
class Rates:
    """Speech tokens, acoustic frames and samples a second, exactly."""

    tokens: Fraction
    frames: Fraction
    samples: Fraction

    @property
    def sample_rate(self) -> int:
        """In Hz; waveforms have whole rates."""
        assert self.samples.denominator == 1
        return self.samples.numerator


@dataclass(frozen=True)
class Hops:
    """What a deployment asks of a family's planner; None leaves it to the family.

    first_hop: tokens that the first audio waits for, where the voice's prompt allows it. max_hop:
    most tokens in one call of the flow; larger ones cost less and are computed later.
    """

    first_hop: int | None = None
    max_hop: int | None = None


class Planner(Protocol):
    """Takes tokens as they come and hands out the next call's tokens when they are complete."""

    def push(self, increment: Increment) -> None: ...

    @property
    def ready(self) -> bool:
        """Whether the next hop and its look-ahead are complete."""

    def take(
        self, seconds_ahead: float, seconds_per_token: float, *, alone: bool = False
    ) -> Increment:
        """The tokens of the next call, once `ready`; plans the hop after it.

        seconds_ahead: audio sent and not yet played. seconds_per_token: what a token has cost from
        text to audio so far. alone: no other stream wants the flow.
        """

    def rest(self) -> Increment:
        """What is left when generation has ended; may be empty."""


class Guard(Protocol):
    """Checks one generation as its tokens come. count: tokens admitted. suspect: the last of them
    that are not to be spoken yet, since they look like the beginning of a flaw."""

    count: int
    suspect: int

    def outside(self, increment: Increment) -> tuple[int, Flaw] | None:
        """The index of the first token that must never reach the flow, if there is one."""

    def admit(self, increment: Increment) -> Flaw | None:
        """Take new tokens; return what is wrong with the generation, if anything is."""

    def ended(self, target_tokens: int) -> Flaw | None:
        """What is wrong with a generation that ended by itself, if anything is."""


class SpeechRules(Protocol):
    """A family's rules of speech. first_frames: of the first hop's frames that the vocoder gets
    before the rest, so that the first samples do not wait for it. chunk_frames: that the flow makes
    together; hops end where a chunk does."""

    @property
    def rates(self) -> Rates: ...

    @property
    def first_frames(self) -> int: ...

    @property
    def chunk_frames(self) -> int: ...

    def token_bounds(self, target_tokens: int) -> tuple[int, int]:
        """Fewest and most speech tokens for a text of so many tokens."""

    def codes(self, increment: Increment) -> Increment:
        """What the language model gave as the flow takes it."""

    def guard(self, segment: Segment) -> Guard:
        """For a new generation of a segment."""

    def text_begins(self, segment: Segment) -> int | None:
        """Where in its prompt the text to be spoken begins, if the language model tells what it
        says; the text tokens of the segment follow from there."""

    @property
    def interleaves(self) -> bool:
        """Whether the language model reads text in turns with its speech."""

    def text_ids(self, segment: Segment) -> Int32:
        """(n,) LLM ids of the segment's own text; where the model interleaves."""

    def opened(self, prompt: Prompt, segment: Segment, *, ended: bool) -> tuple[Prompt, OpenText]:
        """A prompt of the segment for a model that interleaves: what is read first, and the open
        text behind it. ended: whether that is all of the text."""

    def continued(self, prompt: Prompt, codes: Increment) -> Prompt:
        """The prompt of a generation that goes on after these codes."""

    def retried(self, sampling: SamplingParams) -> SamplingParams:
        """How a generation is sampled after one that failed."""

    def plan(self, voice: Any, *, streaming: bool) -> tuple[Planner, Voice]:
        """For a new segment: its planner, and the voice (of the family's own class) as its flow is
        to have it."""


class FlowSession(Protocol):
    """One segment's way through the flow; where it is not streamed, in a single step."""

    def step(self, tokens: Increment, *, finalize: bool) -> Float32:
        """Take new tokens; return the acoustic frames that became final, (bins, frames)."""

    def close(self) -> None:
        """Free what the session holds; safe after an error and when called twice."""


class VocoderSession(Protocol):
    """One segment's way through the vocoder."""

    def step(self, frames: Float32, *, cuts: Cuts = (), finalize: bool) -> Float32:
        """Take new frames, (bins, frames); return the samples that are ready.

        cuts: rising, where the frames could have been cut into several calls. A vocoder that
        promises the same samples to the last bit, however frames come, cuts there.
        """


class Stages(Protocol):
    """What the pipeline needs; called from several threads."""

    @property
    def takes_open_text(self) -> bool:
        """Whether the language model's runtime can add to a prompt."""

    def prepare(self, request: SynthesisRequest) -> Iterator[Segment]: ...

    def generate(self, request: GenerationRequest) -> Generation: ...

    def open_flow(self, voice: Voice, *, streaming: bool) -> FlowSession: ...

    def open_vocoder(self, *, seed: int, speed: float) -> VocoderSession: ...

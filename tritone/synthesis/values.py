"""The values of a request on its way to audio."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from tritone.arrays import Float32
from tritone.errors import NothingToSay
from tritone.frontend.text.line import Break
from tritone.llm.contract import Prompt, SamplingParams
from tritone.voice import Voice


@dataclass(frozen=True)
class Emotion:
    """What speech is to sound like beside its voice, for families that can be told.

    Either vector, a share of each of the family's emotions, or wav, (N,) mono samples in [-1, 1] at
    `rate` Hz that sound so, or text that it is read out of. weight: how much of it, 0 to 1.
    """

    vector: tuple[float, ...] | None = None
    wav: Float32 | None = None
    rate: int = 16000
    weight: float = 1.0
    text: str | None = None

    @property
    def given(self) -> tuple[str, ...]:
        """Wire names of what says which it is; a request that is served has one."""
        values = {"vector": self.vector, "wav": self.wav, "text": self.text}
        return tuple(f"emotion_{name}" for name, value in values.items() if value is not None)


@dataclass(frozen=True)
class SynthesisRequest:
    """One utterance as the caller asked for it; `synthesis.limits.check` says whether it is served.

    reference_wav: (N,) mono samples in [-1, 1] at reference_rate Hz, cut to its true length.
    continues, same_voice: where the text goes on with one that was spoken already, the break before
    it, and the voice, in the place of all else that says which. settled: of a text that is spoken
    while it is being written, see `tritone.synthesis.live_text.TextPart`.
    """

    text: str
    reference_wav: Float32 | None = None
    reference_rate: int = 16000
    reference_text: str | None = None
    instruct_text: str | None = None
    voice: str | None = None
    sampling: SamplingParams = field(default_factory=SamplingParams)
    speed: float = 1.0
    streaming: bool = True
    continues: Break = Break.NONE
    same_voice: Voice | None = None
    settled: int | None = None
    emotion: Emotion | None = None


@dataclass(frozen=True)
class Segment:
    """One piece of the text, ready for the language model.

    prompt: of the language model. target_tokens: number of text tokens of this piece alone; length
    limits are multiples of it. text: the normalised piece, for logs and timing. voice: the same
    object for every segment of a request; voice_cached: whether the front end had it ready. notes:
    what the text front end wants the caller to know (skipped symbols, spelled words). pause,
    pause_after: seconds of silence around it. speed: a factor on that of the request. start: where
    it begins in the text as it was sent, in characters. opening: positions of the prompt before
    what takes turns with speech, where the text is spoken while it is being written.
    """

    prompt: Prompt
    target_tokens: int
    text: str
    voice: Voice
    voice_cached: bool = False
    notes: tuple[str, ...] = ()
    pause: float = 0.0
    speed: float = 1.0
    start: int = 0
    pause_after: float = 0.0
    opening: int = 0


@dataclass(frozen=True)
class TextPiece:
    """A `Segment` but for the voice, which all of a request share."""

    prompt: Prompt
    target_tokens: int
    text: str
    notes: tuple[str, ...] = ()
    pause: float = 0.0
    speed: float = 1.0
    start: int = 0
    pause_after: float = 0.0
    opening: int = 0

    def spoken_by(self, voice: Voice, cached: bool, notes: tuple[str, ...]) -> Segment:
        """notes: from before this piece."""
        every = tuple(dict.fromkeys((*notes, *self.notes)))
        return Segment(
            self.prompt,
            self.target_tokens,
            self.text,
            voice,
            cached,
            every,
            self.pause,
            self.speed,
            self.start,
            self.pause_after,
            self.opening,
        )


@dataclass(frozen=True)
class TextBlock:
    """Pieces of one part of the text, some hundred characters long, so that the end of a long text
    is not waited for.

    notes: on what was skipped after the last of these pieces. more: whether text follows.
    """

    pieces: tuple[TextPiece, ...]
    notes: tuple[str, ...]
    more: bool


@dataclass(frozen=True)
class AudioChunk:
    """A piece of the answer.

    samples: (n,) at the model's sample rate. timing: the record so far, see `synthesis.timing`.
    """

    samples: Float32
    timing: dict[str, object]
    last: bool


def in_order(block_at: Callable[[int], TextBlock], voice: Voice, cached: bool) -> Iterator[Segment]:
    """The segments of blocks 0, 1, ..., each block made when it is asked for.

    Raises NothingToSay when not one of them has a piece.
    """
    notes: tuple[str, ...] = ()
    index, empty, more = 0, True, True
    while more:
        block = block_at(index)
        for piece in block.pieces:
            yield piece.spoken_by(voice, cached, notes)
            empty, notes = False, ()
        notes = (*notes, *block.notes)
        index, more = index + 1, block.more
    if empty:
        why = f" ({'; '.join(dict.fromkeys(notes))})" if notes else ""
        raise NothingToSay("target_text", f"has nothing that this voice can speak{why}")

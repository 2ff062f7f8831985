"""The values of a request on its way to audio."""

from dataclasses import dataclass, field

from tritone.arrays import Float32
from tritone.llm.contract import Prompt, SamplingParams
from tritone.voice import Voice


@dataclass(frozen=True)
class SynthesisRequest:
    """One utterance as the caller asked for it; `synthesis.limits.check` says whether it is served.

    reference_wav: (N,) mono samples in [-1, 1] at reference_rate Hz, cut to its true length.
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


@dataclass(frozen=True)
class Segment:
    """One piece of the text, ready for the language model.

    prompt: of the language model. target_tokens: number of text tokens of this piece alone; length
    limits are multiples of it. text: the normalised piece, for logs and timing. voice: the same
    object for every segment of a request; voice_cached: whether the front end had it ready. notes:
    what the text front end wants the caller to know (skipped symbols, spelled words). pause:
    seconds of silence before it.
    """

    prompt: Prompt
    target_tokens: int
    text: str
    voice: Voice
    voice_cached: bool = False
    notes: tuple[str, ...] = ()
    pause: float = 0.0


@dataclass(frozen=True)
class AudioChunk:
    """A piece of the answer.

    samples: (n,) at the model's sample rate. timing: the record so far, see `synthesis.timing`.
    """

    samples: Float32
    timing: dict[str, object]
    last: bool

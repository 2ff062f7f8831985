"""The values of a request on its way to audio."""

from dataclasses import dataclass, field

from tritone.arrays import Float32, Int32
from tritone.families.cosyvoice2.voice import Voice
from tritone.llm.contract import SamplingParams


@dataclass(frozen=True)
class SynthesisRequest:
    """One utterance as the caller asked for it; `tritone.synthesis.limits.check` says whether it is served.

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

    input_ids: (n,) the whole LLM prompt in LLM ids (text, control and offset speech ids).
    target_tokens: number of text tokens of this piece alone; length limits are multiples of it.
    text: the normalised piece, for logs and timing.
    voice: the prompt of the flow; the same object for every segment of a request.
    notes: what the text front end wants the caller to know (skipped symbols, spelled words).
    """

    input_ids: Int32
    target_tokens: int
    text: str
    voice: Voice
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class AudioChunk:
    """A piece of the answer.

    samples: (n,) at the model's sample rate. timing: the record so far, see `tritone.synthesis.timing`.
    """

    samples: Float32
    timing: dict[str, object]
    last: bool

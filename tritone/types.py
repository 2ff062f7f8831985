"""The values that travel between stages; numpy float32 or int32, without a batch dimension."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]
Int32 = NDArray[np.int32]


@dataclass(frozen=True)
class Voice:
    """What the models need to know of a speaker.

    prompt_tokens: (P,) speech codes 0..6560 at 25 Hz; P may be 0.
    prompt_mel: (2P, 80) log-mel at 50 Hz, aligned with prompt_tokens.
    embedding: (192,) speaker vector, not normalised.
    transcript: what the prompt says; empty when unknown (cross-lingual) or when P is 0.
    cached: whether the front end had it ready for this request.
    """

    prompt_tokens: Int32
    prompt_mel: Float32
    embedding: Float32
    transcript: str = ""
    cached: bool = False


@dataclass(frozen=True)
class SamplingParams:
    """How the next speech token is drawn. None means the checkpoint's own default.

    top_k 1 is greedy decoding.
    """

    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    seed: int | None = None


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


@dataclass(frozen=True)
class GenerationRequest:
    """One LLM generation. Ids are LLM ids, as on the wire of `tensorrt_llm`.

    min_tokens: the stop id that ends speech normally is banned before this many tokens.
    max_tokens: generation ends after this many tokens.
    """

    input_ids: Int32
    min_tokens: int
    max_tokens: int
    sampling: SamplingParams = field(default_factory=SamplingParams)


class Generation(Protocol):
    """A running LLM generation: iterate increments, cancel at any time.

    Iteration yields (n,) int32 arrays, n >= 1, of new LLM ids as they come (stop ids are not
    yielded), ends when the generation ends, and raises StageFailed if it broke or Cancelled after
    `cancel`.
    """

    def __iter__(self) -> Iterator[Int32]: ...

    def cancel(self) -> None: ...


class LanguageModel(Protocol):
    """The one seam between the pipeline and an LLM runtime."""

    def submit(self, request: GenerationRequest) -> Generation:
        """Queue a generation and return at once."""
        ...

    def close(self) -> None: ...

"""A speaker, as CosyVoice2's front end, language model and flow know one."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from typing_extensions import Self

from tritone.arrays import Float32, Int32
from tritone.voice import Arrays

MEL_BINS = 80
EMBEDDING_SIZE = 192
MEL_FRAMES_PER_TOKEN = 2


@dataclass(frozen=True)
class Voice:
    """prompt_tokens: (P,) speech codes at 25 Hz; P may be 0. prompt_mel: (2P, 80) log-mel at 50 Hz,
    aligned with prompt_tokens. embedding: (192,) speaker vector, not normalised. transcript: what
    the prompt says; empty when unknown (cross-lingual) or when P is 0.
    """

    prompt_tokens: Int32
    prompt_mel: Float32
    embedding: Float32
    transcript: str = ""

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        return {
            "prompt_tokens": self.prompt_tokens,
            "prompt_mel": self.prompt_mel,
            "embedding": self.embedding,
        }

    @classmethod
    def from_arrays(cls, arrays: Arrays, transcript: str = "") -> Self:
        """Raises ValueError for a missing array and for shapes that do not go together."""
        missing = [n for n in ("prompt_tokens", "prompt_mel", "embedding") if n not in arrays]
        if missing:
            raise ValueError(f"{', '.join(missing)} missing")
        voice = cls(
            arrays["prompt_tokens"].astype(np.int32),
            arrays["prompt_mel"].astype(np.float32),
            arrays["embedding"].astype(np.float32),
            transcript,
        )
        problem = check_shapes(voice)
        if problem:
            raise ValueError(problem)
        return voice

    def fault(self, codes: int) -> str:
        """What is wrong with it for a codebook of so many codes; empty if nothing."""
        tokens = self.prompt_tokens
        if tokens.size and not 0 <= tokens.min() <= tokens.max() < codes:
            return f"has speech codes outside 0 to {codes - 1}"
        return ""


def check_shapes(voice: Voice) -> str | None:
    """What is wrong with the arrays of a voice, or None."""
    tokens = voice.prompt_tokens.shape
    if len(tokens) != 1:
        return f"prompt_tokens has shape {tokens}, expected (P,)"
    expected = (MEL_FRAMES_PER_TOKEN * tokens[0], MEL_BINS)
    if voice.prompt_mel.shape != expected:
        return f"prompt_mel has shape {voice.prompt_mel.shape}, expected {expected}"
    if voice.embedding.shape != (EMBEDDING_SIZE,):
        return f"embedding has shape {voice.embedding.shape}, expected ({EMBEDDING_SIZE},)"
    if not (np.isfinite(voice.prompt_mel).all() and np.isfinite(voice.embedding).all()):
        return "prompt_mel or embedding has NaN or infinite values"
    return None

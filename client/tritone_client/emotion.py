"""What speech is to sound like beside its voice."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

DEFAULT_RATE = 16000  # Hz of recordings of which no rate is sent


@dataclass(frozen=True)
class Emotion:
    """For models that have emotions; others refuse it. One of the first three, or ValueError.

    vector: a share of each of the model's emotions, in the model's own order.
    wav: (N,) mono samples in [-1, 1] at `rate` Hz that sound so.
    text: words that the model reads the emotion out of; they are not spoken.
    weight: how much of it, 0 to 1. None means the server's own default.
    """

    vector: Sequence[float] | None = None
    wav: NDArray[np.float32] | None = None
    rate: int = DEFAULT_RATE
    text: str | None = None
    weight: float | None = None

    def __post_init__(self) -> None:
        kinds = {"vector": self.vector, "wav": self.wav, "text": self.text}
        given = [f"emotion_{name}" for name, value in kinds.items() if value is not None]
        if len(given) != 1:
            there = " and ".join(given) or "nothing"
            raise ValueError(
                f"emotion: {there} given; give one of {', '.join(f'emotion_{k}' for k in kinds)}"
            )
        if self.vector is not None and not len(self.vector):
            raise ValueError("emotion_vector: has 0 values; give one for each of the emotions")
        if self.wav is not None and (self.wav.ndim != 1 or self.wav.size == 0):
            advice = "give mono samples, (N,) with N >= 1"
            raise ValueError(f"emotion_wav: shape {self.wav.shape}; {advice}")

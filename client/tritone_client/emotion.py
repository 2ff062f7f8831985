"""What speech is to sound like beside its voice."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

DEFAULT_RATE = 16000  # Hz of recordings of which no rate is sent


AUDIO = "emotion_audio"
FIELDS = ("emotion_vector", AUDIO, "emotion_text", "emotion_weight")
"""What says of it on command lines and in manifests, where a recording is a file."""

Recording = tuple[NDArray[np.float32], int]  # (N,) mono samples, and their rate


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


def emotion_of(given: Mapping[str, Any], read: Callable[[str], Recording]) -> Emotion | None:
    """The one that FIELDS say, each of which may be None or missing; None where none of them says
    anything. read: of the file that emotion_audio names. Raises ValueError, as `read` may."""
    vector, audio, text, weight = map(given.get, FIELDS)
    wav, rate = read(audio) if audio else (None, DEFAULT_RATE)
    if wav is vector is text is weight is None:
        return None
    try:
        return Emotion(vector, wav, rate, text, weight)
    except ValueError as error:
        raise ValueError(str(error).replace("emotion_wav", AUDIO)) from error

"""A speaker, as IndexTTS2 knows one."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from typing_extensions import Self

from tritone.arrays import Float32, Int32
from tritone.families.indextts2.gpt_config import GptConfig
from tritone.families.indextts2.reference_config import MEL_BINS, ReferenceConfig
from tritone.voice import Arrays


@dataclass(frozen=True)
class Voice:
    """codes (n,): semantic codes of the reference, 50 a second; mel (frames, mel): its log-mel;
    style (style,): its speaker's vector.

    latents (rows, width) and emotion (width,): what the language model is told of the speaker and
    of the speaker's own emotion. The model needs no transcript. notes: on how a recording became
    this voice; they stay where it was made.
    """

    codes: Int32
    mel: Float32
    style: Float32
    latents: Float32
    emotion: Float32
    transcript: str = ""
    notes: tuple[str, ...] = ()

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        return {name: getattr(self, name) for name in _DIMENSIONS}

    @classmethod
    def from_arrays(cls, arrays: Arrays, transcript: str = "") -> Self:
        """Raises ValueError for an array that is missing, unknown or of another kind."""
        if arrays.keys() != _DIMENSIONS.keys():
            raise ValueError(f"has {sorted(arrays)}; a voice has {sorted(_DIMENSIONS)}")
        for name, dimensions in _DIMENSIONS.items():
            array, kind = arrays[name], "i" if name == "codes" else "f"
            if array.ndim != dimensions or array.dtype.kind != kind or array.dtype.itemsize != 4:
                found = f"{array.dtype} {list(array.shape)}"
                raise ValueError(f"{name} is {found}; it has {dimensions} dimensions of {kind}4")
            if kind == "f" and not np.isfinite(array).all():
                raise ValueError(f"{name} has values that are NaN or infinite")
        known: dict[str, Any] = {name: arrays[name] for name in _DIMENSIONS}
        return cls(**known, transcript=transcript)

    def fault(self, gpt: GptConfig, reference: ReferenceConfig) -> str:
        """What is wrong with it for a checkpoint of these numbers; empty if nothing."""
        wanted = {
            "latents": (gpt.speaker.latents, gpt.width),
            "emotion": (gpt.width,),
            "style": (reference.speaker.width,),
            "mel": (len(self.mel), MEL_BINS),
        }
        for name, shape in wanted.items():
            if (found := getattr(self, name).shape) != shape:
                return f"has {name} of shape {list(found)}; this checkpoint has {list(shape)}"
        if self.codes.size and not 0 <= self.codes.min() <= self.codes.max() < gpt.codes:
            return f"has speech codes outside 0 to {gpt.codes - 1}"
        return ""


_DIMENSIONS = {"codes": 1, "mel": 2, "style": 1, "latents": 2, "emotion": 1}

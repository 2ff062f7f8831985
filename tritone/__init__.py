"""Tritone: streaming text-to-speech with CosyVoice2 checkpoints.

    import tritone

    with tritone.load("checkpoints/embedded") as tts:
        for chunk in tts.stream("Hello there."):
            play(chunk.samples)

Samples are float32 in [-1, 1] at `tts.sample_rate`.
"""

from typing import TYPE_CHECKING, Any

from tritone.errors import (
    Cancelled,
    EnvironmentProblem,
    InvalidRequest,
    ModelDirectoryError,
    Overloaded,
    StageFailed,
    TritoneError,
)
from tritone.types import AudioChunk, SamplingParams, Voice

if TYPE_CHECKING:
    from tritone.local import TTS, load

__all__ = [
    "TTS",
    "AudioChunk",
    "Cancelled",
    "EnvironmentProblem",
    "InvalidRequest",
    "ModelDirectoryError",
    "Overloaded",
    "SamplingParams",
    "StageFailed",
    "TritoneError",
    "Voice",
    "load",
]


def __getattr__(name: str) -> Any:
    # The server's processes import parts of this package and most of them need no torch.
    if name in ("TTS", "load"):
        from tritone import local

        return getattr(local, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

"""Tritone: streaming text-to-speech with released checkpoints.

    import tritone

    with tritone.load("checkpoints/embedded") as tts:
        for chunk in tts.stream("Hello there."):
            play(chunk.samples)

Samples are float32 in [-1, 1] at `tts.sample_rate`.
"""

import os
from importlib import import_module
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

if TYPE_CHECKING:
    from tritone.llm.contract import SamplingParams
    from tritone.local.pieces import FLUSH
    from tritone.local.tts import TTS, load
    from tritone.synthesis.values import AudioChunk, Emotion
    from tritone.voice import Voice

# ONNX Runtime 1.31 reports its use to its makers, unless this is set before it is imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

__all__ = [
    "FLUSH",
    "TTS",
    "AudioChunk",
    "Cancelled",
    "Emotion",
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

# Imported when they are asked for: most processes of the server need no torch, and the doctor must
# run where numpy cannot be imported.
_MODULES = {
    "TTS": "tritone.local.tts",
    "load": "tritone.local.tts",
    "FLUSH": "tritone.local.pieces",
    "AudioChunk": "tritone.synthesis.values",
    "Emotion": "tritone.synthesis.values",
    "SamplingParams": "tritone.llm.contract",
    "Voice": "tritone.voice",
}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(import_module(_MODULES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

"""tritone golden: how a model directory speaks, kept for servers to compare themselves with."""

from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from tritone.cli.command import refused
from tritone.errors import ModelDirectoryError
from tritone.launcher.golden import SENTENCE, Golden, Spoken, store
from tritone.launcher.warm_up import voices_to_warm
from tritone.llm.contract import SamplingParams
from tritone.local.tts import TTS, load
from tritone.resources import embedded_voice

ModelDir = Annotated[
    Path | None, typer.Argument(envvar="TRITONE_MODEL", metavar="MODEL_DIR", help="what speaks")
]


def golden(
    model: ModelDir = None,
    text: Annotated[str, typer.Option(help="a sentence of some two seconds")] = SENTENCE,
    voice: Annotated[str | None, typer.Option(help="a registered voice (the default one)")] = None,
) -> int:
    """Speak a sentence in this process and keep in MODEL_DIR/golden.json how it
    sounds. From then on tritone serve speaks it before it says ready, and
    refuses where it sounds otherwise.

    Exit status: 0 kept, 1 the speech is flawed and not kept, 2 the command
    line or the model directory is wrong.
    """
    folder = model or embedded_voice()
    voices = voices_to_warm(folder)
    voice = voice or (voices[-1] if voices else None)
    if voice is None:
        return refused(f"{folder} has no registered voice; add one to its folder voices")
    with load(folder) as tts:
        spoken = spoken_by(tts, text, voice)
    try:
        kept = Golden.of(text, voice, spoken)
    except ModelDirectoryError as error:
        return refused(error, 1)
    print(f"{store(folder, kept)}: {text!r} in the voice {voice}")
    return 0


def spoken_by(tts: TTS, text: str, voice: str, top_k: int | None = 1) -> Spoken:
    """As a server speaks its golden sample; raises as `TTS.stream`."""
    chunks = list(tts.stream(text, voice=voice, sampling=SamplingParams(top_k=top_k, seed=1)))
    samples = np.concatenate([chunk.samples for chunk in chunks])
    flaws = chunks[-1].timing["flaws"]
    assert isinstance(flaws, dict)
    return Spoken(samples, tts.sample_rate, flaws)

"""After a conversion: load everything the way the server does and say what holds."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tritone.acoustic.placement import FlowSettings, VocoderSettings
from tritone.acoustic.presets import SolverChoice
from tritone.arrays import Float32
from tritone.checkpoints.licences import PAGE
from tritone.checkpoints.safetensors_file import Checkpoint
from tritone.errors import ModelDirectoryError
from tritone.families.contract import Family
from tritone.families.indextts2.acoustics import FLOW_FILE, VOCODER_FILE
from tritone.families.indextts2.config import IndexTTS2Config
from tritone.families.indextts2.frontend import IndexTTS2Frontend
from tritone.families.indextts2.gpt_runtime import DECODER_FILE, open_gpt
from tritone.families.indextts2.gpt_torch import open_gpt_torch
from tritone.families.indextts2.voice import Voice
from tritone.frontend.audio.features import SPEECH_RATE
from tritone.frontend.voices import VoiceStore
from tritone.llm.contract import GenerationRequest, Increment, Prompt, SamplingParams
from tritone.memory import give_back
from tritone.synthesis.values import Segment, SynthesisRequest

CODES = 25
ODE_STEPS = 2
_TEXT = "Tritone is READY."


def self_check(model_dir: Path, family: Family[Any], precisions: tuple[str, ...]) -> Iterator[str]:
    """Yield one line for each part that was verified; raise ModelDirectoryError at a failure.

    A part is loaded when those before it are let go: the largest decides how much memory it takes.
    precisions: of graphs of the language model; none lets torch run it.
    Little is spoken, in few steps: it shows that every network is whole and gives finite values.
    """
    give_back()  # of what the conversion took
    config = IndexTTS2Config.read(model_dir)
    yield f"config.json: family {config.family}, {config.sample_rate} Hz"
    segment, line = _spoken_to(model_dir, config)
    give_back()
    yield line
    for precision in precisions or ("",):
        said = _generation(model_dir, config, segment.prompt, precision)
        give_back()
    count, how = Checkpoint(model_dir / DECODER_FILE).values, ", ".join(precisions)
    told = f"{DECODER_FILE}: {count:,} parameters; {len(said)} codes with their latents"
    yield f"{told} ({how})" if how else told
    yield _acoustics(model_dir, family, config, said, segment.voice)
    store = VoiceStore(model_dir)
    for name in store.names():
        store.load(name, Voice)
    yield f"voices: {', '.join(store.names()) or 'none registered'}"
    yield f"{PAGE}: what applies to these files"


def _spoken_to(model_dir: Path, config: IndexTTS2Config) -> tuple[Segment, str]:
    request = SynthesisRequest(_TEXT, reference_wav=buzz(), reference_rate=SPEECH_RATE)
    (segment,) = IndexTTS2Frontend(model_dir, config).prepare(request)
    voice = segment.voice
    assert isinstance(voice, Voice)
    arrays = [np.asarray(segment.prompt.embeddings), *voice.to_arrays().values()]
    if not all(np.isfinite(array).all() for array in arrays):
        raise ModelDirectoryError(f"{model_dir}: a recording gives values that are not finite")
    return segment, (
        f"cloning: 1 s of audio gave {len(voice.codes)} codes, {len(voice.mel)} mel frames and "
        f"{len(voice.latents)} vectors; the text has {segment.target_tokens} pieces"
    )


def buzz() -> Float32:
    """A second of it at `SPEECH_RATE`: it has harmonics as a voice has."""
    turns = 120 * np.arange(SPEECH_RATE) / SPEECH_RATE
    wave = np.sum([np.sin(2 * np.pi * turns * n) / n for n in range(1, 8)], axis=0)
    return np.asarray(0.2 * wave, np.float32)


def _generation(
    model_dir: Path, config: IndexTTS2Config, prompt: Prompt, precision: str
) -> Increment:
    positions = len(prompt) + 2 * CODES
    if precision:
        language_model = open_gpt(
            model_dir, config, precision=precision, slots=1, max_tokens=positions
        )
    else:
        language_model = open_gpt_torch(
            model_dir, config, device="cpu", dtype="fp32", slots=1, max_tokens=positions
        )
    request = GenerationRequest(prompt, CODES, CODES, SamplingParams(top_k=1, seed=0))
    try:
        said = Increment.joined(list(language_model.submit(request)))
    finally:
        language_model.close()
    stray = [code for code in said.ids.tolist() if code >= config.gpt.codes]
    if stray or said.latents is None or not np.isfinite(said.latents).all():
        what = f"code {stray[0]}" if stray else "latents that are not finite"
        raise ModelDirectoryError(f"{model_dir / DECODER_FILE} gave {what}")
    return said


def _acoustics(
    model_dir: Path, family: Family[Any], config: IndexTTS2Config, said: Increment, voice: Any
) -> str:
    fewer = family.with_solver(config, SolverChoice(ode_steps=ODE_STEPS))
    flow = family.load_flow(model_dir, fewer, FlowSettings())
    vocoder = family.load_vocoder(model_dir, config, VocoderSettings())
    mel, _ = flow.step(said, flow.open(voice), finalize=True)
    wave, _ = vocoder.step(mel, vocoder.start(seed=0, speed=1.0), finalize=True)
    if not (np.isfinite(mel).all() and np.isfinite(wave).all()):
        raise ModelDirectoryError(f"{model_dir}: flow or vocoder give values that are not finite")
    counts = [Checkpoint(model_dir / name).values for name in (FLOW_FILE, VOCODER_FILE)]
    return (
        f"flow: {counts[0]:,} parameters, vocoder: {counts[1]:,}; {len(said)} codes gave "
        f"{mel.shape[1]} mel frames and {len(wave) / config.sample_rate:.2f} s of finite audio"
    )

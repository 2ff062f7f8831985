"""After a conversion: load everything the way the server does and say what holds.

Of both generations, whose parts have the same names.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tritone.acoustic.placement import FlowSettings, VocoderSettings
from tritone.checkpoints.safetensors_file import Checkpoint
from tritone.errors import ModelDirectoryError
from tritone.families.contract import Family
from tritone.families.cosyvoice2.acoustics import FLOW_FILE, VOCODER_FILE
from tritone.families.cosyvoice2.encoder_files import missing_models
from tritone.families.cosyvoice2.reference import load_reader
from tritone.families.cosyvoice2.text_tokenizer import load_tokenizer
from tritone.frontend.audio.features import SPEECH_RATE
from tritone.frontend.text.tokenizer import TOKENIZER_NAME
from tritone.frontend.voices import VoiceStore
from tritone.llm.checkpoint import HEAD_BIAS, WEIGHTS_NAME
from tritone.llm.contract import GenerationRequest, Increment, Prompt, SamplingParams
from tritone.llm.slots.opening import open_onnx

TOKENS = 40  # enough for one whole attention chunk and a part of the next


def self_check(
    model_dir: Path,
    family: Family[Any],
    precisions: tuple[str, ...],
) -> Iterator[str]:
    """Yield one line for each part that was verified; raise ModelDirectoryError at a failure."""
    config = family.config.read(model_dir)
    yield f"config.json: family {config.family}, {config.sample_rate} Hz"
    yield _text(model_dir, config)
    yield _head(model_dir, config)
    for precision in precisions:
        yield _generation(model_dir, config, precision)
    yield _acoustics(model_dir, family, config)
    yield _cloning(model_dir, family, config)
    store = VoiceStore(model_dir)
    for name in store.names():
        store.load(name, family.voice)
    yield f"voices: {', '.join(store.names()) or 'none registered'}"


def _text(model_dir: Path, config: Any) -> str:
    tokenizer = load_tokenizer(model_dir, config.llm)
    ids = tokenizer.encode("<|im_start|>speech<|s_1|>")
    if any(i >= config.llm.speech_offset for i in ids):
        raise ModelDirectoryError(f"{TOKENIZER_NAME}: user text reaches speech or control ids")
    return f"{TOKENIZER_NAME}: {tokenizer.size} text ids; user text makes no control id"


def _head(model_dir: Path, config: Any) -> str:
    """The speech head's bias: runtimes that drop it shift every logit by this much."""
    llm = config.llm
    bias = Checkpoint(model_dir / "llm" / WEIGHTS_NAME).float32(HEAD_BIAS)
    head = slice(llm.speech_offset, llm.speech_offset + llm.speech_head_size)
    speech, others = bias[head], np.delete(bias, head)
    if not np.isfinite(speech).all() or not np.isneginf(others).all():
        raise ModelDirectoryError(f"llm/{WEIGHTS_NAME}: {HEAD_BIAS} does not ban exactly the text")
    return (
        f"llm: {llm.num_hidden_layers} layers of {llm.hidden_size}, {llm.speech_head_size}-row "
        f"head, bias {speech.min():.3f} to {speech.max():.3f}, {len(others)} other ids banned"
    )


def _generation(model_dir: Path, config: Any, precision: str) -> str:
    engine = open_onnx(model_dir, config, precision=precision, slots=1, max_tokens=256)
    llm = config.llm
    ids = np.array([llm.sos_id, 1, 2, 3, llm.task_id], dtype=np.int32)
    request = GenerationRequest(Prompt(ids), TOKENS, TOKENS, SamplingParams(top_k=1, seed=0))
    try:
        tokens = np.concatenate([increment.ids for increment in engine.submit(request)])
    finally:
        engine.close()
    codes = tokens - llm.speech_offset
    if not ((codes >= 0) & (codes < llm.speech_head_size)).all():
        raise ModelDirectoryError(f"llm/onnx/{precision}.onnx gave an id that is no speech code")
    return f"llm/onnx/{precision}.onnx: generated {len(tokens)} speech codes"


def _acoustics(model_dir: Path, family: Family[Any], config: Any) -> str:
    flow = family.load_flow(model_dir, config, FlowSettings(dtype=torch.float32))
    vocoder = family.load_vocoder(model_dir, config, VocoderSettings(dtype=torch.float32))
    voice, _ = flow.flow.example()
    tokens = Increment((np.arange(TOKENS) * 37 % config.flow.vocab_size).astype(np.int32))
    mel, _ = flow.step(tokens, flow.open(voice), finalize=True)
    wave, _ = vocoder.step(mel, vocoder.start(seed=0, speed=1.0), finalize=True)
    if not (np.isfinite(mel).all() and np.isfinite(wave).all()):
        raise ModelDirectoryError(f"{model_dir}: flow or vocoder give values that are not finite")
    codes = (config.llm.speech_codes, config.flow.vocab_size)
    warning = f" (warning: the language model has {codes[0]} codes, the flow {codes[1]})"
    counts = [Checkpoint(model_dir / name).values for name in (FLOW_FILE, VOCODER_FILE)]
    return (
        f"flow: {counts[0]:,} parameters, vocoder: {counts[1]:,}; {TOKENS} codes gave "
        f"{mel.shape[1]} mel frames and {len(wave) / config.sample_rate:.2f} s of finite audio"
        f"{warning if codes[0] != codes[1] else ''}"
    )


def _cloning(model_dir: Path, family: Family[Any], config: Any) -> str:
    if missing := missing_models(model_dir):
        return f"cloning: not possible without {' and '.join(missing)}; registered voices only"
    generator = torch.Generator().manual_seed(0)
    wave = 0.1 * torch.randn(SPEECH_RATE, generator=generator).numpy()
    voice = load_reader(model_dir, config.llm.speech_codes, family.voice).read(wave, SPEECH_RATE)
    sizes = (len(voice.embedding), config.flow.spk_embed_dim)
    warning = f" (warning: the flow takes one of {sizes[1]})"
    return (
        f"cloning: 1 s of audio gave {len(voice.prompt_tokens)} codes, {len(voice.prompt_mel)} "
        f"mel frames and a speaker vector of {sizes[0]}{warning if sizes[0] != sizes[1] else ''}"
    )

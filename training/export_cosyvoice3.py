"""Stage 'export' of CosyVoice3: the trained weights in the file layout of Fun-CosyVoice3-0.5B."""

import json
from pathlib import Path
from string import Template
from typing import Any

from training.codebook import CodeBook
from training.config import VoiceConfig, of_kind
from training.cosyvoice3_lm import load_language_model
from training.export import CHECKPOINT, prefixed, sampling, save, write_language_model
from training.onnx_export import write_speaker_encoder, write_speech_tokenizer
from training.speech import symbols
from training.teachers import RATE
from training.train_causal_vocoder import load_causal
from training.train_dit import load_dit
from training.train_speaker_encoder import load_speaker_encoder
from training.train_tokenizer import load_encoder
from training.upstream_weights import dit_state, stored_half, vocoder_state
from training.voices import voices
from tritone.checkpoints.atomic_write import write_json
from tritone.families.cosyvoice2 import released_files as common
from tritone.families.cosyvoice2.config import PromptConfig
from tritone.families.cosyvoice3 import released_files as names
from tritone.families.cosyvoice3.config import FlowConfig, TextConfig
from tritone.families.cosyvoice3.convert import Extras
from tritone.families.cosyvoice3.estimator import INPUTS

YAML_TEMPLATE = Path(__file__).with_name("cosyvoice3.yaml.template")


def run(work: Path, voice: VoiceConfig) -> None:
    export(work, voice, work / CHECKPOINT)


def export(work: Path, voice: VoiceConfig, target: Path) -> Path:
    """As `training.export.export`; there is no listener, which knows the tokenizer's own codes."""
    target.mkdir(parents=True, exist_ok=True)
    model = load_language_model(work, voice)
    write_language_model(work, voice.language_model, model, target)
    save(stored_half(dit_state(load_dit(work, voice))), target / common.FLOW)
    save(stored_half(vocoder_state(load_causal(work, voice))), target / common.HIFT)
    (target / names.YAML).write_text(upstream_yaml(voice), encoding="utf-8")
    encoder, book = load_encoder(work, voice.tokenizer), CodeBook.read(work)
    write_speech_tokenizer(encoder, target / names.SPEECH_TOKENIZER, book)
    speakers = load_speaker_encoder(work, voice.speaker_encoder)
    write_speaker_encoder(speakers, target / common.SPEAKER_ENCODER)
    save(voices(work, voice), target / common.VOICES)
    write_json(target / common.PHONEMES, symbols())
    extras = Extras(
        sampling=sampling(work, voice),
        solver=voice.flow.model.solver,
        text=TextConfig(pronunciation="hibari"),
        text_heads=tuple((layer, 0) for layer in voice.language_model.guided_layers),
        prompt=PromptConfig(longest_seconds=voice.language_model.longest_reference),
        default_voice=next(iter(voice.speakers)),
    )
    write_json(target / common.EXTRAS, extras.model_dump(mode="json", exclude_unset=True))
    return target


def upstream_yaml(voice: VoiceConfig) -> str:
    """The text of cosyvoice3.yaml with this voice's sizes."""
    flow, vocoder = of_kind(FlowConfig, voice.flow.model), voice.vocoder.model
    values: dict[str, Any] = {
        **flow.model_dump(mode="json", exclude={"estimator", "solver"}),
        **prefixed("estimator", flow.estimator.model_dump(mode="json")),
        **prefixed("hift", vocoder.model_dump(mode="json")),
        "sample_rate": RATE,
        "training_cfg_rate": voice.flow.unconditional,
        "inference_cfg_rate": flow.solver.inference_cfg_rate,
        "decoder_in_channels": (INPUTS - 1) * flow.output_size,
    }
    template = Template(YAML_TEMPLATE.read_text(encoding="utf-8"))
    return template.substitute({key: json.dumps(value) for key, value in values.items()})

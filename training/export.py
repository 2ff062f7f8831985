"""Stage 'export': the trained weights as a checkpoint in the file layout of CosyVoice2-0.5B.

What tritone convert reads of a released checkpoint it reads of this one; `tritone.json` and
`phoneme_pua.json` hold what upstream's files have no place for.
"""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from string import Template
from typing import Any

import torch

from training.config import LanguageModelConfig, VoiceConfig, of_kind
from training.dataset import Track
from training.language_model import SpeechLanguageModel
from training.loop import START, trained_state
from training.onnx_export import write_speaker_encoder, write_speech_tokenizer
from training.speech import symbols
from training.teachers import RATE
from training.text_tokens import TextTokens
from training.train_flow import load_flow
from training.train_listener import load_listener, write_listener
from training.train_polish import load_polished
from training.train_speaker_encoder import load_speaker_encoder
from training.train_tokenizer import load_encoder
from training.upstream_weights import flow_state, stored_half, vocoder_state
from training.voices import voices
from tritone.checkpoints.atomic_write import write_json, written_whole
from tritone.families.cosyvoice2 import released_files as names
from tritone.families.cosyvoice2.config import (
    FlowConfig,
    PromptConfig,
    TextConfig,
    VocoderConfig,
)
from tritone.families.cosyvoice2.convert import Extras
from tritone.families.cosyvoice2.estimator import INPUTS
from tritone.frontend.text.tokenizer import TOKENIZER_NAME
from tritone.llm.config import SamplingConfig

YAML_TEMPLATE = Path(__file__).with_name("cosyvoice2.yaml.template")
POSITIONS = 2048  # of the language model: 80 s of speech
MEASURED = 2000  # utterances of each speaker that the pace is taken from
# A generation may be this much shorter or longer than all of the training data.
SLACK_BELOW, SLACK_ABOVE = 0.7, 1.15
BESIDE = 14  # speech tokens that do not grow with the text
CHECKPOINT = "checkpoint"  # where a run of the stage leaves the checkpoint, in its work folder


def run(work: Path, voice: VoiceConfig) -> None:
    export(work, voice, work / CHECKPOINT)


def export(work: Path, voice: VoiceConfig, target: Path) -> Path:
    """Write the checkpoint of the stages in `work` to `target` and return `target`.

    Raises SystemExit that names the stage whose result is missing.
    """
    target.mkdir(parents=True, exist_ok=True)
    model = load_language_model(work, voice.language_model)
    write_language_model(work, voice.language_model, model, target)
    save(stored_half(flow_state(load_flow(work, voice))), target / names.FLOW)
    save(stored_half(vocoder_state(load_polished(work, voice).network)), target / names.HIFT)
    (target / names.YAML).write_text(upstream_yaml(voice), encoding="utf-8")
    write_speech_tokenizer(load_encoder(work, voice.tokenizer), target / names.SPEECH_TOKENIZER)
    write_listener(load_listener(work), target / names.LISTENER)
    encoder = load_speaker_encoder(work, voice.speaker_encoder)
    write_speaker_encoder(encoder, target / names.SPEAKER_ENCODER)
    save(voices(work, voice), target / names.VOICES)
    write_json(target / names.PHONEMES, symbols())
    extras = Extras(
        sampling=sampling(work, voice),
        solver=voice.flow.model.solver,
        text=TextConfig(pronunciation="hibari"),
        free_phase=of_kind(VocoderConfig, voice.vocoder.model).free_phase,
        text_heads=tuple((layer, 0) for layer in voice.language_model.guided_layers),
        prompt=PromptConfig(longest_seconds=voice.language_model.longest_reference),
        default_voice=next(iter(voice.speakers)),
    )
    write_json(target / names.EXTRAS, extras.model_dump(mode="json"))
    return target


def load_language_model(work: Path, config: LanguageModelConfig) -> SpeechLanguageModel:
    spelling = TextTokens(work / TOKENIZER_NAME).spelling()
    model = SpeechLanguageModel(config, spelling)
    state = trained_state(work / "lm")
    if config.kept:  # of what was known before, some is lost again (WiSE-FT, Wortsman et al. 2022)
        begun = torch.load(work / "lm" / START, weights_only=True, map_location="cpu")
        state = {name: value.lerp(begun[name], config.kept) for name, value in state.items()}
    model.load_state_dict(state)
    return model.eval()


def write_language_model(
    work: Path, config: LanguageModelConfig, model: SpeechLanguageModel, target: Path
) -> None:
    """llm.pt, and the Qwen2 directory beside it without weights of its own."""
    save(stored_half(model.upstream_state()), target / names.LLM)
    base = target / names.BASE_LLM
    base.mkdir(exist_ok=True)
    shutil.copyfile(work / TOKENIZER_NAME, base / TOKENIZER_NAME)
    write_json(base / "config.json", _qwen2(config, len(model.text.features)))
    write_json(base / "generation_config.json", {"do_sample": False})


def _qwen2(config: LanguageModelConfig, text_ids: int) -> dict[str, Any]:
    return {
        "architectures": ["Qwen2ForCausalLM"],
        "model_type": "qwen2",
        "vocab_size": text_ids,
        "hidden_size": config.hidden_size,
        "intermediate_size": config.intermediate_size,
        "num_hidden_layers": config.num_hidden_layers,
        "num_attention_heads": config.num_attention_heads,
        "num_key_value_heads": config.num_key_value_heads,
        "max_position_embeddings": POSITIONS,
        "rope_theta": config.rope_theta,
        "rms_norm_eps": config.rms_norm_eps,
        "hidden_act": "silu",
        "attention_dropout": 0.0,
        "use_sliding_window": False,
        "tie_word_embeddings": True,
        "torch_dtype": "float16",
    }


def upstream_yaml(voice: VoiceConfig) -> str:
    """The text of cosyvoice2.yaml with this voice's sizes."""
    flow, vocoder = of_kind(FlowConfig, voice.flow.model), voice.vocoder.model
    values: dict[str, Any] = {
        **flow.model_dump(mode="json", exclude={"encoder", "estimator", "solver"}),
        **prefixed("encoder", flow.encoder.model_dump(mode="json")),
        **prefixed("estimator", flow.estimator.model_dump(mode="json")),
        **prefixed("hift", vocoder.model_dump(mode="json")),
        "sample_rate": RATE,
        "training_cfg_rate": voice.flow.unconditional,
        "inference_cfg_rate": flow.solver.inference_cfg_rate,
        "decoder_in_channels": (INPUTS - 1) * flow.output_size,
        "estimator_in_channels": INPUTS * flow.output_size,
    }
    template = Template(YAML_TEMPLATE.read_text(encoding="utf-8"))
    return template.substitute({key: json.dumps(value) for key, value in values.items()})


def prefixed(prefix: str, values: dict[str, Any]) -> dict[str, Any]:
    return {f"{prefix}_{key}": value for key, value in values.items()}


def sampling(work: Path, voice: VoiceConfig) -> SamplingConfig:
    """Greedy, with the bounds on a generation's length that the training data suggests."""
    tokens = TextTokens(work / TOKENIZER_NAME)
    paces = [pace for name in voice.speakers for pace in _paces(Track(work, name), tokens)]
    return SamplingConfig(
        top_k=1,
        min_tokens_per_text_token=round(SLACK_BELOW * min(least for least, _ in paces), 2),
        max_tokens_per_text_token=round(SLACK_ABOVE * max(most for _, most in paces), 2),
        tokens_beside=BESIDE,
    )


def _paces(track: Track, tokens: TextTokens) -> Iterator[tuple[float, float]]:
    """Speech tokens for each text token, of the first utterances: all, and those beyond BESIDE."""
    utterances = list(zip(track.texts, track.ends, track.lengths, strict=True))
    for text, ends, length in utterances[:MEASURED]:
        count = len(tokens.encode(text, ends)[0])
        yield int(length) / count, (int(length) - BESIDE) / count


def save(value: object, path: Path) -> None:
    with written_whole(path) as partial:
        torch.save(value, partial)

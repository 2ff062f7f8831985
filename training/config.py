"""The configuration of one voice: every number that the stages use (voice.yaml)."""

from pathlib import Path
from typing import Any, Literal, TypeVar

import yaml

from tritone.config import Strict
from tritone.families.cosyvoice2.config import FlowConfig, VocoderConfig
from tritone.families.cosyvoice3 import config as cosyvoice3

StrictT = TypeVar("StrictT", bound=Strict)


class CorpusConfig(Strict):
    seed: int
    shortest_words: int
    longest_words: int
    longest_clauses: int  # words of a sentence that is joined from clauses
    sentences: int  # of WordNet, at most
    templates: int  # with numbers, dates, prices and names
    phrases: int  # of one to five words
    clauses: int  # sentences of several clauses


class SpeakerConfig(Strict):
    teacher: str
    first: int  # line of the corpus that this speaker begins with
    utterances: int
    f0_range: tuple[float, float]  # Hz


class SpeechConfig(Strict):
    shard: int  # utterances a file
    shortest_seconds: float
    longest_seconds: float
    loudness: float  # LUFS of every utterance
    mel_top_hz: float  # of the highest bin
    silence_db: float  # frames this far below the loudest one are cut at both ends
    lead_seconds: tuple[float, float]  # silence kept before the speech, drawn between the two
    tail_seconds: tuple[float, float]


class LoopConfig(Strict):
    """Optimiser and schedule of one training stage."""

    steps: int
    batch: int
    learning_rate: float
    weight_decay: float = 0.01
    betas: tuple[float, float] = (0.9, 0.98)
    warmup: int = 200
    clip: float = 1.0
    ema: float = 0.0  # decay of the averaged weights that are exported; 0 turns it off
    seed: int = 1
    log_every: int = 50
    save_every: int = 500


class TokenizerConfig(Strict):
    mel: int = 128
    width: int
    hidden: int
    frame_blocks: int  # blocks at 50 Hz
    token_blocks: int  # blocks at 25 Hz
    decoder_width: int
    corrupt: float  # share of digits replaced in training
    phoneme_weight: float
    tokens: int  # length of a training crop
    loop: LoopConfig


class SpeakerEncoderConfig(Strict):
    bins: int = 80
    width: int
    dilations: tuple[int, ...]
    embedding: int = 192
    rates: tuple[float, ...]  # playback rates that make virtual speakers of each teacher
    seconds: float  # length of a training crop
    utterances: int  # read of each speaker
    loop: LoopConfig


class TextConfig(Strict):
    vocabulary: int
    rarest: int  # a pair seen less often is not merged


class LanguageModelConfig(Strict):
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    rope_theta: float
    rms_norm_eps: float = 1e-6
    guided_layers: tuple[int, ...]
    guide_weight: float
    bpe_dropout: float
    longest_tokens: int  # speech tokens of several utterances joined in one example
    interleaved: float  # share of examples in 5:15 order
    batch_tokens: int  # positions in a batch, padding included
    prompted: tuple[str, ...]  # speakers that the model only continues, never begins
    prompts: float  # share of the other speakers' examples that continue a prompt too
    longest_prompt: int  # speech tokens of one
    longest_reference: float  # seconds of speech that references are cut to
    worn: float  # share of prompts that are badly recorded
    kept: float = 0.0  # share of the weights that training began with, in those that are exported
    loop: LoopConfig

    @property
    def head_size(self) -> int:
        return self.hidden_size // self.num_attention_heads


class FlowTrainingConfig(Strict):
    model: FlowConfig | cosyvoice3.FlowConfig
    tokens: int  # length of a training crop, look-ahead included
    encoder_steps: int  # first steps, of the encoder alone: a quarter of the cost
    noise: float  # deviation of the start noise in training
    prior_weight: float  # of the distance between the encoder's output and the mel
    chunked: float  # share of steps with the chunk mask
    prompted: float  # share of rows with a prompt
    unconditional: float  # share of rows without any condition, for guidance
    loop: LoopConfig


class VocoderTrainingConfig(Strict):
    model: VocoderConfig | cosyvoice3.VocoderConfig
    frames: int  # length of a training crop
    hours: float  # of each speaker
    rows: dict[str, int]  # of each speaker in a batch
    loop: LoopConfig


def of_kind(kind: type[StrictT], config: Strict) -> StrictT:
    """The configuration, which has to be of that kind: each generation has its own networks."""
    if not isinstance(config, kind):
        raise SystemExit(f"{config!r:.60} is not of {kind.__module__}: see `family`")
    return config


class VoiceConfig(Strict):
    family: Literal["cosyvoice2", "cosyvoice3"] = "cosyvoice2"
    start: Path | None = None  # a model directory whose weights the stages begin with
    codes: int | None = None  # groups of the tokenizer's codes; without, each is told apart
    corpus: CorpusConfig
    speakers: dict[str, SpeakerConfig]
    speech: SpeechConfig
    tokenizer: TokenizerConfig
    speaker_encoder: SpeakerEncoderConfig
    text: TextConfig
    language_model: LanguageModelConfig
    flow: FlowTrainingConfig
    vocoder: VocoderTrainingConfig
    listener: LoopConfig
    polish: LoopConfig  # of the vocoder against discriminators


def read_voice(*paths: Path) -> VoiceConfig:
    """Read a configuration; what a later file says replaces what an earlier one says,
    and null takes it away.

    pydantic's ValidationError names each key at fault.
    """
    merged: dict[str, Any] = {}
    for path in paths:
        _merge(merged, yaml.safe_load(path.read_text(encoding="utf-8")) or {})
    return VoiceConfig.model_validate(merged)


def _merge(base: dict[str, Any], changes: dict[str, Any]) -> None:
    for key, value in changes.items():
        if value is None:
            base.pop(key, None)
        elif isinstance(value, dict) and isinstance(base.get(key), dict):
            _merge(base[key], value)
        else:
            base[key] = value

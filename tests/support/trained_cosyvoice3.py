"""`trained_work` for CosyVoice3: a work folder as its training stages leave it, at tiny sizes."""

from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from trained_work import (
    CONFIG,
    SENTENCES,
    TINY,
    Humming,
    train_nothing,
)

from training import speech
from training.codebook import CodeBook
from training.config import VoiceConfig, of_kind, read_voice
from training.cosyvoice3_lm import CosyVoice3LanguageModel, add_tokens
from training.dataset import Track
from training.teachers import TEACHERS
from training.text_tokens import TextTokens, train_tokenizer
from training.train_causal_vocoder import TrainedHiFT
from training.train_dit import TrainedDiT
from training.train_speaker_encoder import Classifier
from training.train_tokenizer import Autoencoder, write_codes
from tritone.families.cosyvoice3.config import FlowConfig, VocoderConfig

CODES = 40
SMALL: dict[str, Any] = {
    "start": None,
    "codes": CODES,
    "speakers": {"heart": {"teacher": "humming", "first": 0, "utterances": 7}},
    "speech": TINY["speech"],
    "tokenizer": TINY["tokenizer"],
    "speaker_encoder": TINY["speaker_encoder"],
    "text": TINY["text"],
    "language_model": TINY["language_model"],
    "flow": {
        "model": {
            "vocab_size": CODES,
            "lookahead_channels": 24,
            "estimator": {"dim": 32, "depth": 2, "heads": 2, "dim_head": 6},
            "solver": {"n_timesteps": 2},
        }
    },
    "vocoder": {"model": {"base_channels": 16, "f0_channels": 8}, "frames": 12},
}


def tiny_voice(folder: Path) -> VoiceConfig:
    """voice.yaml under cosyvoice3.yaml, with tiny sizes."""
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump(SMALL), encoding="utf-8")
    return read_voice(CONFIG, CONFIG.with_name("cosyvoice3.yaml"), path)


def cosyvoice3_work(factory: pytest.TempPathFactory) -> tuple[Path, VoiceConfig]:
    """The work folder and its configuration, made once a session: tests may add, not change."""
    return _work_in(factory.getbasetemp())


@lru_cache(maxsize=1)
def _work_in(folder: Path) -> tuple[Path, VoiceConfig]:
    work = folder / "trained_cosyvoice3"
    work.mkdir()
    voice = tiny_voice(work)
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setitem(TEACHERS, "humming", Humming)
        _speak(work, voice)
    torch.manual_seed(0)
    tokenizer = Autoencoder(voice.tokenizer, 1, 50)
    with torch.no_grad():  # so that the digits of a random tokenizer follow the sound
        tokenizer.get_parameter("encoder.output.weight").mul_(8)
    train_nothing(work / "tokenizer", tokenizer)
    train_nothing(work / "speaker", Classifier(voice.speaker_encoder, 10))
    write_codes(work, voice)
    book = CodeBook.read(work)
    spelling = TextTokens(work / "tokenizer.json").spelling()
    train_nothing(work / "lm", CosyVoice3LanguageModel(voice, spelling, book))
    train_nothing(work / "flow", TrainedDiT(of_kind(FlowConfig, voice.flow.model), book))
    train_nothing(work / "vocoder", TrainedHiFT(of_kind(VocoderConfig, voice.vocoder.model)))
    return work, voice


def _speak(work: Path, voice: VoiceConfig) -> None:
    (work / "corpus.txt").write_text("\n".join(SENTENCES) + "\n", encoding="utf-8")
    for path, lines, speaker in speech._jobs(work, voice):
        speech.write_shard(path, lines, speaker, voice.speech)
    train_tokenizer(Track(work, "heart").texts, voice.text, work / "tokenizer.json")
    add_tokens(work / "tokenizer.json")

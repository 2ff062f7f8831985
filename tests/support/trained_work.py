"""A work folder as the training stages leave it, at tiny sizes and with a teacher that hums."""

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from torch import nn

from training import speech
from training.config import LoopConfig, VoiceConfig
from training.dataset import Track
from training.language_model import SpeechLanguageModel
from training.loop import Training
from training.teachers import RATE, TEACHERS, Spoken, Teacher
from training.text_tokens import TextTokens, train_tokenizer
from training.train_flow import TrainedFlow
from training.train_listener import Listener
from training.train_polish import Duel
from training.train_speaker_encoder import Classifier
from training.train_tokenizer import Autoencoder, PhonemeClasses, write_codes
from tritone.families.cosyvoice2.hift import HiFT

CONFIG = Path(speech.__file__).with_name("voice.yaml")
SENTENCES = (
    "the cat sat on the mat.",
    "is it here?",
    "a good day for a long walk by the sea.",
    "she sells sea shells, he buys them.",
    "the train to the north leaves at nine.",
    "he read the letter to his mother.",
    "we had a warm supper and went to bed.",
    "they went home late.",
)
TINY: dict[str, dict[str, Any]] = {
    "speech": {"shard": 5, "shortest_seconds": 0.6, "longest_seconds": 9.0}
    | {"lead_seconds": [0.06, 0.06], "tail_seconds": [0.14, 0.14]},
    "tokenizer": {"width": 16, "hidden": 16, "decoder_width": 8},
    "speaker_encoder": {"width": 16, "dilations": [1, 2]},
    "text": {"vocabulary": 80, "rarest": 2},
    "language_model": {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
    | {"num_attention_heads": 2, "num_key_value_heads": 1, "guided_layers": [0, 1]},
    "flow": {
        "input_size": 16,
        "encoder": {"output_size": 16, "attention_heads": 2, "linear_units": 16}
        | {"num_blocks": 1, "num_up_blocks": 1},
        "estimator": {"channels": 16, "attention_head_dim": 8, "num_heads": 2}
        | {"n_blocks": 1, "num_mid_blocks": 1},
        "solver": {"n_timesteps": 2, "inference_cfg_rate": 0.7, "start_noise_scale": 0.5},
    },
    "vocoder": {"base_channels": 16, "f0_channels": 8},
}


class Humming(Teacher):
    """A tone for each character, its pitch and colour decided by the character."""

    SECONDS = 0.09  # of each character
    PITCH = 200.0

    def speak(self, phonemes: str, seed: int) -> Spoken:
        time = np.arange(int(self.SECONDS * RATE)) / RATE
        rng, tones = np.random.default_rng(seed), []
        for character in phonemes:
            weights = np.random.default_rng(ord(character)).uniform(0, 1, 12)
            pitch = self.PITCH * (1 + ord(character) % 7 / 20)
            phase = 2 * np.pi * pitch * time * np.arange(1, 13)[:, None]
            tones.append((weights[:, None] * np.sin(phase)).sum(axis=0))
        wav = np.concatenate(tones) + rng.normal(0, 0.05, len(time) * len(phonemes))
        ends = self.SECONDS * np.arange(1, len(phonemes) + 1)
        return Spoken((0.05 * wav).astype(np.float32), ends)


class DeepHumming(Humming):
    PITCH = 110.0


def tiny_voice() -> VoiceConfig:
    """voice.yaml with tiny sizes."""
    tree = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))
    for part, sizes in TINY.items():
        tree[part].get("model", tree[part]).update(sizes)
    for first, (speaker, teacher) in enumerate({"heart": "humming", "joe": "deep"}.items()):
        tree["speakers"][speaker] = {"teacher": teacher, "first": first, "utterances": 7}
        tree["speakers"][speaker]["f0_range"] = [60.0, 450.0]
    return VoiceConfig.model_validate(tree)


def train_nothing(folder: Path, module: nn.Module) -> None:
    """Save a module's weights as a stage does, after one step that leaves them nearly as is."""
    config = LoopConfig(steps=1, batch=1, learning_rate=1e-9, ema=0.9)
    zero = [parameter.sum() * 0 for parameter in module.parameters()]
    Training(folder, module, config).run(lambda _: {"loss": torch.stack(zero).sum()}, dict)


def shared_work(factory: pytest.TempPathFactory) -> Path:
    """The work folder of `tiny_voice`, made once a session: tests may add to it, not change it."""
    return _work_in(factory.getbasetemp())


@lru_cache(maxsize=1)
def _work_in(folder: Path) -> Path:
    with pytest.MonkeyPatch.context() as monkeypatch:
        return _trained_work(folder / "trained", tiny_voice(), monkeypatch)


def _trained_work(work: Path, voice: VoiceConfig, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every file that the export reads, written by the stages' own code."""
    monkeypatch.setitem(TEACHERS, "humming", Humming)
    monkeypatch.setitem(TEACHERS, "deep", DeepHumming)
    work.mkdir()
    (work / "corpus.txt").write_text("\n".join(SENTENCES) + "\n", encoding="utf-8")
    for path, lines, speaker in speech._jobs(work, voice):
        speech.write_shard(path, lines, speaker, voice.speech)
    tracks = [Track(work, name) for name in voice.speakers]
    texts = [text for track in tracks for text in track.texts]
    train_tokenizer(texts, voice.text, work / "tokenizer.json")
    torch.manual_seed(0)
    spelling = TextTokens(work / "tokenizer.json").spelling()
    modules = {
        "tokenizer": Autoencoder(voice.tokenizer, len(tracks), 50),
        "speaker": Classifier(voice.speaker_encoder, 10),
        "lm": SpeechLanguageModel(voice.language_model, spelling),
        "flow": TrainedFlow(voice.flow.model),
        "vocoder": HiFT(voice.vocoder.model),
        "listener": Listener(PhonemeClasses().count),
        "polish": Duel(HiFT(voice.vocoder.model)),
    }
    with torch.no_grad():  # so that the digits of a random tokenizer follow the sound
        modules["tokenizer"].get_parameter("encoder.output.weight").mul_(8)
    for name, module in modules.items():
        train_nothing(work / name, module)
    write_codes(work, voice)
    return work

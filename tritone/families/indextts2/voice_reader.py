"""A recording to a voice: all that the model is told of a speaker, computed once."""

import hashlib
from functools import partial
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from tritone.acoustic.weights import checked, load_network
from tritone.arrays import Float32
from tritone.checkpoints.verify import sha256_of
from tritone.families.indextts2.campplus import CamPlusPlus
from tritone.families.indextts2.codec import SemanticCodec
from tritone.families.indextts2.gpt_conditioning import Conditioning
from tritone.families.indextts2.gpt_config import GptConfig
from tritone.families.indextts2.reference import LONGEST_S, ReferenceReader
from tritone.families.indextts2.reference_config import ReferenceConfig
from tritone.families.indextts2.voice import Voice
from tritone.families.indextts2.w2v_bert import W2vBert
from tritone.frontend.audio.features import SPEECH_RATE
from tritone.frontend.audio.recording import speech_in
from tritone.frontend.audio.resample import resample
from tritone.frontend.audio.speakers import likeness
from tritone.loading.steps import step

W2V_BERT_FILE = "w2v_bert.safetensors"
CODEC_FILE = "semantic_codec.safetensors"
SPEAKER_FILE = "speaker_encoder.safetensors"
CONDITIONING_FILE = "conditioning.safetensors"
FILES = (W2V_BERT_FILE, CODEC_FILE, SPEAKER_FILE, CONDITIONING_FILE)


class CloningConfig(Protocol):
    """The part of the configuration that is read here."""

    @property
    def gpt(self) -> GptConfig: ...

    @property
    def reference(self) -> ReferenceConfig: ...


class VoiceReader:
    """Safe to use from several threads."""

    def __init__(self, reader: ReferenceReader, conditioning: Conditioning) -> None:
        self._reader, self._conditioning = reader, conditioning

    @torch.inference_mode()
    def voice(self, wav: Float32, rate: int, shortest: float) -> Voice:
        """Of (N,) mono samples at `rate` Hz, with notes on what was done to them.

        Raises InvalidRequest where there are less than `shortest` seconds of speech in it.
        """
        recording = speech_in(wav, rate, shortest)
        notes = recording.notes
        if len(recording.wav) > LONGEST_S * rate:
            notes = (*notes, f"reference_wav: the first {LONGEST_S} s are used")
        reference = self._reader.speaker(recording.wav, rate)
        condition = torch.from_numpy(reference.condition)[None]
        latents, emotion = self._conditioning.speaker(condition), self._emotion(condition)
        return Voice(
            reference.codes,
            reference.mel,
            reference.style,
            latents[0].numpy(),
            emotion.numpy(),
            notes=notes,
        )

    @torch.inference_mode()
    def emotion(self, wav: Float32, rate: int) -> Float32:
        """(width,) of a recording that another voice is to sound like."""
        condition = torch.from_numpy(self._reader.emotion(wav, rate))[None]
        emotion: Float32 = self._emotion(condition).numpy()
        return emotion

    def likeness(self, wav: Float32, rate: int, shortest: float) -> float | None:
        """Of the speakers in (N,) samples at `rate` Hz, see `tritone.frontend.audio.speakers`."""
        speech = resample(speech_in(wav, rate, shortest).wav, rate, SPEECH_RATE)
        return likeness(speech, SPEECH_RATE, self._reader.style)

    def _emotion(self, condition: Tensor) -> Tensor:
        return self._conditioning.emotion(condition)[0]


def missing_files(model_dir: Path) -> list[str]:
    """Which of the files that make voices are not in the model directory."""
    return [name for name in FILES if not (model_dir / name).is_file()]


def files_digest(model_dir: Path) -> str:
    """SHA-256 over those of all, in hex; empty where one is missing. It reads them."""
    if missing_files(model_dir):
        return ""
    every = " ".join(sha256_of(model_dir / name) for name in FILES)
    return hashlib.sha256(every.encode()).hexdigest()


def load_voice_reader(model_dir: Path, config: CloningConfig) -> VoiceReader:
    """Raises ModelDirectoryError for a file that is missing, damaged or of other numbers: before
    the largest, which is gigabytes, is read."""
    part = config.reference
    w2v_bert, codec = partial(W2vBert, part.w2v_bert), partial(SemanticCodec, part.codec)
    speaker, conditioning = partial(CamPlusPlus, part.speaker), partial(Conditioning, config.gpt)
    with step("speech features", model_dir / W2V_BERT_FILE):
        checked(codec, model_dir / CODEC_FILE)
        checked(speaker, model_dir / SPEAKER_FILE)
        checked(conditioning, model_dir / CONDITIONING_FILE)
        features = load_network(w2v_bert, model_dir / W2V_BERT_FILE)
    with step("speech tokenizer", model_dir / CODEC_FILE):
        tokens = load_network(codec, model_dir / CODEC_FILE)
    with step("speaker encoder", model_dir / SPEAKER_FILE):
        style = load_network(speaker, model_dir / SPEAKER_FILE)
    with step("conditioners", model_dir / CONDITIONING_FILE):
        summary = load_network(conditioning, model_dir / CONDITIONING_FILE)
    return VoiceReader(ReferenceReader(features, tokens, style), summary)

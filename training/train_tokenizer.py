"""Stage 'tokenizer': train the speech tokenizer; stage 'codes': encode every utterance."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from tqdm import tqdm

from training.codebook import BOOK_NAME, CodeBook, bounded
from training.config import TokenizerConfig, VoiceConfig
from training.dataset import WHISPER_PER_TOKEN, Crops, Track
from training.fsq import codes_of, corrupt, quantise
from training.loop import Training, autocast, device, trained_state
from training.speech import FRAMES_PER_TOKEN, symbols
from training.speech_tokenizer import SpeechEncoder, TokenDecoder
from training.teachers import RATE
from training.wear import worn
from tritone.frontend.audio.features import SPEECH_RATE, whisper_log_mel
from tritone.frontend.audio.resample import resample

HELD_OUT = 3000  # tokens: two minutes of each speaker
BOOK_UTTERANCES = 2000  # that groups of codes are found from
MEL_MEAN, MEL_SCALE = -5.5, 2.2  # of natural-log mel, so that the L1 is in standard deviations


class Autoencoder(nn.Module):
    def __init__(self, config: TokenizerConfig, speakers: int, phonemes: int) -> None:
        super().__init__()
        self.encoder = SpeechEncoder(config)
        self.decoder = TokenDecoder(config, speakers, phonemes)


class PhonemeClasses:
    """Class of each phoneme character: 0 for blanks and punctuation, then the symbols."""

    def __init__(self) -> None:
        self._points = np.array(sorted(ord(c) for c in symbols().values()), np.uint32)
        self.count = len(self._points) + 1

    def __call__(self, points: NDArray[np.uint32]) -> NDArray[np.int64]:
        index = np.searchsorted(self._points, points).clip(max=len(self._points) - 1)
        return np.where(self._points[index] == points, index + 1, 0).astype(np.int64)


class TokenizerTraining:
    def __init__(self, work: Path, voice: VoiceConfig) -> None:
        self.config = voice.tokenizer
        self.tracks = [Track(work, name) for name in voice.speakers]
        self.classes = PhonemeClasses()
        self.frame_classes = [self.classes(t.frame_phonemes) for t in self.tracks]
        self.crops = Crops(self.tracks, self.config.tokens, self.config.loop.seed, HELD_OUT)
        torch.manual_seed(self.config.loop.seed)
        self.model = Autoencoder(self.config, len(self.tracks), self.classes.count)

    def _batch(self, rows: list[tuple[int, int]]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        tokens = self.config.tokens

        def gather(arrays: Sequence[NDArray[Any]], rate: int) -> Tensor:
            crops = [arrays[w][a * rate : (a + tokens) * rate] for w, a in rows]
            return torch.from_numpy(np.stack(crops)).to(device())

        whisper = gather([t.whisper for t in self.tracks], WHISPER_PER_TOKEN).float().mT
        mel = gather([t.mel for t in self.tracks], FRAMES_PER_TOKEN).float()
        speaker = torch.tensor([w for w, _ in rows], device=device())
        classes = gather(self.frame_classes, FRAMES_PER_TOKEN)
        return whisper, (mel - MEL_MEAN) / MEL_SCALE, classes, speaker

    def _losses(self, rows: list[tuple[int, int]], corrupted: float) -> dict[str, Tensor]:
        whisper, mel, classes, speaker = self._batch(rows)
        with autocast():
            hidden = self.model.encoder(whisper)
            digits = corrupt(quantise(hidden.float()), corrupted)
            restored, scores = self.model.decoder(digits, speaker)
        mel_loss = (restored.float() - mel).abs().mean()
        scores = scores.float().flatten(0, 1)
        phoneme_loss = F.cross_entropy(scores, classes.flatten())
        right = (scores.argmax(1) == classes.flatten()).float().mean()
        loss = mel_loss + self.config.phoneme_weight * phoneme_loss
        return {"loss": loss, "mel": mel_loss, "phoneme": phoneme_loss, "accuracy": right}

    def losses(self, step: int) -> dict[str, Tensor]:
        return self._losses(self.crops.pick(step, self.config.loop.batch), self.config.corrupt)

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        self.model.eval()
        rows = self.crops.pick(0, 32, validation=True)
        return {k: float(v) for k, v in self._losses(rows, 0.0).items()}


def train(work: Path, voice: VoiceConfig) -> None:
    run = TokenizerTraining(work, voice)
    Training(work / "tokenizer", run.model, voice.tokenizer.loop).run(run.losses, run.validate)


def load_encoder(work: Path, config: TokenizerConfig) -> SpeechEncoder:
    """The trained tokenizer, ready to encode."""
    encoder = SpeechEncoder(config)
    encoder.load_state_dict(trained_state(work / "tokenizer", "encoder."))
    return encoder.eval()


@torch.inference_mode()
def write_codes(work: Path, voice: VoiceConfig) -> None:
    """Encode each utterance on its own: WORK/codes/SPEAKER.npy, int16.

    WORK/codes/SPEAKER_worn.npy: the codes of the same speech as a worse recording would have it,
    which the language model sees in prompts alone.
    """
    encoder = load_encoder(work, voice.tokenizer)
    (work / "codes").mkdir(exist_ok=True)
    of_values = codes_of if voice.codes is None else _book(work, voice, encoder, voice.codes).assign
    for name in voice.speakers:
        track = Track(work, name)
        codes, poor = np.empty((2, track.tokens), np.int16)
        utterances = zip(track.starts[:-1], track.starts[1:], strict=True)
        for begin, end in tqdm(list(utterances), desc=f"codes of {name}"):
            codes[begin:end] = of_values(clean_values(encoder, track, begin, end))
            wav = worn(track.samples(begin, end - begin), np.random.default_rng(begin))
            log_mel = whisper_log_mel(resample(wav, RATE, SPEECH_RATE))
            poor[begin:end] = of_values(_values(encoder, log_mel))
        np.save(work / "codes" / f"{name}.npy", codes)
        np.save(work / "codes" / f"{name}_worn.npy", poor)


def _book(work: Path, voice: VoiceConfig, encoder: SpeechEncoder, codes: int) -> CodeBook:
    """Groups of what the first speaker says, found once and kept."""
    if not (work / "codes" / BOOK_NAME).is_file():
        track = Track(work, next(iter(voice.speakers)))
        spans = zip(track.starts[:BOOK_UTTERANCES], track.starts[1:], strict=False)
        values = torch.cat([clean_values(encoder, track, a, b) for a, b in spans])
        level = track.mel[: len(values) * FRAMES_PER_TOKEN : FRAMES_PER_TOKEN].mean(axis=1)
        CodeBook.found(values, level, codes).write(work)
    return CodeBook.read(work)


def clean_values(encoder: SpeechEncoder, track: Track, begin: int, end: int) -> Tensor:
    crop = track.whisper[begin * WHISPER_PER_TOKEN : end * WHISPER_PER_TOKEN]
    return _values(encoder, crop.T)


def _values(encoder: SpeechEncoder, log_mel: NDArray[Any]) -> Tensor:
    """(tokens, 8) values between -1 and 1 of (128, T)."""
    x = torch.from_numpy(np.ascontiguousarray(log_mel, np.float32))[None]
    return bounded(encoder(x)[0].float())

"""Stage 'speaker': train the speaker encoder to tell teachers and their virtual relatives apart.

Two teachers alone would leave the vectors of every other voice undefined. Each utterance is also
played faster and slower, which moves pitch and formants together and makes a new speaker of it
(speed perturbation as speaker augmentation, Yamamoto et al. 2019).
"""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from training.config import SpeakerEncoderConfig, VoiceConfig
from training.dataset import Track
from training.loop import Training, autocast, device, trained_state
from training.speaker_encoder import SpeakerEncoder
from training.teachers import RATE
from tritone.frontend.audio.features import FBANK_HOP, SPEECH_RATE, kaldi_fbank
from tritone.frontend.audio.resample import resample

SCALE, MARGIN = 16.0, 0.1  # of the cosine classifier (additive margin softmax)
HELD_OUT = 100  # utterances a class
SHORTEST = 38  # tokens of an utterance whose vector is taken: a second and a half


class Classifier(nn.Module):
    def __init__(self, config: SpeakerEncoderConfig, classes: int) -> None:
        super().__init__()
        self.encoder = SpeakerEncoder(config)
        self.speakers = nn.Parameter(torch.randn(classes, config.embedding))

    def forward(self, fbank: Tensor) -> Tensor:
        embedded = F.normalize(self.encoder(fbank).float(), dim=1)
        return embedded @ F.normalize(self.speakers, dim=1).mT


def fbank_of(track: Track, index: int, rate: float) -> NDArray[np.float32]:
    """(frames, 80) of one utterance played `rate` times as fast."""
    begin, end = track.starts[index], track.starts[index + 1]
    wav = track.samples(begin, end - begin)
    return kaldi_fbank(resample(wav, round(RATE * rate), SPEECH_RATE)).astype(np.float32)


class SpeakerTraining:
    """Classes are pairs of teacher and rate; each draws from its own utterances."""

    def __init__(self, work: Path, voice: VoiceConfig) -> None:
        self.config = voice.speaker_encoder
        tracks = [Track(work, name) for name in voice.speakers]
        self.classes = [(track, rate) for track in tracks for rate in self.config.rates]
        self._frames = round(self.config.seconds * SPEECH_RATE / FBANK_HOP)
        self._cache: dict[tuple[int, int], NDArray[np.float32]] = {}
        torch.manual_seed(self.config.loop.seed)
        self.model = Classifier(self.config, len(self.classes))

    def _fbank(self, which: int, index: int) -> NDArray[np.float32]:
        if (which, index) not in self._cache:
            track, rate = self.classes[which]
            self._cache[which, index] = fbank_of(track, index, rate)
        return self._cache[which, index]

    def _crop(self, which: int, rng: np.random.Generator, *, held_out: bool) -> NDArray[np.float32]:
        low, high = (0, HELD_OUT) if held_out else (HELD_OUT, self.config.utterances)
        fbank = self._fbank(which, int(rng.integers(low, high)))
        if len(fbank) < self._frames:
            fbank = np.tile(fbank, (-(-self._frames // len(fbank)), 1))
        start = int(rng.integers(0, len(fbank) - self._frames + 1))
        crop = fbank[start : start + self._frames]
        return crop + rng.normal(0, 0.15, crop.shape).astype(np.float32) * rng.random()

    def _batch(self, step: int, batch: int, *, held_out: bool) -> tuple[Tensor, Tensor]:
        rng = np.random.default_rng([self.config.loop.seed, step, int(held_out)])
        labels = np.arange(batch) % len(self.classes)
        crops = [self._crop(int(label), rng, held_out=held_out) for label in labels]
        fbank = torch.from_numpy(np.stack(crops)).float()
        return fbank.to(device()), torch.from_numpy(labels).to(device())

    def losses(self, step: int) -> dict[str, Tensor]:
        fbank, labels = self._batch(step, self.config.loop.batch, held_out=False)
        with autocast():
            cosine = self.model(fbank)
        margin = F.one_hot(labels, len(self.classes)) * MARGIN
        loss = F.cross_entropy(SCALE * (cosine - margin), labels)
        return {"loss": loss, "accuracy": (cosine.argmax(1) == labels).float().mean()}

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        self.model.eval()
        fbank, labels = self._batch(0, 200, held_out=True)
        return {"accuracy": float((self.model(fbank).argmax(1) == labels).float().mean())}


def train(work: Path, voice: VoiceConfig) -> None:
    run = SpeakerTraining(work, voice)
    Training(work / "speaker", run.model, voice.speaker_encoder.loop).run(run.losses, run.validate)


def load_speaker_encoder(work: Path, config: SpeakerEncoderConfig) -> SpeakerEncoder:
    encoder = SpeakerEncoder(config)
    encoder.load_state_dict(trained_state(work / "speaker", "encoder."))
    return encoder.eval()


@torch.inference_mode()
def embeddings(track: Track, encoder: SpeakerEncoder, count: int) -> Tensor:
    """(n <= count, embedding) vectors of the first utterances that are long enough."""
    long = np.flatnonzero(track.lengths >= SHORTEST)[:count]
    rows = [encoder(torch.from_numpy(fbank_of(track, int(i), 1.0))[None])[0] for i in long]
    return torch.stack(rows)

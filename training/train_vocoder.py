"""Stage 'vocoder': train HiFT on teacher audio by spectral distances.

The pitch predictor learns the measured pitch, and its own drives the source. The distances are
those of multi-resolution STFT training (Parallel WaveGAN, Yamamoto et al. 2020) and of the mel.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.config import VocoderTrainingConfig, VoiceConfig
from training.dataset import Track
from training.f0 import f0_track
from training.loop import Training, autocast, device, in_float32, trained_state
from training.speech import FRAMES_PER_TOKEN, SAMPLES_PER_TOKEN
from training.teachers import RATE
from tritone.checkpoints.atomic_write import written_whole
from tritone.families.cosyvoice2.hift import HiFT
from tritone.families.cosyvoice2.vocoder import Vocoder
from tritone.families.cosyvoice2.voice import PROMPT_FFT, PROMPT_HOP
from tritone.frontend.audio.features import slaney_filters

SAMPLES_PER_FRAME = SAMPLES_PER_TOKEN // FRAMES_PER_TOKEN
RESOLUTIONS = ((2048, 480), (1024, 240), (512, 120), (256, 60))  # window and hop
HELD_OUT = 500  # frames of each speaker
F0_SCALE = 50.0  # Hz that weigh as much as one unit of the other distances
MEL_WEIGHT = 2.0


@dataclass(frozen=True)
class Material:
    """Frames of one speaker: mel (T, 80), f0 (T,), wav (T * 480,) in [-1, 1]."""

    mel: NDArray[np.float32]
    f0: NDArray[np.float32]
    wav: NDArray[np.float32]


def material(track: Track, work: Path, config: VocoderTrainingConfig) -> Material:
    """The first hours of a track; its pitch is measured once and kept."""
    tokens = min(track.tokens, int(config.hours * 3600 * RATE / SAMPLES_PER_TOKEN))
    wav = track.samples(0, tokens)
    path = work / "vocoder" / f"f0_{track.speaker}_{tokens}.npy"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        with written_whole(path) as partial:
            np.save(partial, f0_track(wav, RATE, *config.f0_range))
    mel = track.mel[: tokens * FRAMES_PER_TOKEN].astype(np.float32)
    return Material(mel, np.load(path), wav)


class SpectralDistance:
    """Log-magnitude L1 plus spectral convergence over resolutions, and the mel L1."""

    def __init__(self) -> None:
        self._windows = {size: torch.hann_window(size, device=device()) for size, _ in RESOLUTIONS}
        self._windows[PROMPT_FFT] = torch.hann_window(PROMPT_FFT, device=device())
        filters = slaney_filters(RATE, PROMPT_FFT, 80, 8000.0)
        self._filters = torch.from_numpy(filters).float().to(device())

    def _magnitude(self, wav: Tensor, size: int, hop: int) -> Tensor:
        window = self._windows[size]
        spectrum = torch.stft(wav, size, hop, window=window, return_complex=True)
        return (spectrum.real.square() + spectrum.imag.square() + 1e-7).sqrt()

    def stft(self, found: Tensor, wanted: Tensor) -> Tensor:
        total = found.new_zeros(())
        for size, hop in RESOLUTIONS:
            a, b = (self._magnitude(x, size, hop) for x in (found, wanted))
            log_distance = (a.log() - b.log()).abs().mean()
            total = total + log_distance + torch.linalg.norm(b - a) / torch.linalg.norm(b)
        return total / len(RESOLUTIONS)

    def mel(self, found: Tensor, wanted: Tensor) -> Tensor:
        logs = [
            (self._filters @ self._magnitude(x, PROMPT_FFT, PROMPT_HOP)).clamp(min=1e-5).log()
            for x in (found, wanted)
        ]
        return (logs[0] - logs[1]).abs().mean()


class VocoderTraining:
    def __init__(self, work: Path, voice: VoiceConfig) -> None:
        self.config = voice.vocoder
        tracks = [Track(work, name) for name in voice.speakers]
        self.materials = [material(track, work, self.config) for track in tracks]
        self.distance = SpectralDistance()
        torch.manual_seed(self.config.loop.seed)
        self.model = HiFT(self.config.model)
        hold_source(self.model)
        self.vocoder = Vocoder(self.model, RATE)
        # Log-magnitude and phase come out of it: in bf16 their error would be heard as noise.
        in_float32(self.model.conv_post)

    def _batch(self, step: int, *, validation: bool = False) -> tuple[Tensor, Tensor, Tensor]:
        rng = np.random.default_rng([self.config.loop.seed, step, int(validation)])
        rows = []
        for row in range(self.config.loop.batch):
            which = row % len(self.materials)
            low, high = self.split(len(self.materials[which].mel), validation=validation)
            rows.append((which, int(rng.integers(low, high - self.config.frames))))
        return self.crops(rows)

    @staticmethod
    def split(frames: int, *, validation: bool) -> tuple[int, int]:
        """The frames of a speaker that are learned from, or those held out."""
        return (frames - HELD_OUT, frames) if validation else (0, frames - HELD_OUT)

    def crops(self, rows: list[tuple[int, int]]) -> tuple[Tensor, Tensor, Tensor]:
        """mel (rows, 80, frames), f0 (rows, frames) and wav of speakers and first frames."""
        frames, columns = self.config.frames, list[tuple[NDArray[np.float32], ...]]()
        for which, a in rows:
            part = self.materials[which]
            wav = part.wav[a * SAMPLES_PER_FRAME : (a + frames) * SAMPLES_PER_FRAME]
            columns.append((part.mel[a : a + frames].T, part.f0[a : a + frames], wav))
        found = [
            torch.from_numpy(np.stack(column)).to(device()) for column in zip(*columns, strict=True)
        ]
        return found[0], found[1], found[2]

    def decoded(self, mel: Tensor, f0: Tensor, wav: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The waveform made of a mel, and its distances from the one that was wanted."""
        harmonics = self.config.model.nb_harmonics + 1
        noise = torch.randn(*wav.shape, harmonics, device=wav.device)
        with autocast():
            predicted = self.model.f0(mel).float()
        source, _ = self.vocoder.source(predicted.detach(), noise)  # as when it speaks
        with autocast():
            found = self.model.decode(mel, source)
        stft, mels = self.distance.stft(found, wav), self.distance.mel(found, wav)
        pitch = (predicted - f0).abs().mean()
        return found, {"stft": stft, "mel": mels, "f0": pitch, "pitch": pitch / F0_SCALE}

    def _losses(self, mel: Tensor, f0: Tensor, wav: Tensor) -> dict[str, Tensor]:
        _, near = self.decoded(mel, f0, wav)
        return {"loss": near["stft"] + MEL_WEIGHT * near["mel"] + near["pitch"]} | near

    def losses(self, step: int) -> dict[str, Tensor]:
        return self._losses(*self._batch(step))

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        self.model.eval()
        torch.manual_seed(0)
        batches = [self._losses(*self._batch(i, validation=True)) for i in range(4)]
        return {k: float(np.mean([b[k] for b in batches])) for k in batches[0]}


def hold_source(model: HiFT) -> None:
    """Mix the harmonics of the source in equal parts, whatever the losses say.

    The phase of the source is not that of the recording, so at first it only disturbs. Left free,
    the mixing weights go to zero and stay there, and without a source the network has nothing that
    carries a phase from frame to frame: speech buzzes.
    """
    with torch.no_grad():
        model.mix_source.weight.fill_(1.0)
        model.mix_source.bias.zero_()
    model.mix_source.requires_grad_(False)


def train(work: Path, voice: VoiceConfig) -> None:
    run = VocoderTraining(work, voice)
    Training(work / "vocoder", run.model, voice.vocoder.loop).run(run.losses, run.validate)


def load_vocoder(work: Path, voice: VoiceConfig) -> Vocoder:
    network = HiFT(voice.vocoder.model)
    network.load_state_dict(trained_state(work / "vocoder"))
    return Vocoder(network.eval(), RATE)

"""Stage 'vocoder': train HiFT on teacher audio by spectral distances.

The source has the pitch and the phase of the recording, so that the waveform that is wanted follows
from it: with a phase of its own it would only disturb, and the network would learn to speak without
it, each frame for itself, which buzzes. The pitch predictor learns the measured pitch beside.

The distances are those of multi-resolution STFT training (Parallel WaveGAN, Yamamoto et al. 2020),
of the mel, and of the complex spectrum below PHASE_HZ where there is pitch.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from training.config import VoiceConfig, of_kind
from training.dataset import Track
from training.f0 import cycles, f0_track
from training.loop import Training, autocast, device, in_float32, trained_state
from training.speech import FRAMES_PER_TOKEN, SAMPLES_PER_TOKEN
from training.teachers import RATE
from tritone.checkpoints.atomic_write import written_whole
from tritone.families.cosyvoice2.config import VocoderConfig
from tritone.families.cosyvoice2.hift import HiFT
from tritone.families.cosyvoice2.vocoder import Vocoder, excite
from tritone.families.cosyvoice2.voice import PROMPT_FFT, PROMPT_HOP
from tritone.frontend.audio.features import slaney_filters

SAMPLES_PER_FRAME = SAMPLES_PER_TOKEN // FRAMES_PER_TOKEN
RESOLUTIONS = ((2048, 480), (1024, 240), (512, 120), (256, 60))  # window and hop
HELD_OUT = 500  # frames of each speaker
PHASE_SIZE, PHASE_HOP = 512, 120  # window and hop of the distance that knows phases
PHASE_HZ = 2500.0  # up to which the phase of a harmonic can be foreseen
F0_SCALE = 50.0  # Hz that weigh as much as one unit of the other distances
MEL_WEIGHT, PHASE_WEIGHT = 2.0, 1.0


@dataclass(frozen=True)
class Material:
    """Frames of one speaker: mel (T, 80), f0 (T,), wav (T * 480,) in [-1, 1], and the cycles of the
    fundamental at each frame, (T,)."""

    mel: NDArray[np.float32]
    f0: NDArray[np.float32]
    wav: NDArray[np.float32]
    cycles: NDArray[np.float64]


@dataclass(frozen=True)
class Crops:
    """mel (rows, 80, frames), f0 (rows, frames), wav (rows, samples); cycles (rows, frames) since
    a whole one before the crop."""

    mel: Tensor
    f0: Tensor
    wav: Tensor
    cycles: Tensor


def material(track: Track, work: Path, hours: float, f0_range: tuple[float, float]) -> Material:
    """The first hours of a track; its pitch is measured once and kept."""
    tokens = min(track.tokens, int(hours * 3600 * RATE / SAMPLES_PER_TOKEN))
    wav = track.samples(0, tokens)
    path = work / "vocoder" / f"pitch_{track.speaker}_{tokens}.npz"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        f0 = f0_track(wav, RATE, *f0_range)
        with written_whole(path) as partial:
            np.savez(partial, f0=f0, cycles=cycles(wav, f0, RATE))
    mel = track.mel[: tokens * FRAMES_PER_TOKEN].astype(np.float32)
    pitch = np.load(path)
    return Material(mel, pitch["f0"], wav, pitch["cycles"])


class SpectralDistance:
    """Log-magnitude L1 plus spectral convergence over resolutions, and the mel L1."""

    def __init__(self, top_hz: float) -> None:
        self._windows = {size: torch.hann_window(size, device=device()) for size, _ in RESOLUTIONS}
        self._windows[PROMPT_FFT] = torch.hann_window(PROMPT_FFT, device=device())
        filters = slaney_filters(RATE, PROMPT_FFT, 80, top_hz)
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

    def phase(self, found: Tensor, wanted: Tensor, voiced: Tensor) -> Tensor:
        """Distance of the lower complex spectra where there is pitch, as a share of what is wanted.

        voiced: (rows, frames) of the mel.
        """
        bins = round(PHASE_HZ / RATE * PHASE_SIZE)
        window = self._windows[PHASE_SIZE]
        a, b = (
            torch.stft(x, PHASE_SIZE, PHASE_HOP, window=window, return_complex=True)[:, :bins]
            for x in (found, wanted)
        )
        mask = voiced.repeat_interleave(SAMPLES_PER_FRAME // PHASE_HOP, dim=1)
        mask = F.pad(mask, (0, a.shape[2] - mask.shape[1])).to(found)[:, None]
        distance = ((a - b).abs() * mask).sum()
        return distance / ((b.abs() * mask).sum() + 1e-6)

    def mel(self, found: Tensor, wanted: Tensor) -> Tensor:
        logs = [
            (self._filters @ self._magnitude(x, PROMPT_FFT, PROMPT_HOP)).clamp(min=1e-5).log()
            for x in (found, wanted)
        ]
        return (logs[0] - logs[1]).abs().mean()


class SpectralTraining(ABC):
    """A vocoder and crops of speech. ahead: frames of mel beyond the samples of a crop."""

    model: nn.Module

    @property
    def ahead(self) -> int:
        return 0

    def __init__(self, work: Path, voice: VoiceConfig) -> None:
        self.config = voice.vocoder
        self.materials = [
            material(Track(work, name), work, self.config.hours, speaker.f0_range)
            for name, speaker in voice.speakers.items()
        ]
        rows = [self.config.rows[name] for name in voice.speakers]
        self.order = np.repeat(np.arange(len(rows)), rows).tolist()
        self.distance = SpectralDistance(voice.speech.mel_top_hz)
        torch.manual_seed(self.config.loop.seed)
        self.model = self.network()
        # Log-magnitude and phase come out of it: in bf16 their error would be heard as noise.
        in_float32(self.model.get_submodule("conv_post"))

    @abstractmethod
    def network(self) -> nn.Module:
        """The vocoder before its first step."""

    @abstractmethod
    def decoded(self, crops: Crops) -> tuple[Tensor, dict[str, Tensor]]:
        """The waveform made of a mel, and its distances from the one that was wanted."""

    def _losses(self, crops: Crops) -> dict[str, Tensor]:
        _, near = self.decoded(crops)
        loss = near["stft"] + MEL_WEIGHT * near["mel"] + near["f0"] / F0_SCALE
        if "phase" in near:
            loss = loss + PHASE_WEIGHT * near["phase"]
        return {"loss": loss} | near

    def _batch(self, step: int, *, validation: bool = False) -> Crops:
        rng = np.random.default_rng([self.config.loop.seed, step, int(validation)])
        rows = []
        for which in self.order:
            low, high = self.split(len(self.materials[which].mel), validation=validation)
            rows.append((which, int(rng.integers(low, high - self.config.frames - self.ahead))))
        return self.crops(rows)

    @staticmethod
    def split(frames: int, *, validation: bool) -> tuple[int, int]:
        """The frames of a speaker that are learned from, or those held out."""
        return (frames - HELD_OUT, frames) if validation else (0, frames - HELD_OUT)

    def crops(self, rows: list[tuple[int, int]]) -> Crops:
        """Of speakers and first frames."""
        frames, columns = self.config.frames, list[tuple[NDArray[Any], ...]]()
        for which, a in rows:
            part, b = self.materials[which], a + frames
            wav = part.wav[a * SAMPLES_PER_FRAME : b * SAMPLES_PER_FRAME]
            since = part.cycles[a:b] - np.floor(part.cycles[a])
            columns.append((part.mel[a : b + self.ahead].T, part.f0[a:b], wav, since))
        found = [
            torch.from_numpy(np.stack(column)).to(device()) for column in zip(*columns, strict=True)
        ]
        return Crops(found[0], found[1], found[2], found[3])

    def losses(self, step: int) -> dict[str, Tensor]:
        return self._losses(self._batch(step))

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        self.model.eval()
        torch.manual_seed(0)
        batches = [self._losses(self._batch(i, validation=True)) for i in range(4)]
        return {k: float(np.mean([b[k] for b in batches])) for k in batches[0]}


class VocoderTraining(SpectralTraining):
    """CosyVoice2's, with the phase of the recording in its source."""

    model: HiFT

    def network(self) -> HiFT:
        model = HiFT(of_kind(VocoderConfig, self.config.model))
        hold_source(model)
        return model

    def decoded(self, crops: Crops) -> tuple[Tensor, dict[str, Tensor]]:
        with autocast():
            predicted = self.model.f0(crops.mel).float()
            found = self.model.decode(crops.mel, self._source(crops))
        wav, measure = crops.wav, self.distance
        near = {
            "stft": measure.stft(found, wav),
            "mel": measure.mel(found, wav),
            "phase": measure.phase(found, wav, crops.f0 > 0),
            "f0": (predicted - crops.f0).abs().mean(),
        }
        return found, near

    def _source(self, crops: Crops) -> Tensor:
        """(rows, samples) in the phase of the recording."""
        config = of_kind(VocoderConfig, self.config.model)
        harmonics = torch.arange(1, config.nb_harmonics + 2, device=crops.cycles.device)
        turns = crops.cycles[:, :, None] * harmonics / SAMPLES_PER_FRAME
        noise = torch.randn(*crops.wav.shape, len(harmonics), device=crops.wav.device)
        excitation = excite(crops.f0, turns, None, noise, config)
        with torch.autocast(device().type, enabled=False):
            return torch.tanh(self.model.mix_source(excitation))[:, :, 0]


def hold_source(model: HiFT) -> None:
    """Mix the harmonics of the source in equal parts, whatever the losses say.

    Left free, the weights of the mixture go to zero early, when the source only disturbs, and stay
    there.
    """
    with torch.no_grad():
        model.mix_source.weight.fill_(1.0)
        model.mix_source.bias.zero_()
    model.mix_source.requires_grad_(False)


def train(work: Path, voice: VoiceConfig) -> None:
    run = VocoderTraining(work, voice)
    Training(work / "vocoder", run.model, voice.vocoder.loop).run(run.losses, run.validate)


def load_vocoder(work: Path, voice: VoiceConfig) -> Vocoder:
    network = HiFT(of_kind(VocoderConfig, voice.vocoder.model))
    network.load_state_dict(trained_state(work / "vocoder"))
    return Vocoder(network.eval(), RATE)

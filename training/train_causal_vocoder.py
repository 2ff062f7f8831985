"""Stage 'vocoder' of CosyVoice3: train the causal HiFT on teacher audio by spectral distances.

Its source stands still over a frame, so it does not say where a recording's waveform is in its
cycle, and the phases of the spectrum are left to the network.
"""

import math
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.config import VoiceConfig, of_kind
from training.loop import Training, autocast, device, trained_state
from training.teachers import RATE
from training.train_vocoder import SAMPLES_PER_FRAME, Crops, SpectralTraining
from tritone.families.cosyvoice3.config import VocoderConfig
from tritone.families.cosyvoice3.hift import F0Predictor, HiFT
from tritone.families.cosyvoice3.released_vocoder import over_repeated

SETTLING = 3  # first frames of a crop, which look back on silence instead of speech


class RepeatedConv(nn.Module):
    """A causal convolution over values that are repeated: (rows, in, n) -> (rows, out, rate * n and
    more). weight: (out, in, kernel), as upstream stores it."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, rate: int) -> None:
        super().__init__()
        conv = nn.Conv1d(in_channels, out_channels, kernel)
        assert conv.bias is not None
        self.rate, self.weight, self.bias = rate, conv.weight, conv.bias

    def forward(self, x: Tensor) -> Tensor:
        return F.conv_transpose1d(x, over_repeated(self.weight, self.rate), self.bias, self.rate)


class TrainedHiFT(HiFT):
    """The causal HiFT with upstream's weights in its upsampling, for crops of whole streams."""

    def __init__(self, config: VocoderConfig) -> None:
        super().__init__(config)
        sizes = zip(config.upsample_rates, config.upsample_kernel_sizes, strict=True)
        for index, (rate, kernel) in enumerate(sizes):
            channels = config.base_channels >> (index + 1)
            self.stages[index].up = RepeatedConv(2 * channels, channels, kernel, rate)

    def pitch(self, mel: Tensor) -> Tensor:
        """(rows, mel, frames + look_right) -> f0 (rows, frames)."""
        frames = mel.shape[2] - self.look_right
        return self.f0(mel[:, :, : frames + F0Predictor.AHEAD], opening=True)  # type: ignore[no-any-return]

    def decode(self, mel: Tensor, source: Tensor) -> Tensor:
        """As `pitch`, and the source of these frames -> waveform (rows, samples)."""
        steps = (mel.shape[2] - self.look_right) * self.steps
        return self.synthesise(self.filter(mel, self.analyse(source)[..., : steps + 1]))


class CausalTraining(SpectralTraining):
    model: TrainedHiFT

    def network(self) -> TrainedHiFT:
        config = of_kind(VocoderConfig, self.config.model)
        assert config.conv_pre_look_right >= F0Predictor.AHEAD
        return TrainedHiFT(config)

    @property
    def ahead(self) -> int:
        return self.model.look_right

    def decoded(self, crops: Crops) -> tuple[Tensor, dict[str, Tensor]]:
        with autocast():
            predicted = self.model.pitch(crops.mel)
            found = self.model.decode(crops.mel, self.source(crops))
        begin, measure = SETTLING * SAMPLES_PER_FRAME, self.distance
        near = {
            "stft": measure.stft(found[:, begin:], crops.wav[:, begin:]),
            "mel": measure.mel(found[:, begin:], crops.wav[:, begin:]),
            "f0": (predicted - crops.f0)[:, SETTLING:].abs().mean(),
        }
        return found, near

    def source(self, crops: Crops) -> Tensor:
        """(rows, samples): one value of the sines a frame, at its end, and noise from 0 to 1."""
        config = self.config.model
        harmonics = torch.arange(1, config.nb_harmonics + 2, device=crops.cycles.device)
        at_end = crops.cycles + crops.f0 * (SAMPLES_PER_FRAME / 2 / RATE)
        phase = (at_end[:, :, None] * harmonics * 2 * math.pi).float()
        voiced = (crops.f0 > 0)[:, :, None].float()
        amplitude = voiced * config.nsf_sigma + (1 - voiced) * config.nsf_alpha / 3
        noise = torch.rand(*phase.shape[:2], SAMPLES_PER_FRAME, phase.shape[2], device=device())
        sines = phase.sin() * config.nsf_alpha * voiced
        excitation = sines[:, :, None] + amplitude[:, :, None] * noise
        with torch.autocast(device().type, enabled=False):
            return torch.tanh(self.model.mix_source(excitation)).flatten(1)


def train(work: Path, voice: VoiceConfig) -> None:
    run = CausalTraining(work, voice)
    Training(work / "vocoder", run.model, voice.vocoder.loop).run(run.losses, run.validate)


def load_causal(work: Path, voice: VoiceConfig) -> TrainedHiFT:
    network = TrainedHiFT(of_kind(VocoderConfig, voice.vocoder.model))
    network.load_state_dict(trained_state(work / "vocoder"))
    return network.eval()

"""What tells real speech from a vocoder's.

By period (HiFi-GAN, Kong et al. 2020) and by spectrogram at several resolutions (UnivNet, Jang et
al. 2021). Both are narrow: they train beside a small vocoder, on a processor, and are thrown away.
"""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

PERIODS = (2, 3, 5, 7, 11)
PERIOD_WIDTHS = (1, 16, 48, 96, 96)
RESOLUTIONS = ((1024, 120), (2048, 240), (512, 50))  # window and hop
SPECTRUM_WIDTH = 16
SLOPE = 0.1

Judged = tuple[Tensor, list[Tensor]]  # scores, and the features of every layer before them


class PeriodDiscriminator(nn.Module):
    """Sees every `period`-th sample as one column."""

    def __init__(self, period: int) -> None:
        super().__init__()
        self.period = period
        self.convs = nn.ModuleList(
            nn.Conv2d(a, b, (5, 1), stride=(3, 1), padding=(2, 0))
            for a, b in pairwise(PERIOD_WIDTHS)
        )
        self.output = nn.Conv2d(PERIOD_WIDTHS[-1], 1, (3, 1), padding=(1, 0))

    def forward(self, wav: Tensor) -> Judged:
        """(rows, samples) -> scores and features."""
        padded = F.pad(wav[:, None], (0, -wav.shape[1] % self.period), mode="reflect")
        rows = padded.view(len(wav), 1, -1, self.period)
        x, features = rows, list[Tensor]()
        for conv in self.convs:
            x = F.leaky_relu(conv(x), SLOPE)
            features.append(x)
        return self.output(x), features


class SpectrumDiscriminator(nn.Module):
    """Sees the magnitudes of one short-time Fourier transform, (rows, 1, frames, bins)."""

    window: Tensor

    def __init__(self, size: int, hop: int) -> None:
        super().__init__()
        self.size, self.hop = size, hop
        self.register_buffer("window", torch.hann_window(size), persistent=False)
        width = SPECTRUM_WIDTH
        self.convs = nn.ModuleList(
            nn.Conv2d(i, width, (3, 9), stride=(1, stride), padding=(1, 4))
            for i, stride in ((1, 2), (width, 2), (width, 2), (width, 2))
        )
        self.output = nn.Conv2d(width, 1, (3, 3), padding=(1, 1))

    def forward(self, wav: Tensor) -> Judged:
        with torch.autocast(wav.device.type, enabled=False):
            spectrum = torch.stft(
                wav.float(), self.size, self.hop, window=self.window, return_complex=True
            )
            power = spectrum.real.square() + spectrum.imag.square()
            x = (power + 1e-7).sqrt().pow(0.3).mT[:, None]
        features = []
        for conv in self.convs:
            x = F.leaky_relu(conv(x), SLOPE)
            features.append(x)
        return self.output(x), features


class Discriminators(nn.Module):
    """All of them."""

    def __init__(self) -> None:
        super().__init__()
        by_period = [PeriodDiscriminator(period) for period in PERIODS]
        by_spectrum = [SpectrumDiscriminator(*sizes) for sizes in RESOLUTIONS]
        self.parts = nn.ModuleList([*by_period, *by_spectrum])

    def forward(self, wav: Tensor) -> list[Judged]:
        return [part(wav) for part in self.parts]

    def frozen(self, wav: Tensor) -> list[Judged]:
        """The same, with no gradient into the discriminators' own weights."""
        weights = {name: value.detach() for name, value in self.state_dict(keep_vars=True).items()}
        found: list[Judged] = torch.func.functional_call(self, weights, (wav,))
        return found


def judging_loss(real: list[Judged], made: list[Judged]) -> Tensor:
    """Least squares: real scores to one, made ones to zero."""
    parts = [
        (r.float() - 1).square().mean() + m.float().square().mean()
        for (r, _), (m, _) in zip(real, made, strict=True)
    ]
    return torch.stack(parts).sum()


def fooling_loss(made: list[Judged]) -> Tensor:
    return torch.stack([(scores.float() - 1).square().mean() for scores, _ in made]).sum()


def feature_loss(real: list[Judged], made: list[Judged]) -> Tensor:
    """Mean distance of the features, layer by layer (HiFi-GAN)."""
    distances = [
        (r.detach().float() - m.float()).abs().mean()
        for (_, real_layers), (_, made_layers) in zip(real, made, strict=True)
        for r, m in zip(real_layers, made_layers, strict=True)
    ]
    return torch.stack(distances).sum()

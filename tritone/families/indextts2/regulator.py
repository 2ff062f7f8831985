"""The length regulator: features of codes, or of a reference, to conditions of mel frames."""

from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from tritone.families.indextts2.acoustic_config import FlowConfig, RegulatorConfig


class RegulatorLayer(nn.Module):
    """A convolution, and a norm over all channels and frames: it hears the whole length."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(channels, channels, 3, padding=1)
        self.norm = nn.GroupNorm(1, channels)

    def forward(self, x: Tensor) -> Tensor:
        return F.mish(self.norm(self.conv(x)))


class LengthRegulator(nn.Module):
    """Stretches features to a number of frames by repeating them, and smooths them."""

    def __init__(self, config: RegulatorConfig) -> None:
        super().__init__()
        self.input = nn.Linear(config.in_channels, config.channels)
        self.layers = nn.ModuleList(RegulatorLayer(config.channels) for _ in range(config.layers))
        self.output = nn.Conv1d(config.channels, config.channels, 1)

    def forward(self, features: Tensor, frames: int) -> Tensor:
        """features (rows, n, in_channels), n >= 1 -> (rows, frames, channels), frames >= 1.

        Frame i repeats features floor(i * (n / frames)) in float32, as torch's nearest mode does:
        the exact fraction differs at many lengths.
        """
        x = F.interpolate(self.input(features).mT, size=frames, mode="nearest")
        for layer in self.layers:
            x = layer(x)
        return self.output(x).mT  # type: ignore[no-any-return]


class CodeFeatures(nn.Module):
    """Codes and the language model's states for them, as the length regulator takes them.

    codebook: what each code stands for, projected to the features' width already.
    """

    def __init__(self, config: FlowConfig) -> None:
        super().__init__()
        width = config.regulator.in_channels
        self.codebook = nn.Embedding(config.codes, width)
        widths = (config.latent_width, *config.latent_hidden, width)
        self.latent = nn.Sequential(*(nn.Linear(*pair) for pair in pairwise(widths)))

    def forward(self, codes: Tensor, latents: Tensor) -> Tensor:
        """codes (n,), latents (n, latent_width) -> (n, in_channels)."""
        return self.codebook(codes) + self.latent(latents)  # type: ignore[no-any-return]

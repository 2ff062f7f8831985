"""HiFT: mel and a harmonic source to waveform through an inverse STFT (HiFTNet, CosyVoice2)."""

from itertools import pairwise
from math import prod

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tritone.acoustic.filter import FilterNetwork
from tritone.families.cosyvoice2.config import VocoderConfig

MAGNITUDE_LIMIT = 100.0
SNAKE_EPSILON = 1e-9


class Snake(nn.Module):
    """x + sin^2(a x) / a with one a per channel; (rows, channels, samples) or images."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        alpha = self.alpha.view(-1, *(1,) * (x.dim() - 2))
        sine = torch.sin(alpha * x)
        return torch.addcmul(x, sine, sine * (1 / (alpha + SNAKE_EPSILON)))


class ResidualBlock(nn.Module):
    """For each dilation: Snake, dilated convolution, Snake, plain convolution, residual."""

    def __init__(self, channels: int, kernel: int, dilations: tuple[int, ...]) -> None:
        super().__init__()

        def conv(dilation: int) -> nn.Conv1d:
            padding = (kernel - 1) * dilation // 2
            return nn.Conv1d(channels, channels, kernel, dilation=dilation, padding=padding)

        self.dilated = nn.ModuleList(conv(d) for d in dilations)
        self.plain = nn.ModuleList(conv(1) for _ in dilations)
        self.snake1 = nn.ModuleList(Snake(channels) for _ in dilations)
        self.snake2 = nn.ModuleList(Snake(channels) for _ in dilations)

    def forward(self, x: Tensor) -> Tensor:
        for dilated, plain, snake1, snake2 in zip(
            self.dilated, self.plain, self.snake1, self.snake2, strict=True
        ):
            x = x + plain(snake2(dilated(snake1(x))))
        return x


class Upsampling(nn.Module):
    """One of HiFT's stages: transposed convolution, source branch, mean of residual blocks."""

    def __init__(self, config: VocoderConfig, index: int) -> None:
        super().__init__()
        rate, kernel = config.upsample_rates[index], config.upsample_kernel_sizes[index]
        channels = config.base_channels >> (index + 1)
        source_stride = prod(config.upsample_rates[index + 1 :])
        source_kernel = 2 * source_stride if source_stride > 1 else 1
        self.up = nn.ConvTranspose1d(
            2 * channels, channels, kernel, stride=rate, padding=(kernel - rate) // 2
        )
        self.source_down = nn.Conv1d(
            config.istft_n_fft + 2,
            channels,
            source_kernel,
            stride=source_stride,
            padding=source_stride // 2,
        )
        self.source_block = ResidualBlock(
            channels,
            config.source_resblock_kernel_sizes[index],
            config.source_resblock_dilation_sizes[index],
        )
        self.blocks = nn.ModuleList(
            ResidualBlock(channels, size, dilations)
            for size, dilations in zip(
                config.resblock_kernel_sizes, config.resblock_dilation_sizes, strict=True
            )
        )
        # One more frame on the left of the last stage, where 120 T frames must become 120 T + 1.
        self.extend = index == len(config.upsample_rates) - 1
        self.slope = config.lrelu_slope

    def forward(self, x: Tensor, source: Tensor) -> Tensor:
        x = self.up(F.leaky_relu(x, self.slope))
        if self.extend:
            x = torch.cat([x[..., 1:2], x], dim=-1)  # reflection, as every runtime has it
        x = x + self.source_block(self.source_down(source))
        total = self.blocks[0](x)
        for block in self.blocks[1:]:
            total = total + block(x)
        return total / len(self.blocks)  # type: ignore[no-any-return]


class F0Predictor(nn.Module):
    """mel (rows, mel, frames) -> f0 (rows, frames) in Hz; sees `CONTEXT` frames both ways."""

    LAYERS = 5
    CONTEXT = 5  # frames: one for each layer of kernel 3

    def __init__(self, mel: int, channels: int) -> None:
        super().__init__()
        widths = [mel] + [channels] * self.LAYERS
        self.convs = nn.ModuleList(nn.Conv1d(i, o, 3, padding=1) for i, o in pairwise(widths))
        self.output = nn.Linear(channels, 1)

    def forward(self, mel: Tensor) -> Tensor:
        for conv in self.convs:
            mel = F.elu(conv(mel))
        return self.output(mel.transpose(1, 2))[:, :, 0].abs()  # type: ignore[no-any-return]


class FourierNetwork(FilterNetwork):
    """A filter between the Fourier transform of a source and the inverse one of a waveform.

    free_phase: see `VocoderConfig`.
    """

    window: Tensor

    def __init__(
        self, n_fft: int, hop: int, audio_limit: float, *, free_phase: bool = False
    ) -> None:
        super().__init__()
        self.n_fft, self.hop, self.audio_limit = n_fft, hop, audio_limit
        self.free_phase = free_phase
        # not on "meta", where an outline of the network is: torch would import its compiler for it
        window = torch.hann_window(n_fft, periodic=True, device="cpu")
        self.register_buffer("window", window, persistent=False)

    def analyse(self, source: Tensor) -> Tensor:
        """(rows, samples) -> real and imaginary parts, (rows, n_fft + 2, samples / hop + 1)."""
        spectrum = torch.stft(source, self.n_fft, self.hop, window=self.window, return_complex=True)
        return torch.cat([spectrum.real, spectrum.imag], dim=1)

    def synthesise(self, x: Tensor) -> Tensor:
        """What `filter` gives -> waveform (rows, samples).

        In float32 whatever the network's dtype: exp overflows and a Fourier transform needs it.
        """
        x, bins = x.float(), self.n_fft // 2 + 1
        magnitude = x[:, :bins].exp().clamp(max=MAGNITUDE_LIMIT)
        phase = x[:, bins:] if self.free_phase else x[:, bins:].sin()
        complex_bins = torch.polar(magnitude, phase)
        wave = torch.istft(complex_bins, self.n_fft, self.hop, window=self.window)
        return wave.clamp(-self.audio_limit, self.audio_limit)


class HiFT(FourierNetwork):
    """The whole vocoder network: `f0` and `mix_source` make the source, `decode` the waveform."""

    body, head = ("conv_pre", "stages"), "conv_post"

    def __init__(self, config: VocoderConfig) -> None:
        super().__init__(
            config.istft_n_fft, config.istft_hop, config.audio_limit, free_phase=config.free_phase
        )
        self.config = config
        self.width = config.base_channels // 2
        self.f0 = F0Predictor(config.in_channels, config.f0_channels)
        self.mix_source = nn.Linear(config.nb_harmonics + 1, 1)
        self.conv_pre = nn.Conv1d(config.in_channels, config.base_channels, 7, padding=3)
        self.stages = nn.ModuleList(
            Upsampling(config, index) for index in range(len(config.upsample_rates))
        )
        last = config.base_channels >> len(config.upsample_rates)
        self.conv_post = nn.Conv1d(last, config.istft_n_fft + 2, 7, padding=3)

    def decode(self, mel: Tensor, source: Tensor) -> Tensor:
        """mel (rows, mel, T) and source (rows, samples_per_frame * T) -> waveform like source."""
        return self.synthesise(self.filter(mel, self.analyse(source)))

    def filter(self, mel: Tensor, spectrum: Tensor) -> Tensor:
        """mel (rows, mel, T) and spectrum as of `analyse` -> log magnitude and phase, alike."""
        x = self.conv_pre(mel)
        for stage in self.stages:
            x = stage(x, spectrum)
        return self.conv_post(F.leaky_relu(x).to(self.conv_post.weight))  # type: ignore[no-any-return]

"""Causal HiFT: mel and a harmonic source to waveform through an inverse STFT (CosyVoice3).

Only the first layer looks ahead, `look_right` frames of mel, and the source branches do, to the end
of a frame. At the beginning of a stream every convolution takes zeros for what was before. A later
window begins with frames that are out already, and there no convolution pads: each gives as much as
its input determines, so that layers become shorter on the left. All end at the same time.
"""

from math import prod

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tritone.families.cosyvoice2.hift import FourierNetwork, Snake
from tritone.families.cosyvoice3.config import VocoderConfig

_POST_KERNEL = 7


def _causal(conv: nn.Module, x: Tensor, zeros: int, *, opening: bool) -> Tensor:
    """A convolution that looks back, at the beginning of a stream on so many zeros."""
    return conv(F.pad(x, (zeros, 0)) if opening else x)  # type: ignore[no-any-return]


def _add(x: Tensor, y: Tensor) -> Tensor:
    """As much of the end as both have."""
    length = min(x.shape[-1], y.shape[-1])
    return x[..., -length:] + y[..., -length:]


def _reach(kernel: int, dilations: tuple[int, ...]) -> int:
    """How far a `ResidualBlock` looks back."""
    return (kernel - 1) * (sum(dilations) + len(dilations))


class ResidualBlock(nn.Module):
    """For each dilation: Snake, dilated convolution, Snake, plain convolution, residual."""

    def __init__(self, channels: int, kernel: int, dilations: tuple[int, ...]) -> None:
        super().__init__()
        self.dilated = nn.ModuleList(
            nn.Conv1d(channels, channels, kernel, dilation=dilation) for dilation in dilations
        )
        self.plain = nn.ModuleList(nn.Conv1d(channels, channels, kernel) for _ in dilations)
        self.snake1 = nn.ModuleList(Snake(channels) for _ in dilations)
        self.snake2 = nn.ModuleList(Snake(channels) for _ in dilations)
        self.before, self.dilations = kernel - 1, dilations

    def forward(self, x: Tensor, *, opening: bool) -> Tensor:
        for index, dilation in enumerate(self.dilations):
            y = self.snake1[index](x)
            y = _causal(self.dilated[index], y, self.before * dilation, opening=opening)
            y = _causal(self.plain[index], self.snake2[index](y), self.before, opening=opening)
            x = _add(x, y)
        return x


class Upsampling(nn.Module):
    """One of HiFT's stages: repetition, source branch, mean of residual blocks.

    Each value is repeated and a convolution runs over that: a transposed convolution that takes
    sums of its taps, with several times fewer products.
    """

    def __init__(self, config: VocoderConfig, index: int) -> None:
        super().__init__()
        self.rate, kernel = config.upsample_rates[index], config.upsample_kernel_sizes[index]
        channels = config.base_channels >> (index + 1)
        self.up = nn.ConvTranspose1d(
            2 * channels, channels, kernel + self.rate - 1, stride=self.rate
        )
        self.before = kernel - 1
        self.source_stride = stride = _source_stride(config, index)
        self.source_down = nn.Conv1d(
            config.istft_n_fft + 2, channels, 2 * stride if stride > 1 else 1, stride=stride
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
        reaches = _reaches(config)
        self.spare = [max(reaches) - reach for reach in reaches]
        # One more step on the left of the last stage, where the spectrum has one more.
        self.extend = index == len(config.upsample_rates) - 1
        self.slope = config.lrelu_slope

    def forward(self, x: Tensor, spectrum: Tensor, *, opening: bool) -> Tensor:
        length = self.rate * x.shape[-1]
        x = self.up(F.leaky_relu(x, self.slope))
        x = x[..., (0 if opening else self.before) : length]
        if self.extend and opening:
            x = torch.cat([x[..., 1:2], x], dim=-1)  # reflection; later it is just one step late
        source = _causal(self.source_down, spectrum, self.source_stride - 1, opening=opening)
        x = _add(x, self.source_block(source, opening=opening))
        total, *others = (
            block(x[..., 0 if opening else spare :], opening=opening)
            for block, spare in zip(self.blocks, self.spare, strict=True)
        )
        for other in others:
            total = total + other
        return total / len(self.blocks)  # type: ignore[no-any-return]


def _reaches(config: VocoderConfig) -> list[int]:
    """How far each residual block looks back."""
    sizes = zip(config.resblock_kernel_sizes, config.resblock_dilation_sizes, strict=True)
    return [_reach(kernel, dilations) for kernel, dilations in sizes]


def _source_stride(config: VocoderConfig, index: int) -> int:
    """Steps of the source's spectrum for one of a stage's output."""
    return prod(config.upsample_rates[index + 1 :])


class F0Predictor(nn.Module):
    """mel (rows, mel, frames) -> f0 in Hz, for all frames but the last `AHEAD`.

    opening: whether the frames are the first of their stream. If not, there is no f0 for the first
    `BEHIND` of them either. In float64: the phase integrates f0, so that its rounding in float32
    would be heard.
    """

    AHEAD, BEHIND = 3, 8
    LAYERS, KERNEL = 4, 3  # that look back

    def __init__(self, mel: int, channels: int) -> None:
        super().__init__()
        wide = torch.float64
        later = [nn.Conv1d(channels, channels, self.KERNEL, dtype=wide) for _ in range(self.LAYERS)]
        self.convs = nn.ModuleList([nn.Conv1d(mel, channels, self.AHEAD + 1, dtype=wide), *later])
        self.output = nn.Linear(channels, 1, dtype=wide)

    def forward(self, mel: Tensor, *, opening: bool) -> Tensor:
        first, *later = self.convs
        x = F.elu(first(mel.double()))
        for conv in later:
            x = F.elu(_causal(conv, x, self.KERNEL - 1, opening=opening))
        return self.output(x.transpose(1, 2))[:, :, 0].abs().to(mel)  # type: ignore[no-any-return]


class HiFT(FourierNetwork):
    """The whole vocoder network: `f0` and `mix_source` make the source, `filter` the waveform.

    look_right: frames of mel that `filter` takes and gives nothing for. context: frames before the
    first one that is wanted, which the filter and the source's transform look back on.
    """

    body, head = ("conv_pre", "stages"), "conv_post"

    def __init__(self, config: VocoderConfig) -> None:
        super().__init__(config.istft_n_fft, config.istft_hop, config.audio_limit)
        self.config = config
        self.width = config.base_channels // 2
        self.look_right = config.conv_pre_look_right
        self.context = max(_context(config), F0Predictor.BEHIND)
        self.steps = prod(config.upsample_rates)
        self.f0 = F0Predictor(config.in_channels, config.f0_channels)
        self.mix_source = nn.Linear(config.nb_harmonics + 1, 1)
        self.conv_pre = nn.Conv1d(config.in_channels, config.base_channels, self.look_right + 1)
        self.stages = nn.ModuleList(
            Upsampling(config, index) for index in range(len(config.upsample_rates))
        )
        last = config.base_channels >> len(config.upsample_rates)
        self.conv_post = nn.Conv1d(last, config.istft_n_fft + 2, _POST_KERNEL)

    def filter(self, mel: Tensor, spectrum: Tensor) -> Tensor:
        """Log magnitude and phase of as many of the last steps as the input determines.

        mel: (rows, mel, T + look_right). spectrum: the steps that end T frames of the source, with
        the one on their first sample if that begins the stream: this is what shows the beginning.
        """
        opening = opens(spectrum, self.steps)
        x = self.conv_pre(mel)
        for stage in self.stages:
            x = stage(x, spectrum, opening=opening)
        x = F.leaky_relu(x).to(self.conv_post.weight)
        return _causal(self.conv_post, x, _POST_KERNEL - 1, opening=opening)


def opens(spectrum: Tensor, steps: int) -> bool:
    """Whether a spectrum of so many steps a frame, as `HiFT.filter` takes it, begins a stream."""
    return spectrum.shape[-1] % steps == 1


def _context(config: VocoderConfig) -> int:
    """Frames that the samples of one frame look back on, of mel and of source.

    Followed from the samples to the input: `back` counts the values of a layer before the first
    one of the frame, `steps` those of the spectrum.
    """
    half = config.istft_n_fft // 2
    back, steps = (half - 1) // config.istft_hop + _POST_KERNEL - 1, 0
    for index in reversed(range(len(config.upsample_rates))):
        stride = _source_stride(config, index)
        back += max(_reaches(config))
        source = back + _reach(
            config.source_resblock_kernel_sizes[index],
            config.source_resblock_dilation_sizes[index],
        )
        steps = max(steps, source * stride + stride - 1)
        back += stride == 1  # the last stage is one step late
        back += config.upsample_kernel_sizes[index] - 1
        back = -(-back // config.upsample_rates[index])
    mirrored = -(-half // config.istft_hop)  # steps that see the left edge of the source
    return max(back, -(-(steps + mirrored) // prod(config.upsample_rates)))

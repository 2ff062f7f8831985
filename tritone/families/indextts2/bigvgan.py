"""The vocoder's network: mel to waveform by transposed convolutions and residual blocks."""

from itertools import accumulate
from operator import mul

import torch
from torch import Tensor, nn

from tritone.families.indextts2 import snake
from tritone.families.indextts2.acoustic_config import VocoderConfig
from tritone.families.indextts2.snake import Snake

_ENDS = 7  # taps of the first and the last convolution


class ResidualBlock(nn.Module):
    """Pairs of convolutions, of which the first is dilated, each after an activation."""

    def __init__(self, channels: int, kernel: int, dilations: tuple[int, ...]) -> None:
        super().__init__()
        self.dilated = nn.ModuleList(_same(channels, kernel, dilation) for dilation in dilations)
        self.plain = nn.ModuleList(_same(channels, kernel, 1) for _ in dilations)
        self.snakes1 = nn.ModuleList(Snake(channels) for _ in dilations)
        self.snakes2 = nn.ModuleList(Snake(channels) for _ in dilations)

    def forward(self, x: Tensor) -> Tensor:
        layers = zip(self.snakes1, self.dilated, self.snakes2, self.plain, strict=True)
        for snake1, dilated, snake2, plain in layers:
            x = x + plain(snake2(dilated(snake1(x))))
        return x


class Stage(nn.Module):
    """Upsampling, and the mean of residual blocks of several kernels."""

    def __init__(self, config: VocoderConfig, index: int) -> None:
        super().__init__()
        rate, kernel = config.upsample_rates[index], config.upsample_kernels[index]
        channels = config.channels >> index
        self.up = nn.ConvTranspose1d(
            channels, channels // 2, kernel, rate, padding=(kernel - rate) // 2
        )
        shapes = zip(config.block_kernels, config.block_dilations, strict=True)
        self.blocks = nn.ModuleList(ResidualBlock(channels // 2, *shape) for shape in shapes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.up(x)
        total = self.blocks[0](x)
        for block in list(self.blocks)[1:]:
            total += block(x)
        return total / len(self.blocks)  # type: ignore[no-any-return]


class BigVGAN(nn.Module):
    """BigVGAN v2 (Lee et al., 2023) with weight norm folded into the weights."""

    def __init__(self, config: VocoderConfig) -> None:
        super().__init__()
        self.config = config
        self.input = nn.Conv1d(config.mel, config.channels, _ENDS, padding=_ENDS // 2)
        self.stages = nn.ModuleList(Stage(config, i) for i in range(len(config.upsample_rates)))
        last = config.channels >> len(config.upsample_rates)
        self.snake = Snake(last)
        self.output = nn.Conv1d(last, 1, _ENDS, padding=_ENDS // 2, bias=config.bias_at_final)

    @property
    def device(self) -> torch.device:
        return self.output.weight.device

    def round_body(self, dtype: torch.dtype) -> None:
        """Everything but the last activation and convolution in another precision."""
        self.input.to(dtype)
        self.stages.to(dtype)

    def forward(self, mel: Tensor) -> Tensor:
        """mel (rows, mel, n), n >= 1 -> samples (rows, samples_per_frame * n) in [-1, 1]."""
        x = self.input(mel.to(self.input.weight.dtype))
        for stage in self.stages:
            x = stage(x)
        wave = self.output(self.snake(x.to(mel.dtype)))[:, 0]
        return torch.tanh(wave) if self.config.tanh_at_final else wave.clamp(-1, 1)

    @property
    def reach(self) -> int:
        """Frames on either side beyond which none has an effect on a frame's samples."""
        config = self.config
        blocks = zip(config.block_kernels, config.block_dilations, strict=True)
        block = max(
            sum(kernel // 2 * (dilation + 1) + 2 * snake.HEARD for dilation in dilations)
            for kernel, dilations in blocks
        )
        rates: list[int] = list(accumulate(config.upsample_rates, mul))
        # in samples of the end, whose rate is the last: last layers, stages, first layer
        total = snake.HEARD + _ENDS // 2 + _ENDS // 2 * rates[-1]
        for rate, kernel in zip(rates, config.upsample_kernels, strict=True):
            total += rates[-1] // rate * (block + kernel)
        return -(-total // rates[-1])


def _same(channels: int, kernel: int, dilation: int) -> nn.Conv1d:
    """As many samples as come in."""
    padding = (kernel - 1) * dilation // 2
    return nn.Conv1d(channels, channels, kernel, padding=padding, dilation=dilation)

"""CAM++ (arXiv:2303.00332): filter bank frames to one vector for the speaker.

Batch norms are folded where the weights are converted: those after a convolution into it, those
before one are a scale and a shift of each channel.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tritone.families.indextts2.reference_config import SpeakerEncoderConfig

BLOCKS = ((12, 1), (24, 2), (16, 2))  # dense layers and dilation
_SQUEEZE = 2  # in bins, of three convolutions
_KERNEL = 3
_SEGMENT = 100  # frames that share a gate


class ScaledReLU(nn.Module):
    """Of (rows, channels, n)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(channels))
        self.shift = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        return torch.addcmul(self.shift[:, None], x, self.scale[:, None]).relu()


class Residual(nn.Module):
    """Two convolutions of an image, (rows, planes, bins, n), whose bins may become half as many."""

    def __init__(self, planes: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(planes, planes, _KERNEL, (stride, 1), padding=1)
        self.conv2 = nn.Conv2d(planes, planes, _KERNEL, padding=1)
        self.shortcut = nn.Conv2d(planes, planes, 1, (stride, 1)) if stride > 1 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.conv2(self.conv1(x).relu()) + self.shortcut(x))


class Image(nn.Module):
    """(rows, n, bins) -> (rows, planes * bins / 8, n)."""

    def __init__(self, planes: int) -> None:
        super().__init__()
        self.input = nn.Conv2d(1, planes, _KERNEL, padding=1)
        strides = (_SQUEEZE, 1, _SQUEEZE, 1)
        self.blocks = nn.ModuleList(Residual(planes, stride) for stride in strides)
        self.output = nn.Conv2d(planes, planes, _KERNEL, (_SQUEEZE, 1), padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.input(x.transpose(-2, -1)[:, None]).relu()
        for block in self.blocks:
            x = block(x)
        return self.output(x).relu().flatten(1, 2)  # type: ignore[no-any-return]


class ContextGate(nn.Module):
    """A convolution, gated by the mean of all frames and that of the segment."""

    def __init__(self, channels: int, growth: int, dilation: int) -> None:
        super().__init__()
        self.local = nn.Conv1d(
            channels, growth, _KERNEL, padding=dilation, dilation=dilation, bias=False
        )
        self.squeeze = nn.Conv1d(channels, channels // 2, 1)
        self.excite = nn.Conv1d(channels // 2, growth, 1)

    def forward(self, x: Tensor) -> Tensor:
        segments = F.avg_pool1d(x, _SEGMENT, _SEGMENT, ceil_mode=True)
        context = x.mean(-1, keepdim=True) + segments
        gate = self.excite(self.squeeze(context).relu()).sigmoid()
        of_frames = gate[..., None].expand(-1, -1, -1, _SEGMENT).flatten(2)
        return self.local(x) * of_frames[..., : x.shape[2]]  # type: ignore[no-any-return]


class DenseLayer(nn.Module):
    def __init__(self, channels: int, config: SpeakerEncoderConfig, dilation: int) -> None:
        super().__init__()
        bottleneck = config.bottleneck * config.growth
        self.before = ScaledReLU(channels)
        self.reduce = nn.Conv1d(channels, bottleneck, 1)
        self.gate = ContextGate(bottleneck, config.growth, dilation)

    def forward(self, x: Tensor) -> Tensor:
        """x and what is added to it."""
        return torch.cat([x, self.gate(self.reduce(self.before(x)).relu())], dim=1)


class DenseBlock(nn.Module):
    """Dense layers, then half of the channels."""

    def __init__(
        self, channels: int, layers: int, dilation: int, config: SpeakerEncoderConfig
    ) -> None:
        super().__init__()
        widths = [channels + i * config.growth for i in range(layers)]
        self.layers = nn.ModuleList(DenseLayer(width, config, dilation) for width in widths)
        grown = channels + layers * config.growth
        self.channels = grown // 2
        self.before = ScaledReLU(grown)
        self.reduce = nn.Conv1d(grown, self.channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return self.reduce(self.before(x))  # type: ignore[no-any-return]


class CamPlusPlus(nn.Module):
    def __init__(self, config: SpeakerEncoderConfig) -> None:
        super().__init__()
        if config.bins % 8:
            raise ValueError(f"bins is {config.bins}; it is halved three times")
        channels = config.channels
        self.image = Image(config.planes)
        self.input = nn.Conv1d(config.planes * config.bins // 8, channels, 5, 2, padding=2)
        self.blocks = nn.ModuleList()
        for layers, dilation in BLOCKS:
            block = DenseBlock(channels, layers, dilation, config)
            self.blocks.append(block)
            channels = block.channels
        self.after = ScaledReLU(channels)
        self.output = nn.Linear(2 * channels, config.width)

    def forward(self, x: Tensor) -> Tensor:
        """Kaldi's fbank with the mean over time removed, (rows, n, bins) -> (rows, width)."""
        x = self.input(self.image(x)).relu()
        for block in self.blocks:
            x = block(x)
        x = self.after(x)
        return self.output(torch.cat([x.mean(2), x.std(2)], dim=1))  # type: ignore[no-any-return]

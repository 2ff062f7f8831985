"""HiFT's network for a CPU with bfloat16 units: channels last in memory.

The matrix units take neighbouring channels of one sample together. torch has that order for two
dimensions only, so the network runs on images of one row.
"""

import torch
from torch import Tensor, nn

from tritone.families.cosyvoice2.hift import HiFT


class ChannelsLastFilter:
    """`HiFT.filter` in another precision. The network is converted and runs here alone after.

    The last convolution stays in float32: its output is exponentiated, and a phase.
    """

    def __init__(self, network: HiFT, dtype: torch.dtype) -> None:
        self._network, self._dtype = network, dtype
        for block in (network, *network.stages.modules()):
            for name, layer in list(block.named_children()):
                if isinstance(layer, nn.Conv1d | nn.ConvTranspose1d):
                    setattr(block, name, _of_one_row(layer))
        for part in (network.conv_pre, network.stages):
            part.to(dtype)

    def __call__(self, mel: Tensor, spectrum: Tensor) -> Tensor:
        """As `HiFT.filter`, float32 in and out."""
        as_image = (self._image(mel), self._image(spectrum))
        return self._network.filter(*as_image)[:, :, 0]

    def _image(self, x: Tensor) -> Tensor:
        return x[:, :, None].to(self._dtype, memory_format=torch.channels_last)


def _of_one_row(conv: nn.Conv1d | nn.ConvTranspose1d) -> nn.Module:
    """The same convolution over (rows, channels, 1, samples)."""
    kinds: dict[type, type[nn.Conv2d] | type[nn.ConvTranspose2d]] = {
        nn.Conv1d: nn.Conv2d,
        nn.ConvTranspose1d: nn.ConvTranspose2d,
    }
    (kernel,), (stride,), (dilation,) = conv.kernel_size, conv.stride, conv.dilation
    assert conv.groups == 1 and conv.bias is not None and not isinstance(conv.padding, str)
    wide = kinds[type(conv)](
        conv.in_channels,
        conv.out_channels,
        (1, kernel),
        stride=(1, stride),
        padding=(0, conv.padding[0]),
        dilation=(1, dilation),
        device="meta",
    )
    weight = conv.weight.data[:, :, None].contiguous(memory_format=torch.channels_last)
    wide.weight, wide.bias = nn.Parameter(weight), conv.bias
    return wide

"""A vocoder's network for a CPU with bfloat16 units: channels last in memory.

The matrix units take neighbouring channels of one sample together. torch has that order for two
dimensions only, so the network runs on images of one row.
"""

import torch
from torch import Tensor, nn

from tritone.acoustic.filter import FilterNetwork


class ChannelsLastFilter:
    """A network's filter in another precision. It is converted and runs here alone after."""

    def __init__(self, network: FilterNetwork, dtype: torch.dtype) -> None:
        self._network, self._dtype = network, dtype
        parts = (*network.body, network.head)
        for name, layer in list(network.named_modules()):
            if name.split(".")[0] in parts and isinstance(layer, nn.Conv1d | nn.ConvTranspose1d):
                block, _, leaf = name.rpartition(".")
                setattr(network.get_submodule(block), leaf, _of_one_row(layer))
        for part in network.body:
            network.get_submodule(part).to(dtype)

    def __call__(self, mel: Tensor, spectrum: Tensor) -> Tensor:
        """A `Filter`, float32 in and out."""
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

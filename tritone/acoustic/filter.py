"""A vocoder's network between its two Fourier transforms, and the ways to run it."""

from collections.abc import Callable, Hashable
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor, nn

from tritone.acoustic.unwanted import check_wanted
from tritone.compute import GraphCache, is_recording

Filter = Callable[[Tensor, Tensor], Tensor]
"""mel (rows, mel, frames) and the source's spectrum (rows, channels, steps) -> log magnitude and
phase, like the spectrum."""


class FilterNetwork(nn.Module):
    """A network with a filter. width: channels of its widest stage but the input's.

    body: names of the children that the filter uses and that may be in half precision. head: its
    last layer, which stays in float32: its output is exponentiated, and a phase.
    """

    body: ClassVar[tuple[str, ...]]
    head: ClassVar[str]
    width: int

    def filter(self, mel: Tensor, spectrum: Tensor) -> Tensor:
        """See `Filter`; on images of one row, (rows, channels, 1, n), as well."""
        raise NotImplementedError


class GraphedFilter:
    """A network's filter with graphs of the shapes of the warm-up; others run as they are. Not
    thread-safe."""

    def __init__(self, network: FilterNetwork) -> None:
        self._network = network
        self._graphs: GraphCache[Tensor] = GraphCache(next(network.parameters()).device)
        self._inputs: dict[Hashable, tuple[Tensor, Tensor]] = {}

    def __call__(self, mel: Tensor, spectrum: Tensor) -> Tensor:
        """A `Filter`; what it returns is overwritten by the next call."""
        key = (mel.shape, spectrum.shape)
        if key not in self._inputs:
            if not is_recording():
                return self._network.filter(mel, spectrum)
            held = self._inputs[key] = (mel.clone(), spectrum.clone())
            self._graphs.record(key, partial(self._network.filter, *held))
        held = self._inputs[key]
        for static, given in zip(held, (mel, spectrum), strict=True):
            static.copy_(given)
        return self._graphs(key, partial(self._network.filter, *held))


class ChannelsLastFilter:
    """A network's filter for a CPU, in another precision. It is converted and runs here alone.

    The CPU's bfloat16 units take neighbouring channels of one sample together. torch has that order
    for two dimensions only, so the network runs on images of one row. A window takes up to some
    tenths of a second: before each convolution there is a look whether it is still wanted.
    """

    def __init__(self, network: FilterNetwork, dtype: torch.dtype) -> None:
        self._network, self.dtype = network, dtype
        parts = (*network.body, network.head)
        for name, layer in list(network.named_modules()):
            if name.split(".")[0] in parts and isinstance(layer, nn.Conv1d | nn.ConvTranspose1d):
                block, _, leaf = name.rpartition(".")
                convolution = _of_one_row(layer)
                convolution.register_forward_pre_hook(_look)
                setattr(network.get_submodule(block), leaf, convolution)
        for part in network.body:
            network.get_submodule(part).to(dtype)

    def __call__(self, mel: Tensor, spectrum: Tensor) -> Tensor:
        """A `Filter`, float32 in and out."""
        return self._network.filter(self._image(mel), self._image(spectrum))[:, :, 0]

    def _image(self, x: Tensor) -> Tensor:
        return x[:, :, None].to(self.dtype, memory_format=torch.channels_last)


def _look(*_: object) -> None:
    check_wanted()


def _of_one_row(conv: nn.Conv1d | nn.ConvTranspose1d) -> nn.Module:
    """The same convolution over (rows, channels, 1, samples)."""
    (kernel,), (stride,), (dilation,) = conv.kernel_size, conv.stride, conv.dilation
    assert conv.groups == 1 and conv.bias is not None and not isinstance(conv.padding, str)
    kind = nn.Conv2d if isinstance(conv, nn.Conv1d) else nn.ConvTranspose2d
    wide = kind(
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

"""Convolution over time as a matrix product, time-major, with its context as a value.

A convolution of k taps over (rows, frames, channels) is a linear map of k neighbouring frames,
which lie next to each other in memory. That form needs no transposes around LayerNorm and
attention, and on a CPU a matrix product over a chunk's few frames is faster than a convolution.
"""

import torch
from torch import Tensor

from tritone.acoustic.linear import PackableLinear
from tritone.acoustic.tracing import is_traced


class WindowLinear(PackableLinear):
    """Convolution of `taps` frames without padding: (rows, n + taps - 1, in) -> (rows, n, out).

    weight: (out, taps * in), the taps in order of time.
    """

    def __init__(self, in_channels: int, out_channels: int, taps: int) -> None:
        super().__init__(taps * in_channels, out_channels)
        self.in_channels = in_channels
        self.taps = taps

    def forward(self, x: Tensor) -> Tensor:
        count = x.shape[1] - self.taps + 1
        # the gradient of overlapping memory is slow, and an exported graph has no strides
        if x.requires_grad or is_traced():
            windows = torch.cat([x[:, tap : tap + count] for tap in range(self.taps)], dim=2)
            return super().forward(windows)
        x = x.contiguous()
        rows, frames, channels = x.shape
        shape, strides = (rows, count, self.taps * channels), (frames * channels, channels, 1)
        windows = x.as_strided(shape, strides)
        return super().forward(windows)


class CausalConv1d(WindowLinear):
    """A convolution that sees `taps - 1` past frames.

    The tail, (rows, taps - 1, in), holds the inputs just before x; None means the start, where they
    are zeros.
    """

    def step(self, x: Tensor, tail: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """x (rows, n, in) -> (rows, n, out), and the tail for the next call."""
        context = self.taps - 1
        if tail is None:
            tail = x.new_zeros(x.shape[0], context, x.shape[2])
        x = torch.cat([tail, x], dim=1)
        return self(x), x[:, -context:].clone()


def window_weight(weight: Tensor) -> Tensor:
    """The weight of a Conv1d, (out, in, taps), as WindowLinear keeps it, (out, taps * in)."""
    return weight.transpose(1, 2).flatten(1).contiguous()

"""Causal convolution whose left context is a value that the caller keeps."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class CausalConv1d(nn.Conv1d):
    """Stride-1 convolution over (rows, channels, frames) that sees `kernel_size - 1` past frames.

    The tail, (rows, channels, kernel_size - 1), holds the inputs just before x; None means the
    start, where they are zeros.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int) -> None:
        super().__init__(in_channels, out_channels, kernel_size)
        self.context = kernel_size - 1

    def forward(self, x: Tensor, tail: Tensor | None = None) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        """Return the output, as long as x, and the tail for the next call."""
        x = F.pad(x, (self.context, 0)) if tail is None else torch.cat([tail, x], dim=2)
        return super().forward(x), x[:, :, -self.context :].clone()

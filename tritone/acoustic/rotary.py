"""Rotary positions: neighbouring channels turned, in pairs, by an angle that grows with time."""

import torch
from torch import Tensor


def rotary_frequencies(head_dim: int) -> Tensor:
    """Radians a frame of each pair of channels, (head_dim / 2,) in float32."""
    return 1.0 / 10000.0 ** (torch.arange(0, head_dim, 2, dtype=torch.float32) / head_dim)


def turns(positions: Tensor, frequencies: Tensor) -> Tensor:
    """Cosine and sine of the angle of each pair of channels at positions (rows, frames): (2, rows,
    frames, channels / 2) in float32."""
    angle = positions[:, :, None] * frequencies
    return torch.stack([angle.cos(), angle.sin()])


def turned(x: Tensor, turn: tuple[Tensor, Tensor]) -> Tensor:
    """Neighbouring channels of x (rows, frames, ..., channels) turned by an angle of each pair,
    whose cosine and sine broadcast to (rows, frames, ..., channels / 2)."""
    cosine, sine = turn
    first, second = x.view(*x.shape[:-1], -1, 2).unbind(-1)
    pairs = (first * cosine - second * sine, second * cosine + first * sine)
    return torch.stack(pairs, dim=-1).flatten(-2).to(x.dtype)

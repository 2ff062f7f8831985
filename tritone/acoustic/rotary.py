"""Rotary positions: neighbouring channels turned, in pairs, by an angle that grows with time."""

import torch
from torch import Tensor

from tritone.acoustic.linear import is_traced

Turn = tuple[Tensor, Tensor] | Tensor
"""Cosine and sine, or both as a complex number."""


def rotary_frequencies(head_dim: int) -> Tensor:
    """Radians a frame of each pair of channels, (head_dim / 2,) in float32, on the CPU: an outline
    on the device "meta" would have torch import its compiler for them."""
    channels = torch.arange(0, head_dim, 2, dtype=torch.float32, device="cpu")
    return 1.0 / 10000.0 ** (channels / head_dim)


def turns(positions: Tensor, frequencies: Tensor) -> Tensor:
    """Cosine and sine of the angle of each pair of channels at positions (rows, frames): (2, rows,
    frames, channels / 2) in float32."""
    angle = positions[:, :, None] * frequencies
    return torch.stack([angle.cos(), angle.sin()])


def complex_turn(cosine: Tensor, sine: Tensor) -> Turn:
    """The turn for several calls of `turned`, as one tensor where that is faster."""
    plain = torch.is_grad_enabled() or is_traced()
    return (cosine, sine) if plain else torch.complex(cosine, sine)


def turned(x: Tensor, turn: Turn) -> Tensor:
    """Neighbouring channels of x (rows, frames, ..., channels) turned by an angle of each pair,
    whose cosine and sine broadcast to (rows, frames, ..., channels / 2).

    As complex numbers, in float32, it takes a tenth of the time on a CPU, where every second
    channel is read slowly; an exported graph has none.
    """
    pairs = x.view(*x.shape[:-1], -1, 2)
    if not isinstance(turn, Tensor) and (x.requires_grad or is_traced()):
        cosine, sine = turn
        first, second = pairs.unbind(-1)
        both = (first * cosine - second * sine, second * cosine + first * sine)
        return torch.stack(both, dim=-1).flatten(-2).to(x.dtype)
    whole = turn if isinstance(turn, Tensor) else torch.complex(*turn)
    product = torch.view_as_complex(pairs.float()) * whole
    return torch.view_as_real(product).flatten(-2).to(x.dtype)

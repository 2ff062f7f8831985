"""Norms together with the sums and gates around them: x (rows, frames, width) in all of them."""

import torch
from torch import Tensor

from tritone.acoustic.fused.kernels import launch
from tritone.operators import block, count, operator

_VALUES = 4096  # of a program


@operator()
def mish_sum(x: Tensor, scale: Tensor, shift: Tensor, eps: float, residual: Tensor) -> Tensor:
    """mish(LayerNorm(x)) + residual."""
    assert x.is_contiguous() and residual.is_contiguous()
    y = torch.empty_like(x)
    frames, sizes = x.numel() // x.shape[-1], _sizes(x)
    launch(
        "rows.mish_sum",
        (count(frames, sizes["ROWS"]),),
        *(x, scale, shift, residual, y, frames),
        EPS=eps,
        **sizes,
    )
    return y


@operator()
def scaled_norm(x: Tensor, scale: Tensor, shift: Tensor, eps: float) -> Tensor:
    """LayerNorm without weights, scaled and shifted by `width` values each."""
    y = torch.empty_like(x)
    _norm(x, None, scale, shift, eps, y)
    return y


@operator()
def gated_norm(
    x: Tensor, gate: Tensor, branch: Tensor, scale: Tensor, shift: Tensor, eps: float
) -> tuple[Tensor, Tensor]:
    """x + gate * branch, and `scaled_norm` of that; gate has `width` values."""
    total, y = torch.empty_like(x), torch.empty_like(x)
    _norm(x, (gate, branch, total), scale, shift, eps, y)
    return total, y


def _norm(
    x: Tensor,
    gated: tuple[Tensor, Tensor, Tensor] | None,
    scale: Tensor,
    shift: Tensor,
    eps: float,
    y: Tensor,
) -> None:
    """Fills y, and the last of `gated`: gate, branch and their sum with x."""
    assert x.is_contiguous() and (gated is None or gated[1].is_contiguous())
    frames, sizes = x.numel() // x.shape[-1], _sizes(x)
    launch(
        "rows.gated_norm",
        (count(frames, sizes["ROWS"]),),
        *(x, *(gated or (x, x, y)), scale, shift, y, frames),
        EPS=eps,
        GATED=gated is not None,
        **sizes,
    )


def _sizes(x: Tensor) -> dict[str, int]:
    width = x.shape[-1]
    return {
        "WIDTH": width,
        "ROWS": max(1, _VALUES // block(width)),
        "COLUMNS": block(width),
    }

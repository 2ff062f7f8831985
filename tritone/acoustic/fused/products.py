"""Linear layers together with the norm before them, or the activation or sum after them.

x (rows, frames, width) in all of them, weights (out, width).
"""

import torch
from torch import Tensor

from tritone.acoustic.fused.kernels import launch
from tritone.operators import block, count, operator

_STEP = 64  # columns of x at a time
_ROWS, _OUTS = 32, 64  # of a program that norms rows: again in each, so it has many columns
_FEW_ROWS, _FEW_OUTS, _LONG_STEP = 16, 32, 128  # of one that adds: columns are few, rows long


@operator()
def normed_product(
    x: Tensor,
    scale: Tensor,
    shift: Tensor,
    eps: float,
    weight: Tensor,
    bias: Tensor,
    mish: bool,
    gelu: bool,
) -> Tensor:
    """LayerNorm, Mish where `mish`, the linear layer, GELU where `gelu`: (rows, frames, out)."""
    assert x.is_contiguous()
    out, width = weight.shape
    rows, y = x.numel() // width, x.new_empty(*x.shape[:-1], out)
    outs = block(out, _OUTS)
    launch(
        "product.normed_product",
        (count(rows, _ROWS), count(out, outs)),
        *(x, scale, shift, weight, bias, y, rows),
        EPS=eps,
        WIDTH=width,
        OUT=out,
        MISH=mish,
        GELU=gelu,
        ROWS=_ROWS,
        COLUMNS=block(width),
        STEP=block(width, _STEP),
        OUTS=outs,
    )
    return y


@operator()
def added_product(x: Tensor, weight: Tensor, bias: Tensor, residual: Tensor) -> Tensor:
    """residual + the linear layer, (rows, frames, out)."""
    assert x.is_contiguous() and residual.is_contiguous()
    out, width = weight.shape
    rows, y = x.numel() // width, torch.empty_like(residual)
    outs = block(out, _FEW_OUTS)
    launch(
        "product.added_product",
        (count(rows, _FEW_ROWS), count(out, outs)),
        *(x, weight, bias, residual, y, rows),
        WIDTH=width,
        OUT=out,
        ROWS=_FEW_ROWS,
        STEP=block(width, _LONG_STEP),
        OUTS=outs,
    )
    return y


@operator("pages")
def normed_projection(
    x: Tensor,
    scale: Tensor,
    shift: Tensor,
    eps: float,
    weight: Tensor,
    newest: Tensor,
    pages: Tensor,
) -> Tensor:
    """LayerNorm and a linear layer of queries, keys and values side by side, without bias.

    pages (n, frames, heads, head_dim): keys and values of a row go to its two of `newest` (2,
    rows). Returns the queries, (rows, frames, heads * head_dim).
    """
    assert x.is_contiguous()
    inner, width = len(weight) // 3, x.shape[-1]
    rows, query = x.numel() // width, x.new_empty(*x.shape[:-1], inner)
    outs = block(3 * inner, _OUTS)
    launch(
        "product.normed_projection",
        (count(rows, _ROWS), count(3 * inner, outs)),
        *(x, scale, shift, weight, newest, pages, query, rows),
        EPS=eps,
        WIDTH=width,
        INNER=inner,
        FRAMES=x.shape[1],
        ROWS=_ROWS,
        COLUMNS=block(width),
        STEP=block(width, _STEP),
        OUTS=outs,
    )
    return query

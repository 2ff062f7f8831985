"""What is done to whole rows, each of which fits into a block."""

import triton
import triton.language as tl

from tritone.acoustic.fused.kernels.shared import mish, normed, spread
from tritone.kernel_parts import loaded, stored, vector


@triton.jit(do_not_specialize=["count"])
def mish_sum(
    x,
    scale,
    shift,
    residual,
    y,
    count,
    EPS: tl.constexpr,
    WIDTH: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """y = mish(norm(x)) + residual."""
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    column = tl.arange(0, COLUMNS)
    is_row = row < count
    block = loaded(x, row, is_row, column, WIDTH)
    mean, inverse = spread(block, column, EPS, WIDTH)
    block = mish(normed(block, mean, inverse, scale, shift, column, WIDTH))
    block += loaded(residual, row, is_row, column, WIDTH)
    stored(y, block, row, is_row, column, WIDTH)


@triton.jit(do_not_specialize=["count"])
def gated_norm(
    x,
    gate,
    branch,
    total,
    scale,
    shift,
    y,
    count,
    EPS: tl.constexpr,
    WIDTH: tl.constexpr,
    GATED: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """total = x + gate * branch, where GATED; y = norm(total) * scale + shift."""
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    column = tl.arange(0, COLUMNS)
    is_row = row < count
    block = loaded(x, row, is_row, column, WIDTH)
    if GATED:
        block += vector(gate, column, WIDTH) * loaded(branch, row, is_row, column, WIDTH)
        stored(total, block, row, is_row, column, WIDTH)
    mean, inverse = spread(block, column, EPS, WIDTH)
    block = normed(block, mean, inverse, scale, shift, column, WIDTH)
    stored(y, block, row, is_row, column, WIDTH)

"""Products of rows with the weight of a linear layer, (OUT, WIDTH), and what is done on the way.

A program gives some columns of some rows, and takes STEP columns of x at a time. Where the rows are
normed first, each program does that for itself: they are short, and a kernel of its own takes
longer.
"""

import triton
import triton.language as tl

from tritone.acoustic.fused.kernels.shared import mish, normed, spread
from tritone.kernel_parts import dot, loaded, stored, vector


@triton.jit
def multiplied(block, weight, column, out, WIDTH: tl.constexpr, OUT: tl.constexpr):
    """Some columns of x, a block of float32, with their weights for some columns of y."""
    mask = (column < WIDTH)[:, None] & (out < OUT)[None, :]
    part = tl.load(weight + out[None, :] * WIDTH + column[:, None], mask=mask, other=0.0)
    return dot(block.to(part.dtype), part)


@triton.jit
def normed_rows(
    x,
    scale,
    shift,
    weight,
    row,
    is_row,
    out,
    product,
    EPS: tl.constexpr,
    WIDTH: tl.constexpr,
    OUT: tl.constexpr,
    MISH: tl.constexpr,
    COLUMNS: tl.constexpr,
    STEP: tl.constexpr,
):
    """Some columns of norm(x) @ weight.T, or mish(norm(x)), added to `product`."""
    whole = tl.arange(0, COLUMNS)
    mean, inverse = spread(loaded(x, row, is_row, whole, WIDTH), whole, EPS, WIDTH)
    for first in range(0, WIDTH, STEP):
        column = first + tl.arange(0, STEP)
        block = loaded(x, row, is_row, column, WIDTH)
        block = normed(block, mean, inverse, scale, shift, column, WIDTH)
        if MISH:
            block = mish(block)
        product += multiplied(block, weight, column, out, WIDTH, OUT)
    return product


@triton.jit(do_not_specialize=["count"])
def normed_product(
    x,
    scale,
    shift,
    weight,
    bias,
    y,
    count,
    EPS: tl.constexpr,
    WIDTH: tl.constexpr,
    OUT: tl.constexpr,
    MISH: tl.constexpr,
    GELU: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    STEP: tl.constexpr,
    OUTS: tl.constexpr,
):
    """y = gelu(mish(norm(x)) @ weight.T + bias), without the activations that are not wanted."""
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    out = tl.program_id(1) * OUTS + tl.arange(0, OUTS)
    is_row = row < count
    product = tl.zeros([ROWS, OUTS], tl.float32) + vector(bias, out, OUT)
    product = normed_rows(
        x, scale, shift, weight, row, is_row, out, product, EPS, WIDTH, OUT, MISH, COLUMNS, STEP
    )
    if GELU:
        product = 0.5 * product * (1.0 + tl.erf(product * 0.7071067811865476))
    stored(y, product, row, is_row, out, OUT)


@triton.jit(do_not_specialize=["count"])
def normed_projection(
    x,
    scale,
    shift,
    weight,
    newest,
    pages,
    query,
    count,
    EPS: tl.constexpr,
    WIDTH: tl.constexpr,
    INNER: tl.constexpr,
    FRAMES: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    STEP: tl.constexpr,
    OUTS: tl.constexpr,
):
    """norm(x) @ weight.T: the first INNER columns are queries, the others keys and values, which go
    to the newest page of each FRAMES rows; newest (2, count / FRAMES)."""
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    out = tl.program_id(1) * OUTS + tl.arange(0, OUTS)
    is_row = row < count
    none = tl.zeros([ROWS, OUTS], tl.float32)
    product = normed_rows(
        x, scale, shift, weight, row, is_row, out, none, EPS, WIDTH, 3 * INNER, False, COLUMNS, STEP
    )
    stored(query, product, row, is_row, out, INNER)
    written(pages, newest, product, row, is_row, out, count, INNER, FRAMES)


@triton.jit
def written(
    pages, newest, block, row, is_row, out, count, INNER: tl.constexpr, FRAMES: tl.constexpr
):
    """Columns from INNER on, as keys and values of the newest page of each FRAMES rows."""
    key = tl.load(newest + row // FRAMES, mask=is_row, other=0)
    value = tl.load(newest + (count + row) // FRAMES, mask=is_row, other=0)
    page = tl.where((out < 2 * INNER)[None, :], key[:, None], value[:, None])
    place = (page * FRAMES + (row % FRAMES)[:, None]) * INNER + (out % INNER)[None, :]
    mask = is_row[:, None] & ((out >= INNER) & (out < 3 * INNER))[None, :]
    tl.store(pages + place, block.to(pages.dtype.element_ty), mask=mask)


@triton.jit(do_not_specialize=["count"])
def added_product(
    x,
    weight,
    bias,
    residual,
    y,
    count,
    WIDTH: tl.constexpr,
    OUT: tl.constexpr,
    ROWS: tl.constexpr,
    STEP: tl.constexpr,
    OUTS: tl.constexpr,
):
    """y = residual + x @ weight.T + bias; STEP columns of x at a time."""
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    out = tl.program_id(1) * OUTS + tl.arange(0, OUTS)
    is_row = row < count
    product = loaded(residual, row, is_row, out, OUT) + vector(bias, out, OUT)
    for first in range(0, WIDTH, STEP):
        column = first + tl.arange(0, STEP)
        block = loaded(x, row, is_row, column, WIDTH)
        product += multiplied(block, weight, column, out, WIDTH, OUT)
    stored(y, product, row, is_row, out, OUT)

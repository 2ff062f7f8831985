"""Causal convolutions over time: products with each of the last TAPS frames.

Sequences of `length` frames follow one another; what comes before a sequence is `before`
(sequences, TAPS - 1, WIDTH), which lies `stride` apart for each sequence and `step` for each frame.
What comes before the frame `ends[0]` of a sequence goes to `after`, of the shape of `before`.
Weights are (OUT, TAPS * WIDTH), the taps in order of time.
"""

import triton
import triton.language as tl

from tritone.acoustic.fused.kernels.shared import mish, normed, spread
from tritone.kernel_parts import dot, loaded, stored, vector


@triton.jit
def earlier(
    before,
    row,
    is_row,
    past,
    column,
    length,
    stride,
    step,
    WIDTH: tl.constexpr,
    CONTEXT: tl.constexpr,
):
    """The frames `past` frames ago, a block of float32: zeros but where they are in `before`."""
    frame = row % length - past
    mask = (is_row & (frame < 0))[:, None] & (column < WIDTH)[None, :]
    place = (row // length) * stride + (frame + CONTEXT) * step
    return tl.load(before + place[:, None] + column[None, :], mask=mask, other=0.0).to(tl.float32)


@triton.jit
def tap_product(
    block, weight, tap, column, out, WIDTH: tl.constexpr, OUT: tl.constexpr, TAPS: tl.constexpr
):
    mask = (column < WIDTH)[:, None] & (out < OUT)[None, :]
    place = weight + out[None, :] * (TAPS * WIDTH) + tap * WIDTH + column[:, None]
    part = tl.load(place, mask=mask, other=0.0)
    return dot(block.to(part.dtype), part)


@triton.jit
def kept_tail(
    after, block, row, is_row, column, length, end, WIDTH: tl.constexpr, CONTEXT: tl.constexpr
):
    """Of a block of frames, those that the next chunk has before it."""
    frame = row % length - end + CONTEXT
    is_tail = is_row & (frame >= 0) & (frame < CONTEXT)
    stored(after, block, (row // length) * CONTEXT + frame, is_tail, column, WIDTH)


@triton.jit
def convolved(
    product,
    x,
    before,
    weight,
    row,
    is_row,
    out,
    length,
    stride,
    step,
    WIDTH: tl.constexpr,
    OUT: tl.constexpr,
    TAPS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """Some columns of the convolution of some rows, added to what `product` has."""
    for tap in tl.static_range(TAPS):
        past = TAPS - 1 - tap
        is_new = is_row & (row % length >= past)
        for first in range(0, WIDTH, COLUMNS):
            column = first + tl.arange(0, COLUMNS)
            block = loaded(x, row - past, is_new, column, WIDTH)
            block += earlier(
                before, row, is_row, past, column, length, stride, step, WIDTH, TAPS - 1
            )
            product += tap_product(block, weight, tap, column, out, WIDTH, OUT, TAPS)
    return product


@triton.jit(do_not_specialize=["count", "length", "stride"])
def convolution(
    x,
    before,
    weight,
    bias,
    ends,
    y,
    after,
    beside_weight,
    beside_bias,
    beside,
    count,
    length,
    stride,
    step,
    WIDTH: tl.constexpr,
    OUT: tl.constexpr,
    BESIDE: tl.constexpr,
    TAPS: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    OUTS: tl.constexpr,
):
    """y = the convolution of x. beside = x @ beside_weight.T + beside_bias of BESIDE columns, by
    programs of their own, where there are any. COLUMNS of x at a time."""
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    is_row = row < count
    own = tl.cdiv(OUT, OUTS)
    product = tl.zeros([ROWS, OUTS], tl.float32)
    if tl.program_id(1) < own:
        out = tl.program_id(1) * OUTS + tl.arange(0, OUTS)
        product += vector(bias, out, OUT)
        product = convolved(
            product,
            x,
            before,
            weight,
            row,
            is_row,
            out,
            length,
            stride,
            step,
            WIDTH,
            OUT,
            TAPS,
            COLUMNS,
        )
        stored(y, product, row, is_row, out, OUT)
    else:
        out = (tl.program_id(1) - own) * OUTS + tl.arange(0, OUTS)
        product += vector(beside_bias, out, BESIDE)
        product = convolved(
            product,
            x,
            before,
            beside_weight,
            row,
            is_row,
            out,
            length,
            stride,
            step,
            WIDTH,
            BESIDE,
            1,
            COLUMNS,
        )
        stored(beside, product, row, is_row, out, BESIDE)
    if tl.program_id(1) == 0:
        end = tl.load(ends)
        for first in range(0, WIDTH, COLUMNS):
            column = first + tl.arange(0, COLUMNS)
            block = loaded(x, row, is_row, column, WIDTH)
            kept_tail(after, block, row, is_row, column, length, end, WIDTH, TAPS - 1)


@triton.jit(do_not_specialize=["count", "length", "stride"])
def normed_convolution(
    x,
    scale,
    shift,
    moved,
    before,
    weight,
    bias,
    ends,
    y,
    after,
    count,
    length,
    stride,
    step,
    EPS: tl.constexpr,
    WIDTH: tl.constexpr,
    OUT: tl.constexpr,
    TAPS: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    STEP: tl.constexpr,
    OUTS: tl.constexpr,
):
    """y = the convolution of mish(norm(x)) + moved, of which `before` and `after` are frames."""
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    out = tl.program_id(1) * OUTS + tl.arange(0, OUTS)
    is_row = row < count
    product = tl.zeros([ROWS, OUTS], tl.float32) + vector(bias, out, OUT)
    for tap in tl.static_range(TAPS):
        past = TAPS - 1 - tap
        is_new = is_row & (row % length >= past)
        whole = tl.arange(0, COLUMNS)
        mean, inverse = spread(loaded(x, row - past, is_new, whole, WIDTH), whole, EPS, WIDTH)
        for first in range(0, WIDTH, STEP):
            column = first + tl.arange(0, STEP)
            block = loaded(x, row - past, is_new, column, WIDTH)
            block = normed(block, mean, inverse, scale, shift, column, WIDTH)
            block = mish(block) + vector(moved, column, WIDTH)
            if past == 0:  # these are the frames themselves
                if tl.program_id(1) == 0:
                    kept_tail(
                        after, block, row, is_row, column, length, tl.load(ends), WIDTH, TAPS - 1
                    )
            else:
                old = earlier(
                    before, row, is_row, past, column, length, stride, step, WIDTH, TAPS - 1
                )
                block = tl.where(is_new[:, None], block, old)
            product += tap_product(block, weight, tap, column, out, WIDTH, OUT, TAPS)
    stored(y, product, row, is_row, out, OUT)

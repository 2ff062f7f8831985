"""What kernels in the language of `triton` share, whose package this imports: products and blocks
of rows in float32. Columns are filled up with zeros."""

import os

import triton
import triton.language as tl

_SET = os.environ.get("TRITON_INTERPRET", "").lower()
_INTERPRETED = tl.constexpr(_SET in ("1", "true", "on", "yes"))  # as triton reads it


@triton.jit
def dot(one, other):
    """Their product with all bits of float32. triton's interpreter, in tests, multiplies bfloat16
    as if it were integers; widened it gives the same."""
    if _INTERPRETED:
        one, other = one.to(tl.float32), other.to(tl.float32)
    return tl.dot(one, other, input_precision="ieee")


@triton.jit
def loaded(x, row, is_row, column, WIDTH: tl.constexpr):
    """Rows of x as a block of float32."""
    mask = is_row[:, None] & (column < WIDTH)[None, :]
    return tl.load(x + row[:, None] * WIDTH + column[None, :], mask=mask, other=0.0).to(tl.float32)


@triton.jit
def stored(y, block, row, is_row, column, WIDTH: tl.constexpr):
    """A block as rows of y."""
    mask = is_row[:, None] & (column < WIDTH)[None, :]
    place = y + row[:, None] * WIDTH + column[None, :]
    tl.store(place, block.to(y.dtype.element_ty), mask=mask)


@triton.jit
def vector(values, column, WIDTH: tl.constexpr):
    """A weight for each column, as a row of float32."""
    return tl.load(values + column, mask=column < WIDTH, other=0.0).to(tl.float32)[None, :]

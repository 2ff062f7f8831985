"""What is done to the values of a row, one program for each row or part of it."""

import triton
import triton.language as tl


@triton.jit
def rms_norm(x, weight, y, EPS: tl.constexpr, WIDTH: tl.constexpr, COLUMNS: tl.constexpr):
    """y = x / root mean square of x * weight."""
    row, column = tl.program_id(0), tl.arange(0, COLUMNS)
    mask = column < WIDTH
    values = tl.load(x + row * WIDTH + column, mask=mask, other=0.0).to(tl.float32)
    inverse = tl.rsqrt(tl.sum(values * values, axis=0) / WIDTH + EPS)
    scale = tl.load(weight + column, mask=mask, other=0.0).to(tl.float32)
    result = values * inverse * scale
    tl.store(y + row * WIDTH + column, result.to(y.dtype.element_ty), mask=mask)


@triton.jit
def gated_silu(gate_up, y, WIDTH: tl.constexpr, COLUMNS: tl.constexpr):
    """y = silu(gate) * up; gate and up, of WIDTH values each, lie side by side."""
    row, column = tl.program_id(0), tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    mask = column < WIDTH
    place = gate_up + row * (2 * WIDTH) + column
    gate = tl.load(place, mask=mask, other=0.0).to(tl.float32)
    up = tl.load(place + WIDTH, mask=mask, other=0.0).to(tl.float32)
    result = gate / (1.0 + tl.exp(-gate)) * up
    tl.store(y + row * WIDTH + column, result.to(y.dtype.element_ty), mask=mask)

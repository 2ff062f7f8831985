"""What the flow's kernels share: norms and activations of blocks of rows."""

import triton
import triton.language as tl

from tritone.kernel_parts import vector


@triton.jit
def mish(x):
    """x tanh(log(1 + exp x)), as `tritone.acoustic.activation` has it."""
    power = tl.exp(tl.minimum(x, 20.0))
    share = power * (power + 2.0)
    return x * (share / (share + 2.0))


@triton.jit
def spread(block, column, EPS: tl.constexpr, WIDTH: tl.constexpr):
    """What LayerNorm wants to know of whole rows: the mean, and one by the standard deviation."""
    mean = tl.sum(block, axis=1) / WIDTH
    centred = tl.where((column < WIDTH)[None, :], block - mean[:, None], 0.0)
    variance = tl.sum(centred * centred, axis=1) / WIDTH
    return mean[:, None], tl.rsqrt(variance + EPS)[:, None]


@triton.jit
def normed(block, mean, inverse, scale, shift, column, WIDTH: tl.constexpr):
    """LayerNorm of some columns, with a scale and a shift for each."""
    plain = (block - mean) * inverse
    return plain * vector(scale, column, WIDTH) + vector(shift, column, WIDTH)

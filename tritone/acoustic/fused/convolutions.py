"""Causal convolutions over time, with what comes before and after them.

x (rows, frames, width) is `len(before)` sequences of frames that follow one another: rows of a
sequence are neighbours. before (sequences, taps - 1, width): the frames before each, a part of
longer rows perhaps. ends (n,): the first is how many frames of a sequence the next call has behind
it. weight (out, taps * width), the taps in order of time. All give (rows, frames, out), and at last
what the next call has as `before`.
"""

from torch import Tensor

from tritone.acoustic.fused.kernels import launch
from tritone.operators import block, count, operator

_ROWS, _OUTS, _STEP = 32, 32, 64
_NORMED_ROWS, _NORMED_OUTS = 16, 64  # rows are normed again for each block of columns


@operator()
def convolution(
    x: Tensor, before: Tensor, weight: Tensor, bias: Tensor, ends: Tensor
) -> tuple[Tensor, Tensor]:
    y = x.new_empty(*x.shape[:-1], len(weight))
    return y, _convolve(x, before, weight, bias, ends, y, None)


@operator()
def convolution_beside(
    x: Tensor,
    before: Tensor,
    weight: Tensor,
    bias: Tensor,
    ends: Tensor,
    beside_weight: Tensor,
    beside_bias: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """With a linear layer of x, whose output is the second."""
    y = x.new_empty(*x.shape[:-1], len(weight))
    beside = x.new_empty(*x.shape[:-1], len(beside_weight))
    layer = (beside_weight, beside_bias, beside)
    return y, beside, _convolve(x, before, weight, bias, ends, y, layer)


def _convolve(
    x: Tensor,
    before: Tensor,
    weight: Tensor,
    bias: Tensor,
    ends: Tensor,
    y: Tensor,
    beside: tuple[Tensor, Tensor, Tensor] | None,
) -> Tensor:
    """Fills y, and the last of `beside`: weight, bias and output of a linear layer."""
    sizes = _Sizes(x, before, weight)
    after, outs = before.new_empty(before.shape), block(len(weight), _OUTS)
    more = len(beside[0]) if beside else 0
    launch(
        "convolution.convolution",
        (count(sizes.rows, _ROWS), count(len(weight), outs) + count(more, outs)),
        *(x, before, weight, bias, ends, y, after),
        *(beside or (weight, bias, y)),
        *sizes.of_call,
        **sizes.of_network,
        BESIDE=more,
        ROWS=_ROWS,
        COLUMNS=block(sizes.width, _STEP),
        OUTS=outs,
    )
    return after


@operator()
def normed_convolution(
    x: Tensor,
    scale: Tensor,
    shift: Tensor,
    eps: float,
    moved: Tensor,
    before: Tensor,
    weight: Tensor,
    bias: Tensor,
    ends: Tensor,
) -> tuple[Tensor, Tensor]:
    """Of mish(LayerNorm(x)) + moved; moved has `width` values."""
    sizes = _Sizes(x, before, weight)
    y, after = x.new_empty(*x.shape[:-1], len(weight)), before.new_empty(before.shape)
    outs = block(len(weight), _NORMED_OUTS)
    launch(
        "convolution.normed_convolution",
        (count(sizes.rows, _NORMED_ROWS), count(len(weight), outs)),
        *(x, scale, shift, moved, before, weight, bias, ends, y, after),
        *sizes.of_call,
        **sizes.of_network,
        EPS=eps,
        ROWS=_NORMED_ROWS,
        COLUMNS=block(sizes.width),
        STEP=block(sizes.width, _STEP),
        OUTS=outs,
    )
    return y, after


class _Sizes:
    """Of a convolution."""

    def __init__(self, x: Tensor, before: Tensor, weight: Tensor) -> None:
        sequences, context, self.width = before.shape
        self.rows = x.numel() // self.width
        length = self.rows // sequences
        assert context <= length, "a chunk is longer than what a convolution sees before it"
        assert x.is_contiguous() and before.stride(2) == 1, "channels lie side by side"
        self.of_call = (self.rows, length, before.stride(0), before.stride(1))
        self.of_network = {"WIDTH": self.width, "OUT": len(weight), "TAPS": context + 1}

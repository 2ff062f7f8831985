"""Linear layers for few rows, and convolution over time as one of them.

A chunk has few rows, so a product's time is spent on bringing the weight into the order that the
matrix units of a CPU want. oneDNN does that once when it is asked to.

A convolution of k taps over (rows, frames, channels) is a linear map of k neighbouring frames,
which lie next to each other in memory. That form needs no transposes around LayerNorm and
attention, and on a CPU a matrix product over a chunk's few frames is faster than a convolution.
"""

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tritone.acoustic.kernels.int8 import Int8Linear, Int8Weights


def is_traced() -> bool:
    """True while `torch.onnx.export` traces: what it records must be plain operators."""
    return bool(torch.jit.is_tracing())  # type: ignore[attr-defined, no-untyped-call]


class PackableLinear(nn.Linear):
    """nn.Linear; once packed its weight is in an order of oneDNN's own and `weight` is empty.

    Then x is filled up to a count of rows that few others have too: oneDNN prepares a kernel for
    each, which takes as long as the product does for a second of speech. Or its weights are int8
    from then on.
    """

    packed: Tensor | None = None
    int8: tuple[Int8Linear, Int8Weights] | None = None

    def __init__(
        self, in_features: int, out_features: int, bias: bool = True, *, gelu: bool = False
    ) -> None:
        """gelu: whether what it gives goes through GELU, which some ways do in passing."""
        super().__init__(in_features, out_features, bias)
        self.gelu = gelu

    def forward(self, x: Tensor) -> Tensor:
        if self.packed is not None:
            return self._multiplied(x, None)
        if self.int8 is not None:
            product, weights = self.int8
            return product(x, weights, gelu=self.gelu)
        y = super().forward(x)
        return F.gelu(y) if self.gelu else y

    def added_to(self, before: Tensor, x: Tensor) -> Tensor:
        """before + layer(x), which has its shape; where it is packed, rounded once. Not for a layer
        with GELU, nor one of windows."""
        assert not self.gelu and type(self) is PackableLinear, "what is added comes last"
        return before + self(x) if self.packed is None else self._multiplied(x, before)

    def _multiplied(self, x: Tensor, before: Tensor | None) -> Tensor:
        rows = x.numel() // self.in_features
        spare = _common_rows(rows) - rows
        if not spare:
            return self._product(x, before)
        filled = x.new_empty(rows + spare, self.in_features)
        filled[:rows].view(x.shape).copy_(x)
        filled[rows:] = 0
        y = self._product(filled, None)[:rows].view(*x.shape[:-1], -1)
        return y if before is None else before + y

    def _product(self, x: Tensor, before: Tensor | None) -> Tensor:
        """What comes after the product is done in passing, in float32."""
        multiply, layer = torch.ops.mkldnn._linear_pointwise, (self.packed, self.bias)
        if before is not None:
            return multiply.binary(x, before, *layer, "add")  # type: ignore[no-any-return]
        if self.gelu:
            return multiply(x, *layer, "gelu", [], "none")  # type: ignore[no-any-return]
        return multiply(x, *layer, "none", [], "")  # type: ignore[no-any-return]


def _common_rows(rows: int) -> int:
    """What a whole chunk's tokens, frames and guided frames need is among them, or near."""
    step = 10 if rows <= 50 else 20
    return -(-rows // step) * step


def pack_for_cpu(module: nn.Module, rows: int) -> None:
    """Lay out the weights of all linear layers for products of about `rows` rows on a CPU.

    bfloat16: packed. float32: column by column, which is about a tenth faster than row by row and
    than packed; shapes and values stay. Any other count of rows stays possible. Grouped
    convolutions have the channels of a tap side by side, as their input has them. What
    `round_to_int8` did stays.
    """
    for layer in module.modules():
        if isinstance(layer, PackableLinear) and layer.int8:
            continue
        if isinstance(layer, PackableLinear) and layer.weight.dtype == torch.bfloat16:
            weight = layer.weight.data
            layer.packed = torch.ops.mkldnn._reorder_linear_weight(weight.contiguous(), rows)
            layer.weight.data = weight.new_empty(0)
        elif isinstance(layer, nn.Linear):
            layer.weight.data = layer.weight.data.t().contiguous().t()
        elif isinstance(layer, GroupedCausalConv1d):
            layer.weight.data = layer.weight.data.mT.contiguous().mT


def round_to_int8(layers: Iterable[nn.Module], product: Int8Linear) -> None:
    """Have the packable linear layers in `layers` multiply int8 weights, where they can."""
    for layer in layers:
        if isinstance(layer, PackableLinear) and product.accepts(*layer.weight.shape):
            layer.int8 = product, Int8Weights.of(layer.weight.data, layer.bias)
            layer.weight.data = layer.weight.data.new_empty(0)


class WindowLinear(PackableLinear):
    """Convolution of `taps` frames without padding: (rows, n + taps - 1, in) -> (rows, n, out).

    weight: (out, taps * in), the taps in order of time.
    """

    def __init__(self, in_channels: int, out_channels: int, taps: int) -> None:
        super().__init__(taps * in_channels, out_channels)
        self.in_channels, self.taps = in_channels, taps

    def forward(self, x: Tensor) -> Tensor:
        count = x.shape[1] - self.taps + 1
        # the gradient of overlapping memory is slow, and an exported graph has no strides
        if x.requires_grad or is_traced():
            windows = torch.cat([x[:, tap : tap + count] for tap in range(self.taps)], dim=2)
            return super().forward(windows)
        x = x.contiguous()
        rows, frames, channels = x.shape
        shape, strides = (rows, count, self.taps * channels), (frames * channels, channels, 1)
        return super().forward(x.as_strided(shape, strides))


class Causal(nn.Module):
    """A convolution over time that sees `taps - 1` past frames.

    The tail, (rows, taps - 1, in), holds the inputs just before x; None means the start, where they
    are zeros.
    """

    in_channels: int
    taps: int

    def step(self, x: Tensor, tail: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """x (rows, n, in) -> (rows, n, out), and the tail for the next call."""
        context = self.taps - 1
        if tail is None:
            tail = x.new_zeros(x.shape[0], context, x.shape[2])
        x = torch.cat([tail, x], dim=1)
        return self(x), x[:, -context:].clone()


class CausalConv1d(Causal, WindowLinear):
    """One that mixes all channels, as a linear layer."""


class GroupedCausalConv1d(Causal, nn.Conv1d):
    """One that mixes the channels of each group alone; its weight is that of a Conv1d.

    It stays torch's convolution: products as narrow as a group take longer in float32.
    """

    def __init__(self, channels: int, taps: int, groups: int) -> None:
        super().__init__(channels, channels, taps, groups=groups)
        self.taps = taps

    def forward(self, x: Tensor) -> Tensor:
        """(rows, n + taps - 1, channels) -> (rows, n, channels)."""
        # Frames of channels are an image of one row, channels last: no value is moved.
        image, kernel = x.transpose(1, 2)[:, :, None], self.weight[:, :, None]
        return F.conv2d(image, kernel, self.bias, groups=self.groups)[:, :, 0].transpose(1, 2)


def window_weight(weight: Tensor) -> Tensor:
    """The weight of a Conv1d, (out, in, taps), as WindowLinear keeps it, (out, taps * in)."""
    return weight.transpose(1, 2).flatten(1).contiguous()

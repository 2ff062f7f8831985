"""Linear layers whose weights can be packed for the matrix units of a CPU.

A chunk has few rows, so a product's time is spent on bringing the weight into the order that the
unit wants. oneDNN does that once when it is asked to.
"""

import torch
from torch import Tensor, nn


class PackableLinear(nn.Linear):
    """nn.Linear; after `pack` its weight is in an order of oneDNN's own and `weight` is empty."""

    packed: Tensor | None = None

    def pack(self, rows: int) -> None:
        """Pack for products of about `rows` rows; any other count stays possible."""
        weight = self.weight.data
        self.packed = torch.ops.mkldnn._reorder_linear_weight(weight.contiguous(), rows)
        self.weight.data = weight.new_empty(0)

    def forward(self, x: Tensor) -> Tensor:
        if self.packed is None:
            return super().forward(x)
        product: Tensor = torch.ops.mkldnn._linear_pointwise(
            x, self.packed, self.bias, "none", [], ""
        )
        return product


def pack_for_cpu(module: nn.Module, rows: int) -> None:
    """Lay out the weights of all linear layers for products of about `rows` rows on a CPU.

    bfloat16: packed. float32: column by column, which is about a tenth faster than row by row and
    than packed; shapes and values stay.
    """
    for layer in module.modules():
        if isinstance(layer, PackableLinear) and layer.weight.dtype == torch.bfloat16:
            layer.pack(rows)
        elif isinstance(layer, nn.Linear):
            layer.weight.data = layer.weight.data.t().contiguous().t()

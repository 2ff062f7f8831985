"""A pass whose layers are fused operators: `PagedPass` with fewer launches."""

import torch
from torch import Tensor, nn

from tritone.acoustic.fused.convolutions import convolution, convolution_beside, normed_convolution
from tritone.acoustic.fused.pages import paged_attention, turned_pages
from tritone.acoustic.fused.products import normed_projection
from tritone.acoustic.linear import Causal, CausalConv1d
from tritone.acoustic.paged_pass import PagedPass


class FusedPass(PagedPass):
    """What a layer does with the past, together with what it does before and after it.

    x (rows, frames, channels) in all of them.
    """

    def convolve(self, conv: Causal, x: Tensor) -> Tensor:
        if not isinstance(conv, CausalConv1d):
            return super().convolve(conv, x)
        y, tail = convolution(x, next(self._before), conv.weight, conv.bias, self._places.ends)
        self.tails.append(tail)
        return y

    def convolve_beside(self, conv: CausalConv1d, x: Tensor, beside: nn.Linear) -> list[Tensor]:
        """The convolution, and a linear layer of x."""
        given = (next(self._before), conv.weight, conv.bias, self._places.ends)
        y, other, tail = convolution_beside(x, *given, beside.weight, beside.bias)
        self.tails.append(tail)
        return [y, other]

    def convolve_normed(
        self, conv: CausalConv1d, x: Tensor, norm: nn.LayerNorm, shift: Tensor
    ) -> Tensor:
        """The convolution of mish(norm(x)) + shift."""
        given = (next(self._before), conv.weight, conv.bias, self._places.ends)
        y, tail = normed_convolution(x, norm.weight, norm.bias, norm.eps, shift, *given)
        self.tails.append(tail)
        return y

    def attend_normed(self, x: Tensor, norm: nn.LayerNorm, projection: nn.Linear) -> Tensor:
        """Attention of what `projection` makes of norm(x), queries, keys and values side by side:
        (rows, frames, heads * head_dim)."""
        layer, newest = next(self._layers), self._places.newest
        norms = (norm.weight, norm.bias, norm.eps)
        query = normed_projection(x, *norms, projection.weight, newest, layer)
        return self._attend(query, layer)

    def attend_turned(self, projected: Tensor, turn: Tensor) -> Tensor:
        """Attention of queries, keys and values side by side, once the first channels of queries
        and keys are turned; turn: complex, of the pairs of each frame."""
        layer, newest = next(self._layers), self._places.newest
        turns = torch.view_as_real(turn).view(*projected.shape[:2], -1, 2)
        return self._attend(turned_pages(projected, turns, newest, layer), layer)

    def _attend(self, query: Tensor, layer: Tensor) -> Tensor:
        return paged_attention(query, layer, self._places.table, self._places.seen)

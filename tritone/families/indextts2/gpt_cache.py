"""Keys and values of the positions that a decoder has read."""

from typing import NamedTuple

import torch
from torch import Tensor


class Read(NamedTuple):
    """Keys and values, (rows, heads, n, head_dim)."""

    key: Tensor
    value: Tensor


class KeyValues:
    """Of all layers, for a fixed number of rows of equal length, in one preallocated buffer:
    (layers, 2, rows, heads, capacity, head_dim). Memory is taken as positions are written."""

    def __init__(self, layers: int, rows: int, heads: int, capacity: int, like: Tensor) -> None:
        """like: of the width of a head, and of the type and place that keys have."""
        shape = (layers, 2, rows, heads, capacity, like.shape[-1])
        self._buffer = like.new_empty(shape)
        self.length = 0

    def write(self, layer: int, key: Tensor, value: Tensor) -> Read:
        """Add the positions after `length`; all that is there then, for as many rows as are given.

        One row is written to all: they begin alike. `advance` counts the positions.
        """
        start, end = self.length, self.length + key.shape[2]
        assert end <= self._buffer.shape[4], f"{end} positions do not fit"
        self._buffer[layer, 0, :, :, start:end] = key
        self._buffer[layer, 1, :, :, start:end] = value
        own = self._buffer[layer, :, : len(key), :, :end]
        return Read(own[0], own[1])

    def advance(self, positions: int) -> None:
        self.length += positions

    def cut(self, length: int) -> None:
        """Forget all positions from `length` on."""
        assert 0 <= length <= self.length
        self.length = length

    def reorder(self, rows: Tensor, start: int) -> None:
        """Row i continues what row rows[i] has from `start` on; before it all rows are alike."""
        kept = self._buffer[..., start : self.length, :]
        kept.copy_(torch.index_select(kept, 2, rows))

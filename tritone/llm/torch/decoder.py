"""What the slot session in torch asks of a decoder."""

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from tritone.llm.config import DecoderSizes

# (layer, query, key, value) -> attended. query (rows, kv_heads, group * n, head_dim), key and value
# (rows, kv_heads, n, head_dim); the result is like query.
Attend = Callable[[int, Tensor, Tensor, Tensor], Tensor]


class TorchDecoder(Protocol):
    """Weights on a device, in a precision. rows: of the head. waiting: those that may be banned."""

    @property
    def config(self) -> DecoderSizes: ...

    @property
    def device(self) -> torch.device: ...

    @property
    def dtype(self) -> torch.dtype: ...

    @property
    def rows(self) -> int: ...

    @property
    def waiting(self) -> slice: ...

    def forward(self, embeds: Tensor, positions: Tensor, attend: Attend) -> Tensor:
        """embeds (rows, n, hidden) at positions (rows, n) -> (rows, hidden), the state of the last
        position that logits are made of."""
        ...

    def logits(self, last: Tensor) -> Tensor:
        """(rows, hidden) -> (rows, head) float32: codes, then stop ids."""
        ...

"""What the slot session in torch asks of a decoder."""

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from tritone.llm.config import DecoderSizes

# (layer, query, key, value) -> attended. query (rows, kv_heads, group * n, head_dim), key and value
# (rows, kv_heads, n, head_dim); the result is like query.
Attend = Callable[[int, Tensor, Tensor, Tensor], Tensor]
# (layer, projected) -> attended. projected (rows, all heads * head_dim): queries, keys and values
# side by side, not turned; the result has the queries' part of that.
AttendProjected = Callable[[int, Tensor], Tensor]


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


class FusedDecoder(TorchDecoder, Protocol):
    """One that can take positions as rows, by fused operators."""

    @property
    def rotation(self) -> tuple[Tensor, Tensor]:
        """Cosine and sine of each position, (positions, head_dim / 2) float32; one position more
        than a stream has."""
        ...

    def advance(self, embeds: Tensor, attend: AttendProjected) -> Tensor:
        """embeds (rows, hidden) -> (rows, hidden), the states that logits are made of."""
        ...

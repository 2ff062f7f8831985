"""Passes of the estimator over streams whose past lies in pages of fixed buffers.

Each is one ODE step. What they read and write is found by indices that are the same in all steps
and layers: those of a buffer whose first axis is keys and values, then guided rows, then pages.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from tritone.acoustic.attention import attend
from tritone.acoustic.cache import Span
from tritone.acoustic.estimator import Pass
from tritone.acoustic.linear import Causal

KEY_VALUE = 2


@dataclass
class Places:
    """What the passes of all ODE steps have in common that are guided, or of all that are not, for
    `rows` rows of a chunk each. `count` is GUIDED_ROWS, or 1.

    table (KEY_VALUE * count * rows * reach,): pages to read, the newest among them; newest
    (2, count * rows): pages to write keys and values to. seen (rows,): frames of a row's pages that
    may be seen. frames (frames of `reach` pages,): counted. positions (count * rows, frames): of
    the new frames. tails: where the convolutions' left context is, (count * rows,), or (count,) for
    a chain, whose rows are neighbouring chunks of one stream. ends (tail_frames,): the places of
    the last frames of each of these, the tail before them counted.
    """

    rows: int
    table: Tensor
    newest: Tensor
    seen: Tensor
    frames: Tensor
    positions: Tensor
    tails: Tensor
    ends: Tensor
    kept: dict[str, Any] = field(default_factory=dict)


class PagedPass(Pass):
    """One pass over the rows of `places`.

    pages: keys and values of this ODE step, (layers, pages of `Places`, frames, heads, head_dim).
    before: the tail of every convolution; `tails` are those after.
    """

    def __init__(self, pages: Tensor, places: Places, before: Sequence[Tensor]) -> None:
        super().__init__(None, None)
        self._layers, self._places = iter(pages), places
        self._before, self.tails = iter(before), list[Tensor]()

    def convolve(self, conv: Causal, x: Tensor) -> Tensor:
        before = next(self._before)
        if len(before) == len(x):
            joined = torch.cat([before, x], dim=1)
            self.tails.append(joined[:, x.shape[1] :])
            return conv(joined)  # type: ignore[no-any-return]
        joined = torch.cat([before, x.view(len(before), -1, x.shape[2])], dim=1)
        self.tails.append(joined.index_select(1, self._places.ends))
        return conv(joined).reshape(*x.shape[:2], -1)  # type: ignore[no-any-return]

    def positions(self, x: Tensor) -> Tensor:
        return self._places.positions

    def once(self, name: str, make: Callable[[], Any]) -> Any:
        kept = self._places.kept
        if name not in kept:
            kept[name] = make()
        return kept[name]

    def attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Write (count * rows, heads, frames, head_dim), read all that may be seen."""
        layer, places = next(self._layers), self._places
        for indices, new in zip(places.newest, (key, value), strict=True):
            layer.index_copy_(0, indices, new.transpose(1, 2))
        seen = layer.index_select(0, places.table)
        keys, values = seen.view(KEY_VALUE, len(query), -1, *seen.shape[2:]).transpose(2, 3)
        bias = self.once("bias", lambda: self._bias(query))
        return attend(query, [Span(keys, values)], [bias])

    def _bias(self, query: Tensor) -> Tensor:
        """Of the attention scores, -inf where there is nothing to see: (count * rows, 1, 1, frames
        of `reach` pages)."""
        places = self._places
        hidden = places.frames >= places.seen[:, None]
        bias = torch.zeros_like(hidden, dtype=query.dtype).masked_fill(hidden, float("-inf"))
        return bias[:, None, None].repeat(len(query) // len(places.seen), 1, 1, 1)

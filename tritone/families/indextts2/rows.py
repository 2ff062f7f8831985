"""Rows of frames of different lengths, one behind the other in a single tensor.

What looks at one frame alone takes all rows at once; attention and convolution take them apart. So
streams that are computed together need no filling, and none hears of another.
"""

from collections.abc import Callable, Sequence
from itertools import groupby

import torch
from torch import Tensor


class Rows:
    """lengths: frames of each row. real: how many of them are no filling, where some are: upstream
    fills the rows of a batch."""

    def __init__(self, lengths: Sequence[int], real: Sequence[int] | None = None) -> None:
        self.lengths, self.real = tuple(lengths), None if real is None else tuple(real)
        # neighbours that are as long go together
        self._groups = [(length, len(list(same))) for length, same in groupby(self.lengths)]

    def apart(self, x: Tensor) -> list[Tensor]:
        """(frames of all, ...) -> views (rows, frames, ...) of neighbours that are as long."""
        parts, begin = [], 0
        for length, count in self._groups:
            end = begin + length * count
            parts.append(x[begin:end].view(count, length, *x.shape[1:]))
            begin = end
        return parts

    def each(self, function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        """A function of (rows, frames, ...), applied to `apart` and put together again."""
        parts = [function(part).flatten(0, 1) for part in self.apart(x)]
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def positions(self, device: torch.device) -> Tensor:
        """Of each frame within its row, (frames of all,)."""
        return torch.cat([torch.arange(length, device=device) for length in self.lengths])

    def filling(self, device: torch.device) -> Tensor | None:
        """Which frames are filling, (frames of all,) boolean; None if there is none."""
        if self.real is None:
            return None
        ends = torch.tensor(self.real, device=device)
        lengths = torch.tensor(self.lengths, device=device)
        return self.positions(device) >= ends.repeat_interleave(lengths)

    def without(self, dropped: Sequence[int]) -> "tuple[Rows, Callable[[Tensor], Tensor]]":
        """The rows without so many of their first frames, and what takes those of a tensor."""
        kept = [length - skip for length, skip in zip(self.lengths, dropped, strict=True)]

        def take(x: Tensor) -> Tensor:
            parts = torch.split(x, list(self.lengths))
            return torch.cat([part[skip:] for part, skip in zip(parts, dropped, strict=True)])

        return Rows(kept), take

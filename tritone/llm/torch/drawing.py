"""Drawing the next tokens of many streams on the device that made their logits.

As `tritone.llm.sampler.Sampler` draws, and by the same numbers: from the nucleus and, where that
repeats a token, once more from all else. A fixed series of kernels on fixed addresses, so that a
CUDA graph can hold it.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from tritone.llm.sampler import MOST_LIKELY, Draw
from tritone.llm.torch.fused import drawn_tokens

_TIE = 1e-12  # less than any difference of two logits
_NOTHING = -1  # where a window has no token
_GREEDY = (1.0, 1.0, 1.0, 0.0, 0.0, 1.0, 0.0)  # of rows that stand for no stream


class Drawing:
    """For up to `slots` rows of logits. waiting: columns that may be banned. window: tokens that
    are looked at for repetitions."""

    def __init__(self, slots: int, waiting: slice, window: int, device: torch.device) -> None:
        self._waiting, pinned = waiting, device.type == "cuda"
        kind = {"dtype": torch.float64, "pin_memory": pinned}
        self._host = torch.tensor([_GREEDY], **kind).repeat(slots, 1)  # type: ignore[arg-type]
        self._host_window = torch.full((slots, window), _NOTHING, pin_memory=pinned)
        self._numbers, self._window = self._host.to(device), self._host_window.to(device)

    def prepare(self, draws: Sequence[Draw]) -> None:
        """What the rows of the next call are drawn by."""
        count, width = len(draws), self._window.shape[1]
        numbers = [
            (d.top_k, d.top_p, d.temperature, *d.uniforms, d.threshold, d.banned) for d in draws
        ]
        self._host[:count] = torch.from_numpy(np.array(numbers, np.float64))
        windows = [(*d.window, *[_NOTHING] * (width - len(d.window))) for d in draws]
        self._host_window[:count] = torch.from_numpy(np.array(windows, np.int64))
        self._numbers[:count].copy_(self._host[:count], non_blocking=True)
        self._window[:count].copy_(self._host_window[:count], non_blocking=True)

    def __call__(self, logits: Tensor) -> Tensor:
        """(rows, 2) int64: tokens, and whether they were drawn twice, for (rows, head) float32
        logits. A token is -1 where the largest of them is no number."""
        numbers, window = self._numbers[: len(logits)], self._window[: len(logits)]
        top_k, top_p, temperature, first, second, threshold, banned = torch.split(numbers, 1, dim=1)
        logits = logits.clone()
        waiting = logits[:, self._waiting]
        waiting.masked_fill_(banned > 0, -torch.inf)
        largest = logits.max(dim=1, keepdim=True)[0]
        law = ((logits - largest) / temperature.float()).softmax(dim=1)
        # of equal ones, which half precision makes many of, the lower id goes first
        ordered = logits.double() - _TIE * torch.arange(law.shape[1], device=logits.device)
        ids = ordered.topk(min(MOST_LIKELY, law.shape[1]), dim=1)[1]
        kept = law.gather(1, ids)
        ranks = torch.arange(kept.shape[1], device=logits.device)
        inside = (kept.cumsum(dim=1) - kept < top_p) & (ranks < top_k)
        token = ids.gather(1, _drawn(kept.masked_fill(~inside, 0), first))
        repeats = (window == token).sum(dim=1, keepdim=True) >= threshold
        again = repeats & (top_k > 1)
        token = torch.where(again, _drawn(law.scatter(1, token, 0), second), token)
        return torch.cat([token.masked_fill(~largest.isfinite(), -1), again.long()], dim=1)


class FusedDrawing(Drawing):
    """In one launch."""

    def __call__(self, logits: Tensor) -> Tensor:
        rows, waiting = len(logits), self._waiting
        given = self._numbers[:rows], self._window[:rows], waiting.start, waiting.stop
        return drawn_tokens(logits, *given, MOST_LIKELY)


def _drawn(weights: Tensor, uniforms: Tensor) -> Tensor:
    """(rows, 1) int64 columns, drawn in proportion to (rows, n) weights by (rows, 1) numbers in
    [0, 1)."""
    cumulative = weights.cumsum(dim=1, dtype=torch.float64)
    total = cumulative[:, -1:]
    column = torch.searchsorted(cumulative, total * uniforms, right=True)
    # the product may round up to the total, which belongs to the last positive weight
    last = (cumulative < total).sum(dim=1, keepdim=True)
    return torch.minimum(column, last)

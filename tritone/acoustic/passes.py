"""One pass of a velocity estimator: what its layers know of the past, and what they leave behind.

Everything is time-major, (rows, frames, channels).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tritone.acoustic.attention import attend, attend_chunks
from tritone.acoustic.cache import KeyValueStore, Span
from tritone.acoustic.conv import CausalConv1d


@dataclass(frozen=True)
class EstimatorState:
    """What one ODE step of a stream carries from chunk to chunk.

    tails: the left context of every causal convolution in the order of the forward pass, each
    (rows, tail_frames, channels). The store is written in place.
    """

    tails: tuple[Tensor, ...]
    store: KeyValueStore

    def fork(self) -> "EstimatorState":
        return EstimatorState(self.tails, self.store.fork())


class Pass:
    """One forward pass over everything: what the layers know of the past is nothing."""

    def __init__(self, padding: Tensor | None, visible: Tensor | None) -> None:
        self.padding = padding
        self.visible = visible

    def masked(self, x: Tensor) -> Tensor:
        return x if self.padding is None else x * self.padding

    def convolve(self, conv: CausalConv1d, x: Tensor) -> Tensor:
        return conv.step(self.masked(x))[0]

    def attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Attention of (rows, heads, frames, head_dim) over these frames and the past."""
        return attend(query, [Span(key, value)], [self.visible])


class StreamsPass(Pass):
    """The next frames of some streams, as many for each; rows of a stream follow one another.

    They are one chunk or several whole ones, of which the last may be shorter. Products take all
    together, attention one stream after the other: each has its own past.
    """

    def __init__(self, states: Sequence[EstimatorState], visible: Tensor | None) -> None:
        super().__init__(None, visible)
        self._states = states
        self._conv = self._layer = 0
        self._tails: list[list[Tensor]] = [[] for _ in states]

    def convolve(self, conv: CausalConv1d, x: Tensor) -> Tensor:
        before = _joined([state.tails[self._conv] for state in self._states])
        self._conv += 1
        y, after = conv.step(x, before)
        for tails, tail in zip(self._tails, self._split(after), strict=True):
            tails.append(tail)
        return y

    def attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        streams = zip(*(self._split(x) for x in (query, key, value)), self._states, strict=True)
        attended = []
        for own_query, own_key, own_value, state in streams:
            attended.append(self._attend_own(own_query, own_key, own_value, state.store))
        self._layer += 1
        return _joined(attended)

    def _attend_own(
        self, query: Tensor, key: Tensor, value: Tensor, store: KeyValueStore
    ) -> Tensor:
        if self.visible is None and query.shape[2] > store.chunk:
            return attend_chunks(query, key, value, store, self._layer)
        spans = store.write(self._layer, key, value, in_order=False)
        return attend(query, spans, [self.visible] * len(spans))

    def advanced(self, frames: int) -> list[EstimatorState]:
        """The streams' next states, once the pass is over."""
        for state in self._states:
            state.store.advance(frames)
        return [
            EstimatorState(tuple(tails), state.store)
            for tails, state in zip(self._tails, self._states, strict=True)
        ]

    def _split(self, x: Tensor) -> Sequence[Tensor]:
        return [x] if len(self._states) == 1 else x.chunk(len(self._states))


def _joined(parts: Sequence[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(list(parts))

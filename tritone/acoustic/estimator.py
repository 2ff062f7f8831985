"""The velocity estimator of a flow's ODE: what the solvers ask of it, and its passes.

In a pass the layers hear what is known of the past and leave behind what is new. Everything is
time-major, (rows, frames, channels).
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from tritone.acoustic.attention import attend, attend_chunks
from tritone.acoustic.cache import KeyValueStore, Span
from tritone.acoustic.linear import Causal


@dataclass(frozen=True)
class EstimatorState:
    """What one ODE step of a stream carries from chunk to chunk.

    tails: the left context of every causal convolution in the order of the forward pass, each
    (rows, tail_frames, channels). The store is written in place.
    """

    tails: tuple[Tensor, ...]
    store: KeyValueStore

    @classmethod
    def empty(
        cls, estimator: "VelocityEstimator", rows: int, left_chunks: int, dtype: torch.dtype
    ) -> "EstimatorState":
        """Before the first chunk; `left_chunks` and `dtype` as in KeyValueStore."""
        store = KeyValueStore(
            estimator.attention_layers,
            rows,
            estimator.heads,
            estimator.head_dim,
            chunk=estimator.chunk_frames,
            left_chunks=left_chunks,
            dtype=dtype,
            device=estimator.device,
        )
        zeros = partial(torch.zeros, dtype=estimator.dtype, device=estimator.device)
        shapes = [(rows, estimator.tail_frames, width) for width in estimator.tail_channels]
        return cls(tuple(zeros(shape) for shape in shapes), store)

    def fork(self) -> "EstimatorState":
        return EstimatorState(self.tails, self.store.fork())


class Pass:
    """One forward pass over everything: what the layers know of the past is nothing."""

    def __init__(self, padding: Tensor | None, visible: Tensor | None) -> None:
        self.padding, self.visible = padding, visible

    def masked(self, x: Tensor) -> Tensor:
        return x if self.padding is None else x * self.padding

    def convolve(self, conv: Causal, x: Tensor) -> Tensor:
        return conv.step(self.masked(x))[0]

    def positions(self, x: Tensor) -> Tensor:
        """Of the frames of x (rows, frames, channels), counted from the first of the prompt:
        (rows, frames), or (1, frames) where they are the same for all rows."""
        return torch.arange(x.shape[1], device=x.device)[None]

    def once(self, name: str, make: Callable[[], Any]) -> Any:
        """What `make` gives, which the passes of other ODE steps may have made already: it follows
        from the positions alone."""
        return make()

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

    def convolve(self, conv: Causal, x: Tensor) -> Tensor:
        before = _joined([state.tails[self._conv] for state in self._states])
        self._conv += 1
        y, after = conv.step(x, before)
        for tails, tail in zip(self._tails, self._split(after), strict=True):
            tails.append(tail)
        return y

    def positions(self, x: Tensor) -> Tensor:
        rows = x.shape[0] // len(self._states)
        starts = [state.store.length for state in self._states for _ in range(rows)]
        return torch.tensor(starts, device=x.device)[:, None] + super().positions(x)

    def attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        attended = []
        parts = zip(*map(self._split, (query, key, value)), self._states, strict=True)
        for own_query, own_key, own_value, state in parts:
            own = (own_key, own_value)
            if self.visible is None and own_query.shape[2] > state.store.chunk:
                attended.append(attend_chunks(own_query, *own, state.store, self._layer))
            else:
                spans = state.store.write(self._layer, *own, in_order=False)
                attended.append(attend(own_query, spans, [self.visible] * len(spans)))
        self._layer += 1
        return _joined(attended)

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


class VelocityEstimator(Protocol):
    """The velocity of mel frames at one ODE time, causal but for attention inside a chunk.

    Its input x (rows, frames, mel_bins + condition_channels) is the mel on its way beside what is
    known of it. chunk_frames: of an attention chunk. tail_channels: of the left context of every
    causal convolution, in the order of the forward pass; each has tail_frames. channels: of the
    hidden layers.
    """

    mel_bins: int
    condition_channels: int
    chunk_frames: int
    channels: int
    heads: int
    head_dim: int
    tail_frames: int

    @property
    def attention_layers(self) -> int: ...

    @property
    def tail_channels(self) -> list[int]: ...

    @property
    def int8_parts(self) -> Iterable[nn.Module]:
        """The linear layers whose weights may be rounded to int8, among others."""

    @property
    def device(self) -> torch.device: ...

    @property
    def dtype(self) -> torch.dtype: ...

    def time_shifts(self, t: Tensor) -> list[Tensor]:
        """What ODE time t (rows,) does to the blocks: each (rows, 1, channels), in the order in
        which `run` uses them."""

    def __call__(
        self, x: Tensor, shifts: Sequence[Tensor], *, visible: Tensor | None = None
    ) -> Tensor:
        """One pass over everything: x -> velocity (rows, frames, mel_bins); visible: boolean mask
        that broadcasts to (rows, heads, frames, frames)."""

    def step(
        self, x: Tensor, shifts: Sequence[Tensor], states: Sequence[EstimatorState]
    ) -> tuple[Tensor, list[EstimatorState]]:
        """The next chunk of some streams, or several, given what their states hold of the past; x
        is the rows of the first stream, then those of the second.."""

    def run(self, x: Tensor, shifts: Sequence[Tensor], run: Pass) -> Tensor:
        """The network itself; `run` brings what it knows of the past and takes what is new."""

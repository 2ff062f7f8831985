"""What the solvers ask of a velocity estimator: the network of a flow's ODE."""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from tritone.acoustic.passes import EstimatorState, Pass


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
    def device(self) -> torch.device: ...

    @property
    def dtype(self) -> torch.dtype: ...

    def time_shifts(self, t: Tensor) -> list[Tensor]:
        """What each block adds at ODE time t (rows,): one (rows, 1, channels) a block."""
        ...

    def __call__(
        self,
        x: Tensor,
        shifts: Sequence[Tensor],
        padding: Tensor | None = None,
        visible: Tensor | None = None,
    ) -> Tensor:
        """One pass over everything: x -> velocity (rows, frames, mel_bins).

        padding: (rows, frames, 1), 1 where a frame is real; visible: boolean attention mask that
        broadcasts to (rows, heads, frames, frames).
        """
        ...

    def start(self, rows: int, left_chunks: int, dtype: torch.dtype) -> EstimatorState:
        """An empty state; `left_chunks` and `dtype` as in KeyValueStore."""
        ...

    def step(
        self, x: Tensor, shifts: Sequence[Tensor], states: Sequence[EstimatorState]
    ) -> tuple[Tensor, list[EstimatorState]]:
        """The next chunk of some streams, or several, given what their states hold of the past.

        x: the rows of the first stream, then those of the second..
        """
        ...

    def run(self, x: Tensor, shifts: Sequence[Tensor], run: Pass) -> Tensor:
        """The network itself; `run` brings what it knows of the past and takes what is new."""
        ...

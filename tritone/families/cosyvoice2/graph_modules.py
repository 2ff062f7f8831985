"""The flow's networks as functions of tensors, for export.

What a stream carries goes in and comes out as tensors. A pass returns only what it adds to a cache:
the caller owns the memory and writes it there. Time shifts and position encodings stay
outside: they depend on few values, need float32 and are no work for an engine.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from tritone.acoustic.cache import KeyValueStore, Span
from tritone.acoustic.estimator import EstimatorState, StreamsPass
from tritone.families.cosyvoice2.encoder import EncoderState
from tritone.families.cosyvoice2.estimator import Estimator
from tritone.families.cosyvoice2.flow import FlowNetwork


class CacheTensor(KeyValueStore):
    """Stands in for a store whose frames are one tensor: reads it, and collects what is new.

    past: (layers, 2, rows, heads, frames, head_dim), index 0 of the second axis holding keys and 1
    values. At least one frame; those that hold nothing are finite and masked.
    """

    def __init__(self, past: Tensor) -> None:
        self._past = past
        self._new: list[Tensor] = []

    @property
    def length(self) -> int:
        return self._past.shape[4]

    def write(self, layer: int, key: Tensor, value: Tensor, *, in_order: bool = True) -> list[Span]:
        self._new.append(torch.stack([key, value]))
        past_key, past_value = self._past[layer].unbind()
        return [Span(torch.cat([past_key, key], dim=2), torch.cat([past_value, value], dim=2))]

    def advance(self, frames: int) -> None:
        """Nothing to count: the caller appends the new frames to its own memory."""

    def new(self) -> Tensor:
        """The frames that this pass added, laid out as `past`."""
        return torch.stack(self._new)


class EncoderStep(nn.Module):
    """Codes of one chunk to the estimator's mel condition.

    With one masked frame of cache and all codes in one call it is the pass over everything, by the
    masks with full attention or with the chunk mask.
    """

    def __init__(self, network: FlowNetwork) -> None:
        super().__init__()
        self.embedding = network.token_embedding
        self.encoder = network.encoder
        self.projection = network.mel_projection

    def forward(
        self,
        tokens: Tensor,
        context: Tensor,
        context_given: Tensor,
        lookahead_tail: Tensor,
        upsample_tail: Tensor,
        token_cache: Tensor,
        frame_cache: Tensor,
        token_visible: Tensor,
        frame_visible: Tensor,
        token_positions: Tensor,
        frame_positions: Tensor,
    ) -> tuple[Tensor, ...]:
        """tokens (rows, n) codes; context (rows, look-ahead) the codes after them, of which
        context_given, likewise, is 1 where there is one and 0 past the end; tails as in
        `EncoderState`; caches as in `CacheTensor`; visible (rows, n or 2n, cached + new) boolean;
        positions as in `RelativeAttention`.

        Returns mu (rows, 2n, mel), both tails, and what is new of both caches.
        """
        caches = CacheTensor(token_cache), CacheTensor(frame_cache)
        state = EncoderState(lookahead_tail, upsample_tail, *caches)
        ahead = self.encoder.input(self.embedding(context)) * context_given[..., None]
        x, state = self.encoder.step_embedded(
            self.encoder.input(self.embedding(tokens)),
            ahead,
            state,
            masks=(token_visible[:, None], frame_visible[:, None]),
            positions=(token_positions, frame_positions),
        )
        new = [cache.new() for cache in caches]
        return self.projection(x), state.lookahead_tail, state.upsample_tail, *new


class EstimatorPass(nn.Module):
    """The velocity of whole utterances at one ODE time."""

    def __init__(self, estimator: Estimator) -> None:
        super().__init__()
        self.estimator = estimator

    def forward(
        self, x: Tensor, shifts: Tensor, given: Tensor | None = None, visible: Tensor | None = None
    ) -> Tensor:
        """x (rows, n, 4 * mel), shifts (stages, channels) -> velocity (rows, n, mel).

        For utterances of several lengths, or with the chunk mask: given (rows, n) is 1 where a
        frame is real, 0 where it pads; visible (rows, n, n) boolean: what each frame may see, at
        least one frame in every row.
        """
        padding = None if given is None else given[..., None]
        seen = None if visible is None else visible[:, None]
        return self.estimator(x, shifts_of(shifts), padding, seen)  # type: ignore[no-any-return]


class EstimatorStep(EstimatorPass):
    """The velocity of one chunk at one ODE time, given what the stream carries of that time."""

    def forward(  # type: ignore[override]
        self, x: Tensor, shifts: Tensor, tails: Tensor, cache: Tensor, visible: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """x (rows, n, 4 * mel) as `Estimator` takes it; shifts (stages, channels) of the ODE time;
        tails (rows, 2, channels): the convolutions' tails side by side on the last axis, in
        the order of `EstimatorState`; cache as in `CacheTensor`; visible (rows, cached + n).

        Returns the velocity (rows, n, mel), the new tails, and what is new of the cache.
        """
        run = partial(self.estimator.run, x, shifts_of(shifts))
        return run_chunk(run, self.estimator.tail_channels, tails, cache, visible)


def run_chunk(
    run: Callable[[StreamsPass], Tensor],
    tail_channels: list[int],
    tails: Tensor,
    cache: Tensor,
    visible: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """An estimator's `run` over one chunk; what it takes and returns stands in `EstimatorStep`."""
    past = CacheTensor(cache)
    before = EstimatorState(torch.split(tails, tail_channels, dim=2), past)
    chunk = StreamsPass([before], visible[:, None, None])
    velocity = run(chunk)
    (after,) = chunk.advanced(velocity.shape[1])
    return velocity, torch.cat(after.tails, dim=2), past.new()


def shifts_of(shifts: Tensor) -> list[Tensor]:
    """(stages, channels) as an estimator takes them."""
    return [shift[None, None] for shift in shifts.unbind()]

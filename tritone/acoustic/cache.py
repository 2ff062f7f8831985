"""Keys and values of past frames, kept in preallocated buffers and written in place."""

from collections.abc import Iterator
from copy import copy
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Span:
    """Neighbouring keys and values, (rows, heads, n, head_dim); the first is at `start`."""

    key: Tensor
    value: Tensor
    start: int = 0


class KeyValueStore:
    """Keys and values of every attention layer of one stack for one stream.

    A shared read-only prefix (the voice's prompt) may stand before the stream's own frames. Own
    frames come in chunks of `chunk` frames; only the last chunk of a stream may be shorter.

        prefix          own, unbounded            own, left_chunks = 2 (ring of 3 chunk slots)
        [0 .. p)        [p .. length)             | chunk 3 | chunk 4 | chunk 2 |
                        grows by doubling         chunk 5 will overwrite chunk 2

    With `left_chunks` = 0 every past frame stays visible; otherwise a chunk sees the prefix, the
    last `left_chunks` chunks and itself. The bound holds for forks alone: the store that becomes
    their prefix keeps every frame. Layout of a buffer: (layers, 2, rows, heads, frames, head_dim),
    index 0 of the second axis holding keys and 1 values.
    """

    def __init__(
        self,
        layers: int,
        rows: int,
        heads: int,
        head_dim: int,
        *,
        chunk: int,
        left_chunks: int = 0,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        self.chunk, self.left_chunks = chunk, left_chunks
        self._prefix: Tensor | None = None
        self._slots = 0  # chunks in the ring; 0 for a buffer that grows
        self._own = torch.empty(layers, 2, rows, heads, 0, head_dim, dtype=dtype, device=device)
        self._written = 0  # own frames, those overwritten in the ring included

    def _allocate(self, frames: int) -> Tensor:
        return self._own.new_empty((*self._own.shape[:4], frames, self._own.shape[5]))

    @property
    def prefix_length(self) -> int:
        return 0 if self._prefix is None else self._prefix.shape[4]

    @property
    def length(self) -> int:
        """Frames seen so far, prefix included: the position of the next frame."""
        return self.prefix_length + self._written

    @property
    def nbytes(self) -> int:
        """Memory of this stream alone; the shared prefix is not counted."""
        return self._own.nbytes

    def fork(self) -> "KeyValueStore":
        """A store that continues from here and shares, without copying, what is here so far."""
        assert self._prefix is None, "only a voice's own state is forked"
        child = copy(self)
        child._slots = self.left_chunks + 1 if self.left_chunks else 0
        if self._written:
            child._prefix = self._own[:, :, :, :, : self._written]
        child._own, child._written = self._allocate(0), 0
        return child

    def write(self, layer: int, key: Tensor, value: Tensor, *, in_order: bool = True) -> list[Span]:
        """Write one chunk of one layer, (rows, heads, n, head_dim); return all that it may see.

        Without `in_order` a full ring is one span, whose `start` says nothing.
        """
        own = self._write(layer, key, value, self._written, in_order)
        return [*self._prefix_span(layer), *own]

    def write_chunks(
        self, layer: int, key: Tensor, value: Tensor
    ) -> tuple[list[Span], Iterator[list[Span]]]:
        """Write neighbouring chunks of one layer, each when it is its turn.

        Returns what all of them may see, and for one after the other what else it may. Those spans
        hold until the next are asked for; their `start` says nothing.
        """
        self._reserve(self._written, key.shape[2])
        common, past = self._prefix_span(layer), 0 if self._slots else self._written
        if past:
            common.append(self._span(self._own, layer, 0, past, 0))

        def each() -> Iterator[list[Span]]:
            for after in range(0, key.shape[2], self.chunk):
                piece = slice(after, after + self.chunk)
                new, written = (key[:, :, piece], value[:, :, piece]), self._written + after
                own = self._write(layer, *new, written, in_order=False)
                yield [Span(span.key[:, :, past:], span.value[:, :, past:]) for span in own]

        return common, each()

    def _write(
        self, layer: int, key: Tensor, value: Tensor, written: int, in_order: bool
    ) -> list[Span]:
        """Write one chunk after `written` own frames; return the own frames that it may see."""
        frames = key.shape[2]
        assert not self._slots or frames <= self.chunk, f"{frames} frames in a slot of {self.chunk}"
        offset = self._reserve(written, frames)
        self._own[layer, 0, :, :, offset : offset + frames] = key
        self._own[layer, 1, :, :, offset : offset + frames] = value
        next_slot = offset + self.chunk
        full = written + self.chunk >= self._slots * self.chunk > 0
        if not in_order and full and frames == self.chunk:
            return [self._span(self._own, layer, 0, None, 0)]
        newest = self.prefix_length + written - offset  # of buffer frame 0 in the ring's last lap
        spans = [self._span(self._own, layer, 0, offset + frames, newest)]
        if newest > self.prefix_length and next_slot < self._own.shape[4]:
            oldest = newest - self._own.shape[4] + next_slot
            spans.append(self._span(self._own, layer, next_slot, None, oldest))
        return spans

    def advance(self, frames: int) -> None:
        """Count a chunk as written, once every layer has written it."""
        self._written += frames

    def _span(self, buffer: Tensor, layer: int, begin: int, end: int | None, start: int) -> Span:
        return Span(buffer[layer, 0, :, :, begin:end], buffer[layer, 1, :, :, begin:end], start)

    def _prefix_span(self, layer: int) -> list[Span]:
        return [] if self._prefix is None else [self._span(self._prefix, layer, 0, None, 0)]

    def _reserve(self, written: int, frames: int) -> int:
        """Make room for `frames` after `written` ones; return where in the own buffer they go."""
        if self._slots:
            if not self._own.shape[4]:
                self._own = self._allocate(self._slots * self.chunk)
            return (written // self.chunk) % self._slots * self.chunk
        capacity = self._own.shape[4]
        if written + frames > capacity:
            grown = self._allocate(max(2 * capacity, written + frames, 2 * self.chunk))
            grown[:, :, :, :, :written] = self._own[:, :, :, :, :written]
            self._own = grown
        return written

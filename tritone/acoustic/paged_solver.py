"""The flow's ODE for several streams at once, on a GPU under CUDA graphs.

Equal to `EulerSolver` up to rounding. Chunks have one shape: a short last chunk is filled up, which
causal layers and the attention mask hide. One graph advances one Euler step, whose number is an
input, so there is one for each number of streams and each length of the past, both rounded up.

Caches lie in buffers of fixed size and address, so that graphs find them. A page holds the keys and
values of one chunk of one stream for every layer and ODE step; a stream is a list of pages, and
streams of one voice share the pages of its prompt.

    pool    | empty | scratch | p2 | p3 | p4 | p5 | p6 | ...
    voice                       p2   p3
    stream A: p2 p3 p5 p6      stream B: p2 p3 p4
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from tritone.acoustic.attention import attend
from tritone.acoustic.cache import Span
from tritone.acoustic.estimator import Pass, VelocityEstimator
from tritone.acoustic.linear import Causal
from tritone.acoustic.solver import GUIDED_ROWS, ChunkInput, EulerSolver, StreamState, guide
from tritone.compute import GraphCache
from tritone.errors import Overloaded

EMPTY = 0  # never written: stands where a shorter stream has no page
SCRATCH = 1  # never read by a stream: rows that stand for none write here
SHORTEST_REACH = 4  # pages; the smallest bucket of a stream's past
PLANNED = 4  # numbers of a stream beside its pages


class Page:
    """One place of a pool; free again when the last reference to it is dropped, in any thread."""

    __slots__ = ("_free", "index")

    def __init__(self, index: int, free: deque[int]) -> None:
        self.index, self._free = index, free

    def __del__(self) -> None:
        self._free.append(self.index)


class PagePool:
    """The free places of a buffer of `capacity` places, EMPTY and SCRATCH among them."""

    def __init__(self, places: int, what: str) -> None:
        self.capacity = SCRATCH + 1 + places
        self.free = deque(range(SCRATCH + 1, self.capacity))
        self._full = f"all {places} {what} are in use; retry later"

    def take(self) -> Page:
        """A free place; raises Overloaded when there is none."""
        try:
            index = self.free.popleft()
        except IndexError:
            raise Overloaded(self._full) from None
        return Page(index, self.free)


@dataclass(frozen=True)
class PagedState:
    """`StreamState` of the PagedSolver.

    pages: of what the next chunk may see, the first `prefix` of them the voice's. tail: where the
    convolutions' left context is. forked: a stream of its own, whose past `left_chunks` bounds.
    chunks: so far, those out of sight included.
    """

    solver: "PagedSolver"
    pages: tuple[Page, ...]
    prefix: int
    tail: Page
    forked: bool
    chunks: int = 0

    @property
    def nbytes(self) -> int:
        return (len(self.pages) - self.prefix) * self.solver.page_bytes

    def fork(self) -> "PagedState":
        assert not self.forked, "only a voice's own state is forked"
        tail = self.solver.new_tail(self.tail)
        return replace(self, prefix=len(self.pages), tail=tail, forked=True)


class PagedSolver:
    """`tritone.acoustic.solver.Solver` on pools of the estimator's device.

    pages: chunks of speech, prompts included, whose keys and values fit. streams: that may be
    open, prepared voices included. batch: streams that are solved together. The keys and values
    have the estimator's dtype; mel is kept in float32.
    """

    most_chunks = 1

    @torch.inference_mode()
    def __init__(self, euler: EulerSolver, *, pages: int, streams: int, batch: int) -> None:
        estimator, self._rate = euler.estimator, euler.rate
        self._estimator, self._left_chunks = estimator, euler.settings.left_chunks
        self._batch, self._frames = batch, estimator.chunk_frames
        self._steps, device = len(euler.times), estimator.device
        zeros = partial(torch.zeros, dtype=estimator.dtype, device=device)
        self._pages = PagePool(pages, "pages of the flow's cache")
        self._tails = PagePool(streams, "streams of the flow")
        # frames before heads, as fused attention reads them after one gather
        self._kv = zeros(
            *(estimator.attention_layers, 2, GUIDED_ROWS, self._pages.capacity * self._steps),
            *(self._frames, estimator.heads, estimator.head_dim),
        )
        self.page_bytes = page_bytes(estimator, self._steps)
        tail = (GUIDED_ROWS, estimator.tail_frames, sum(estimator.tail_channels))
        self._tail = zeros(self._tails.capacity, self._steps, *tail)
        self._x = torch.zeros(batch, self._frames, estimator.mel_bins, device=device)
        self._conditions = zeros(GUIDED_ROWS, batch, self._frames, estimator.condition_channels)
        self._step = torch.zeros(1, dtype=torch.long, device=device)
        self._plan = torch.zeros(batch, PLANNED + pages, dtype=torch.long, device=device)
        self._dt = torch.tensor([dt for _, dt in euler.times], device=device)
        self._shifts = torch.stack(
            [torch.stack([s[0, 0] for s in shifts]) for shifts in euler.time_shifts]
        )
        self._positions = torch.arange(pages * self._frames, device=device)
        self._graphs: GraphCache[None] = GraphCache(device)

    def start(self) -> PagedState:
        return PagedState(self, (), 0, self.new_tail(), False)

    def new_tail(self, source: Page | None = None) -> Page:
        """A place for a stream's tail, a copy of `source` or zeros."""
        tail = self._tails.take()
        self._tail[tail.index] = 0 if source is None else self._tail[source.index]
        return tail

    def extend(self, state: StreamState) -> PagedState:
        """The state with a page for the next chunk, and without those it may not see."""
        state = _paged(state)
        prompt, own = state.pages[: state.prefix], state.pages[state.prefix :]
        if state.forked and self._left_chunks:
            own = own[-self._left_chunks :]
        pages = (*prompt, *own, self._pages.take())
        return replace(state, pages=pages, chunks=state.chunks + 1)

    def solve(self, chunks: Sequence[ChunkInput]) -> list[tuple[Tensor, StreamState]]:
        solved: list[tuple[Tensor, StreamState]] = []
        for begin in range(0, len(chunks), self._batch):
            solved += self._solve_together(chunks[begin : begin + self._batch])
        return solved

    @torch.inference_mode()
    def record(self, reach: int) -> None:
        """Record the graphs of every number of streams for pasts of up to `reach` pages, on rows
        that stand for no stream: what is recorded runs, and a step that ran twice is another."""
        plan, self._x[:], self._conditions[:] = self._plan, 0, 0
        nothing = torch.tensor(self._plan_row(None, 0, plan.shape[1] - PLANNED), device=plan.device)
        for pages in {self._bucket(1, p)[1] for p in range(1, reach + 1)}:
            for rows in {self._bucket(n, 1)[0] for n in range(1, self._batch + 1)}:
                plan[:rows] = nothing
                self._graphs.record((rows, pages), partial(self._advance, rows, pages))

    def _solve_together(self, chunks: Sequence[ChunkInput]) -> list[tuple[Tensor, StreamState]]:
        states = [_paged(chunk.state) for chunk in chunks]
        rows, reach = self._bucket(len(chunks), max(len(state.pages) for state in states))
        lengths = [len(chunk.noise) for chunk in chunks]
        plan = [self._plan_row(s, n, reach) for s, n in zip(states, lengths, strict=True)]
        plan += [self._plan_row(None, 0, reach)] * (rows - len(chunks))
        self._plan[:rows, : PLANNED + reach] = torch.tensor(plan).to(self._plan.device)
        for row, (chunk, length) in enumerate(zip(chunks, lengths, strict=True)):
            self._x[row, :length], self._x[row, length:] = chunk.noise, 0
            self._conditions[0, row, :length] = chunk.conditions
            self._conditions[0, row, length:] = 0
        for step in range(self._steps):
            self._step.fill_(step)
            self._graphs((rows, reach), partial(self._advance, rows, reach))
        mels = [self._x[row, :length].clone() for row, length in enumerate(lengths)]
        return list(zip(mels, states, strict=True))

    def _plan_row(self, state: PagedState | None, frames: int, reach: int) -> list[int]:
        """Tail, newest page, frames that may be seen, position of the first new frame, and the
        pages, filled up to `reach`."""
        if state is None:
            return [SCRATCH, SCRATCH, 1, 0] + [EMPTY] * reach
        indices = [page.index for page in state.pages]
        seen = (len(indices) - 1) * self._frames + frames
        planned = [state.tail.index, indices[-1], seen, (state.chunks - 1) * self._frames]
        return planned + indices + [EMPTY] * (reach - len(indices))

    def _bucket(self, count: int, pages: int) -> tuple[int, int]:
        """Streams and pages, each rounded up to what has a graph."""
        rows = min(self._batch, 1 << (count - 1).bit_length())
        reach = max(SHORTEST_REACH, 1 << (pages - 1).bit_length())
        return rows, min(reach, self._plan.shape[1] - PLANNED)

    def _advance(self, rows: int, reach: int) -> None:
        """One Euler step of the static buffers' first rows."""
        plan, step = self._plan[:rows], self._step
        tails, newest, seen, first = plan[:, :PLANNED].unbind(1)
        table = plan[:, PLANNED : PLANNED + reach].flatten() * self._steps + step
        visible = (self._positions[: reach * self._frames] < seen[:, None])[:, None, None]
        x = self._x[:rows]
        given = torch.cat(
            [x.to(self._conditions).expand(GUIDED_ROWS, -1, -1, -1), self._conditions[:, :rows]],
            dim=3,
        )
        packed = self._tail[tails, step].transpose(0, 1).flatten(0, 1)
        before = torch.split(packed, self._estimator.tail_channels, dim=2)
        seen_by_all = visible.repeat(GUIDED_ROWS, 1, 1, 1)
        positions = (first[:, None] + self._positions[: self._frames]).repeat(GUIDED_ROWS, 1)
        places = (table, newest * self._steps + step)
        run = PagedPass(self._kv, *places, before, seen_by_all, positions)
        shifts = list(self._shifts[step].transpose(0, 1)[:, :, None])
        velocity = _guided(self._estimator.run(given.flatten(0, 1), shifts, run))
        x += self._dt[step] * guide(velocity, self._rate)[0]
        self._tail[tails, step] = _guided(torch.cat(run.tails, dim=2)).transpose(0, 1)


def _paged(state: StreamState) -> PagedState:
    assert isinstance(state, PagedState)
    return state


class PagedPass(Pass):
    """One pass of the estimator over streams whose past is in pages.

    kv: the pool. table (rows * reach,): places to read, the newest chunk's among them. newest
    (rows,): places to write. before: the tail (GUIDED_ROWS * rows, taps, channels) of every
    convolution; `tails` are those after. visible: attention mask over the pages' frames. positions
    (GUIDED_ROWS * rows, frames): of the new frames.
    """

    def __init__(
        self,
        kv: Tensor,
        table: Tensor,
        newest: Tensor,
        before: Sequence[Tensor],
        visible: Tensor,
        positions: Tensor,
    ) -> None:
        super().__init__(None, visible)
        self._layers, self._table, self._newest = iter(kv), table, newest
        self._positions = positions
        self._before, self.tails = iter(before), list[Tensor]()

    def convolve(self, conv: Causal, x: Tensor) -> Tensor:
        y, tail = conv.step(x, next(self._before))
        self.tails.append(tail)
        return y

    def positions(self, x: Tensor) -> Tensor:
        return self._positions

    def attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Write (GUIDED_ROWS * rows, heads, frames, head_dim), read all that may be seen."""
        span = []
        for place, new in zip(next(self._layers), (key, value), strict=True):
            place.index_copy_(1, self._newest, _guided(new.transpose(1, 2)))
            pages = place.index_select(1, self._table)
            span.append(pages.view(len(new), -1, *pages.shape[3:]).transpose(1, 2))
        return attend(query, [Span(*span)], [self.visible])


def _guided(x: Tensor) -> Tensor:
    """(GUIDED_ROWS * rows, ...) -> (GUIDED_ROWS, rows, ...)."""
    return x.reshape(GUIDED_ROWS, -1, *x.shape[1:])


def page_bytes(estimator: VelocityEstimator, steps: int) -> int:
    """Memory of one chunk of one stream: keys and values of all layers and ODE steps."""
    width = estimator.heads * estimator.head_dim
    values = steps * estimator.attention_layers * 2 * GUIDED_ROWS * estimator.chunk_frames * width
    return values * estimator.dtype.itemsize

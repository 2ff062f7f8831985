"""The flow's ODE for several streams at once, on a GPU under CUDA graphs.

Equal to `EulerSolver` up to rounding. Chunks have one shape: a short last chunk is filled up, which
causal layers and the attention mask hide. One graph is all ODE steps of a chunk, so there is one
for each number of streams and each length of the past, both rounded up.

Caches lie in buffers of fixed size and address, so that graphs find them. A page holds the keys and
values of one chunk of one stream for every layer and ODE step; a stream is a list of pages, and
streams of one voice share the pages of its prompt. A stream whose past is bounded has all the pages
that it will ever need from the start, and uses them again and again.

    pool    | empty | scratch | p2 | p3 | p4 | p5 | p6 | ...
    voice                       p2   p3
    stream A: p2 p3 p5 p6      stream B: p2 p3 p4
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from weakref import WeakSet

import torch
from torch import Tensor

from tritone.acoustic.estimator import VelocityEstimator
from tritone.acoustic.fused.run import FusedPass
from tritone.acoustic.ode import Trajectory
from tritone.acoustic.paged_pass import KEY_VALUE, PagedPass, Places
from tritone.acoustic.pages import EMPTY, SCRATCH, Page, PagePool
from tritone.acoustic.solver import (
    GUIDED_ROWS,
    ChunkInput,
    EulerSolver,
    StreamState,
    guide,
    rows_of,
)
from tritone.compute import GraphCache

SHORTEST_REACH = 4  # pages; the smallest bucket of a stream's past
PLANNED = 5  # numbers of a row beside its pages


class _Mark:
    """Lives as long as a stream does, whose states come and go."""


@dataclass(frozen=True)
class PagedState:
    """`StreamState` of the PagedSolver.

    pages: of what the next chunk may see, the first `prefix` of them the voice's. tail: where the
    convolutions' left context is. forked: a stream of its own, whose past `left_chunks` bounds.
    spare: pages for its next chunks. chunks: so far, those out of sight included. forks: of a
    voice's own state, the streams that live; each of these has its `mark`.
    """

    solver: "PagedSolver"
    pages: tuple[Page, ...]
    prefix: int
    tail: Page
    forked: bool
    spare: tuple[Page, ...] = ()
    chunks: int = 0
    forks: "WeakSet[_Mark]" = field(default_factory=WeakSet, compare=False)
    mark: "_Mark | None" = field(default=None, compare=False)

    @property
    def in_use(self) -> bool:
        return bool(self.forks)

    @property
    def nbytes(self) -> int:
        return (len(self.pages) - self.prefix + len(self.spare)) * self.solver.page_bytes

    def fork(self) -> "PagedState":
        """Raises Overloaded when the pool has not all that the stream may need."""
        assert not self.forked, "only a voice's own state is forked"
        tail, spare = self.solver.new_tail(self.tail), self.solver.reserve()
        mark = _Mark()
        self.forks.add(mark)
        forked = replace(self, prefix=len(self.pages), tail=tail, forked=True, spare=spare)
        return replace(forked, forks=WeakSet(), mark=mark)


class PagedSolver:
    """`tritone.acoustic.solver.Solver` on pools of the estimator's device.

    pages: chunks of speech, prompts included, whose keys and values fit. streams: that may be
    open, prepared voices included. batch: streams that are solved together. fused: by the operators
    of `tritone.acoustic.fused`. The keys and values have the estimator's dtype; mel is kept in
    float32.
    """

    @torch.inference_mode()
    def __init__(
        self, euler: EulerSolver, *, pages: int, streams: int, batch: int, fused: bool = False
    ) -> None:
        estimator, self._pass = euler.estimator, FusedPass if fused else PagedPass
        self._estimator, self._left_chunks = estimator, euler.settings.left_chunks
        self._batch, self._frames, self._most_pages = batch, estimator.chunk_frames, pages
        self._steps, device = euler.steps, estimator.device
        self._device, zeros = device, partial(torch.zeros, dtype=estimator.dtype, device=device)
        self._pages = PagePool(pages, "pages of the flow's cache")
        self._tails = PagePool(streams, "streams of the flow")
        # frames before heads, as fused attention reads them after one gather
        self._kv = zeros(
            *(len(self._steps), estimator.attention_layers),
            KEY_VALUE * GUIDED_ROWS * self._pages.capacity,
            *(self._frames, estimator.heads, estimator.head_dim),
        )
        self.page_bytes = page_bytes(estimator, len(self._steps))
        tail = (estimator.tail_frames, sum(estimator.tail_channels))
        self._tail = zeros(len(self._steps), GUIDED_ROWS * self._tails.capacity, *tail)
        self._x = torch.zeros(batch, self._frames, estimator.mel_bins, device=device)
        self._conditions = zeros(GUIDED_ROWS, batch, self._frames, estimator.condition_channels)
        self._plan = torch.zeros(batch, PLANNED + pages, dtype=torch.long, device=device)
        self._shifts = euler.time_shifts
        self._positions = torch.arange(pages * self._frames, device=device)
        by_row, by_page = (
            torch.arange(count, device=device)[:, None] * capacity
            for count, capacity in (
                (GUIDED_ROWS, self._tails.capacity),
                (KEY_VALUE * GUIDED_ROWS, self._pages.capacity),
            )
        )
        self._tail_offsets = by_row
        self._page_offsets = by_page.view(KEY_VALUE, GUIDED_ROWS)
        self._graphs: GraphCache[None] = GraphCache(device)

    def start(self) -> PagedState:
        return PagedState(self, (), 0, self.new_tail(), False)

    def new_tail(self, source: Page | None = None) -> Page:
        """A place for a stream's tail, a copy of `source` or zeros."""
        tail = self._tails.take()
        for row in range(0, self._tail.shape[1], self._tails.capacity):
            kept = 0 if source is None else self._tail[:, row + source.index]
            self._tail[:, row + tail.index] = kept
        return tail

    def reserve(self) -> tuple[Page, ...]:
        """Pages for all that a stream of its own has in view beside the prompt, if that is bounded;
        raises Overloaded."""
        return self._pages.reserve(self._left_chunks + 1) if self._left_chunks else ()

    def chunks_at_once(self, state: StreamState) -> int:
        """Of a prompt, as many as there are rows: a new voice costs the others about one step."""
        return 1 if _paged(state).forked else self._batch

    def extend(self, state: StreamState) -> PagedState:
        """The state with a page for the next chunk, and without those it may not see."""
        state = _paged(state)
        pages, spare = state.pages, state.spare
        if spare or (state.forked and self._left_chunks):
            prompt, own = pages[: state.prefix], pages[state.prefix :]
            out_of_view = max(0, len(own) - self._left_chunks)
            page, *others = (*spare, *own[:out_of_view])
            pages, spare = (*prompt, *own[out_of_view:], page), tuple(others)
        else:
            pages = (*pages, self._pages.take())
        return replace(state, pages=pages, spare=spare, chunks=state.chunks + 1)

    def solve(self, chunks: Sequence[ChunkInput]) -> list[tuple[Tensor, StreamState]]:
        if len(chunks) == 1 and len(chunks[0].noise) > self._frames:
            return [self._solve_chain(chunks[0])]
        solved: list[tuple[Tensor, StreamState]] = []
        for begin in range(0, len(chunks), self._batch):
            solved += self._solve_together(chunks[begin : begin + self._batch])
        return solved

    @torch.inference_mode()
    def record(self, reach: int) -> None:
        """Record the graphs of every number of streams, and of chunks of a prompt, for pasts of up
        to `reach` pages, on rows that stand for no stream: what is recorded runs, and a chunk that
        is solved twice is another."""
        self._x[:], self._conditions[:] = 0, 0
        self._write_plan([self._nothing(self._most_pages)] * self._batch)
        for pages in sorted({self._bucket(1, p)[1] for p in range(1, reach + 1)}):
            for rows in sorted({self._bucket(n, 1)[0] for n in range(1, self._batch + 1)}):
                for chained in (False, True)[: 1 + (1 < rows <= pages)]:
                    key = (rows, pages, chained)
                    self._graphs.record(key, partial(self._advance, *key))

    def _solve_together(self, chunks: Sequence[ChunkInput]) -> list[tuple[Tensor, StreamState]]:
        """The next chunk of each of some streams."""
        states, lengths = [_paged(c.state) for c in chunks], [len(c.noise) for c in chunks]
        plan = [self._planned(state, n) for state, n in zip(states, lengths, strict=True)]
        for row, (chunk, length) in enumerate(zip(chunks, lengths, strict=True)):
            self._x[row, :length], self._x[row, length:] = chunk.noise, 0
            self._conditions[0, row, :length] = chunk.conditions
            self._conditions[0, row, length:] = 0
        self._run(plan, chained=False)
        mels = [self._x[row, :length].clone() for row, length in enumerate(lengths)]
        return list(zip(mels, states, strict=True))

    def _solve_chain(self, chunk: ChunkInput) -> tuple[Tensor, StreamState]:
        """Several whole chunks of one stream, each a row: it sees what the rows before it write."""
        state, frames = _paged(chunk.state), self._frames
        count = len(chunk.noise) // frames
        assert len(chunk.noise) == count * frames, "only a stream of its own ends"
        self._x[:count].flatten(0, 1).copy_(chunk.noise)
        self._conditions[0, :count].flatten(0, 1).copy_(chunk.conditions)
        pages, plan = state.pages, []
        for later in reversed(range(count)):
            seen = pages[: len(pages) - later]
            row = replace(state, pages=seen, chunks=state.chunks - later)
            plan.append(self._planned(row, frames, chain=count))
        self._run(plan, chained=True)
        return self._x[:count].flatten(0, 1).clone(), state

    def _run(self, plan: list[list[int]], *, chained: bool) -> None:
        """Solve the static buffers' rows; each of the plan as `_planned` gives it."""
        rows, reach = self._bucket(len(plan), max(len(row) for row in plan) - PLANNED)
        nothing = [self._nothing(reach)] * (rows - len(plan))
        self._write_plan(
            [*(row + [EMPTY] * (PLANNED + reach - len(row)) for row in plan), *nothing]
        )
        key = (rows, reach, chained)
        self._graphs(key, partial(self._advance, *key))

    def _write_plan(self, rows: list[list[int]]) -> None:
        self._plan[: len(rows), : len(rows[0])] = torch.tensor(rows).to(self._plan.device)

    def _planned(self, state: PagedState, frames: int, *, chain: int = 1) -> list[int]:
        """Tail, newest page, frames that may be seen, position of the first new frame, chunks in
        the chain, and the pages."""
        indices = [page.index for page in state.pages]
        seen = (len(indices) - 1) * self._frames + frames
        first = (state.chunks - 1) * self._frames
        return [state.tail.index, indices[-1], seen, first, chain, *indices]

    def _nothing(self, reach: int) -> list[int]:
        """Of a row that stands for no stream."""
        return [SCRATCH, SCRATCH, 1, 0, 1] + [EMPTY] * reach

    def _bucket(self, count: int, pages: int) -> tuple[int, int]:
        """Streams and pages, each rounded up to what has a graph."""
        rows = min(self._batch, 1 << (count - 1).bit_length())
        reach = max(SHORTEST_REACH, 1 << (pages - 1).bit_length())
        return rows, min(reach, self._most_pages)

    def _advance(self, rows: int, reach: int, chained: bool) -> None:
        """All ODE steps of the static buffers' first rows."""
        counts = sorted(set(map(rows_of, self._steps)))
        all_places = {count: self._places(rows, reach, chained, count) for count in counts}
        path, channels = Trajectory(self._x[:rows]), self._estimator.tail_channels
        for step, shifts, pages, tail in zip(
            self._steps, self._shifts, self._kv, self._tail, strict=True
        ):
            count = rows_of(step)
            places = all_places[count]
            noisy = path.x.to(self._conditions.dtype).expand(count, -1, -1, -1)
            given = torch.cat([noisy, self._conditions[:count, :rows]], dim=3).flatten(0, 1)
            before = torch.split(tail.index_select(0, places.tails), channels, dim=2)
            run = self._pass(pages, places, before)
            velocity = self._estimator.run(given, shifts, run).view(count, rows, *path.x.shape[1:])
            path.go(step, guide(velocity, step.rate)[0])
            tail.index_copy_(0, places.tails, torch.cat(run.tails, dim=2))
        self._x[:rows] = path.x

    def _places(self, rows: int, reach: int, chained: bool, count: int) -> Places:
        """count: rows of each row's guidance."""
        tails, newest, seen, first, chain = self._plan[:rows, :PLANNED].unbind(1)
        table = self._plan[:rows, PLANNED : PLANNED + reach].flatten()
        positions = first[:, None] + self._positions[: self._frames]
        tail_frames = self._positions[: self._estimator.tail_frames]
        ends = self._positions[self._frames :][: self._estimator.tail_frames]
        page_offsets = self._page_offsets[:, :count].flatten()[:, None]
        return Places(
            rows,
            table=(page_offsets + table).flatten(),
            newest=(page_offsets + newest).view(KEY_VALUE, -1),
            seen=seen,
            frames=self._positions[: reach * self._frames],
            positions=positions.repeat(count, 1),
            tails=(self._tail_offsets[:count] + (tails[:1] if chained else tails)).flatten(),
            ends=chain[0] * self._frames + tail_frames if chained else ends,
        )


def _paged(state: StreamState) -> PagedState:
    assert isinstance(state, PagedState)
    return state


def page_bytes(estimator: VelocityEstimator, steps: int) -> int:
    """Memory of one chunk of one stream: keys and values of all layers and ODE steps."""
    width = estimator.heads * estimator.head_dim
    values = steps * estimator.attention_layers * 2 * GUIDED_ROWS * estimator.chunk_frames * width
    return values * estimator.dtype.itemsize

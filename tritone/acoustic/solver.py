"""The flow's ODE with classifier-free guidance, in one pass or chunk by chunk."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor
from typing_extensions import Self

from tritone.acoustic.estimator import EstimatorState, VelocityEstimator
from tritone.acoustic.ode import OdeStep, Trajectory, cosine_grid, ode_steps
from tritone.acoustic.solver_config import SolverConfig
from tritone.acoustic.unwanted import check_wanted

GUIDED_ROWS = 2  # row 0 with the conditions, row 1 without


class StreamState(Protocol):
    """A stream between two steps, or what a solver keeps of it. Written in place: use it once."""

    @property
    def nbytes(self) -> int:
        """Bytes of cached keys and values of this stream alone."""

    def fork(self) -> Self:
        """A new stream that starts here and shares what is computed so far."""


@dataclass(frozen=True)
class ChunkInput:
    """The next chunk of one stream, or several: start noise (n, mel), conditions (n, channels), and
    the state before them."""

    noise: Tensor
    conditions: Tensor
    state: StreamState


class Solver(Protocol):
    """Solves chunks of streams."""

    def start(self) -> StreamState:
        """The state of a new stream; raises Overloaded when there is no room."""

    def extend(self, state: StreamState) -> StreamState:
        """Make room for the next chunk, one of several; raises Overloaded when there is none."""

    def chunks_at_once(self, state: StreamState) -> int:
        """Of this stream, where it is alone."""

    def solve(self, chunks: Sequence[ChunkInput]) -> list[tuple[Tensor, StreamState]]:
        """Of each chunk, whose state was extended for it: mel (n, mel) in float32, and the next
        state."""


@dataclass(frozen=True)
class CachedSteps:
    """`StreamState` of the EulerSolver: the estimator's state of each ODE step."""

    steps: tuple[EstimatorState, ...]

    @property
    def nbytes(self) -> int:
        return sum(step.store.nbytes for step in self.steps)

    def fork(self) -> "CachedSteps":
        return CachedSteps(tuple(step.fork() for step in self.steps))


@dataclass(frozen=True)
class SolverSettings:
    """left_chunks: as in KeyValueStore. most_chunks: of one stream in one step. cache_dtype: of the
    keys and values."""

    left_chunks: int = 0
    most_chunks: int = 1
    cache_dtype: torch.dtype = torch.float32


class EulerSolver:
    """Streams whose chunks are as long go together, each with growing caches of its own."""

    def __init__(
        self,
        estimator: VelocityEstimator,
        config: SolverConfig,
        settings: SolverSettings | None = None,
    ) -> None:
        self.estimator = estimator
        self.settings = settings or SolverSettings()
        self.steps = ode_steps(config, cosine_grid(config.n_timesteps))
        self.most_chunks = self.settings.most_chunks

    def start(self) -> CachedSteps:
        kept = (self.settings.left_chunks, self.settings.cache_dtype)
        rows = map(rows_of, self.steps)
        states = (EstimatorState.empty(self.estimator, count, *kept) for count in rows)
        return CachedSteps(tuple(states))

    def extend(self, state: StreamState) -> StreamState:
        return state  # its caches grow as they are written

    def chunks_at_once(self, state: StreamState) -> int:
        return self.most_chunks

    def solve(self, chunks: Sequence[ChunkInput]) -> list[tuple[Tensor, StreamState]]:
        solved: dict[int, tuple[Tensor, StreamState]] = {}
        lengths = [len(chunk.noise) for chunk in chunks]
        for length in dict.fromkeys(lengths):
            together = [index for index, other in enumerate(lengths) if other == length]
            results = self._solve_together([chunks[index] for index in together])
            solved |= zip(together, results, strict=True)
        return [solved[index] for index in range(len(chunks))]

    def solve_whole(self, noise: Tensor, conditions: Tensor, visible: Tensor | None) -> Tensor:
        """One pass over everything: noise (n, mel), conditions (n, channels) -> mel (n, mel);
        visible: (n, n) boolean attention mask, None for full attention."""
        path = Trajectory(noise[None].float())
        for step, shifts in zip(self.steps, self.time_shifts, strict=True):
            check_wanted()
            inputs = _inputs(path.x, [conditions], rows_of(step))
            path.go(step, _guided(self.estimator(inputs, shifts, visible=visible), step))
        return path.x[0]

    @cached_property
    def time_shifts(self) -> list[list[Tensor]]:
        """The estimator's time shifts of every ODE step; they depend on the weights alone."""
        times = [torch.tensor([step.t], device=self.estimator.device) for step in self.steps]
        return [self.estimator.time_shifts(t) for t in times]

    def _solve_together(self, chunks: Sequence[ChunkInput]) -> list[tuple[Tensor, StreamState]]:
        """Chunks of one length."""
        conditions = [chunk.conditions for chunk in chunks]
        path = Trajectory(torch.stack([chunk.noise for chunk in chunks]).float())
        states = zip(*(_cached(chunk.state).steps for chunk in chunks), strict=True)
        after = []
        for step, shifts, before in zip(self.steps, self.time_shifts, states, strict=True):
            check_wanted()
            inputs = _inputs(path.x, conditions, rows_of(step))
            velocity, next_states = self.estimator.step(inputs, shifts, before)
            after.append(next_states)
            path.go(step, _guided(velocity, step))
        carried = [CachedSteps(steps) for steps in zip(*after, strict=True)]
        return list(zip(path.x, carried, strict=True))


def _cached(state: StreamState) -> CachedSteps:
    assert isinstance(state, CachedSteps)
    return state


def without_too(conditions: Tensor) -> Tensor:
    """(n, c) -> (GUIDED_ROWS, n, c): the conditions, and none."""
    return torch.stack([conditions, torch.zeros_like(conditions)])


def rows_of(step: OdeStep) -> int:
    """Of the estimator's input: one where the step is not guided."""
    return GUIDED_ROWS if step.rate else 1


def guide(velocity: Tensor, rate: float) -> Tensor:
    """Classifier-free guidance in float32: row 0 with the conditions, row 1, if the rate is not 0,
    without -> one row."""
    velocity = velocity.float()
    return torch.lerp(velocity[1:], velocity[:1], 1.0 + rate) if rate else velocity[:1]


def _guided(velocity: Tensor, step: OdeStep) -> Tensor:
    """(streams * rows, n, mel) -> (streams, n, mel) in float32."""
    by_row = velocity.view(-1, rows_of(step), *velocity.shape[1:]).transpose(0, 1)
    return guide(by_row, step.rate)[0]


def _inputs(x: Tensor, conditions: Sequence[Tensor], rows: int) -> Tensor:
    """The estimator's input, in the precision of the conditions.

    x (streams, n, mel) beside `rows` rows of each stream's conditions (n, channels).
    """
    given = torch.cat([without_too(c)[:rows] for c in conditions])
    return torch.cat([x.to(given).repeat_interleave(rows, 0), given], dim=2)

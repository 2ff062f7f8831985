"""The flow's ODE: Euler steps with classifier-free guidance, one pass or chunk by chunk."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor
from typing_extensions import Self

from tritone.acoustic.estimator import EstimatorState, VelocityEstimator
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


def ode_times(steps: int) -> list[tuple[float, float]]:
    """`euler_times` of the cosine schedule 1 - cos(pi/2 * k/steps)."""
    even = torch.linspace(0, 1, steps + 1, device="cpu")
    return euler_times(1 - torch.cos(even * 0.5 * math.pi))


def euler_times(grid: Tensor) -> list[tuple[float, float]]:
    """(t, dt) of each Euler step from point to point of a grid (steps + 1,).

    t is accumulated and dt is what is left to the next point, in float32, as models are trained.
    """
    t, times = grid[0], []
    for point in grid[1:]:
        dt = point - t
        times.append((float(t), float(dt)))
        t = t + dt
    return times


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
        self.times = ode_times(config.n_timesteps)
        self.rate = config.inference_cfg_rate
        self.most_chunks = self.settings.most_chunks
        count, guided = len(self.times), config.guided_steps
        # of the estimator's input in each step: one where it is not guided
        self._rows = [GUIDED_ROWS if guided is None or n < guided else 1 for n in range(count)]

    def start(self) -> CachedSteps:
        kept = (self.settings.left_chunks, self.settings.cache_dtype)
        states = (EstimatorState.empty(self.estimator, rows, *kept) for rows in self._rows)
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
        x = noise[None].float()
        for rows, (_, dt), shifts in zip(self._rows, self.times, self.time_shifts, strict=True):
            check_wanted()
            velocity = self.estimator(_inputs(x, [conditions], rows), shifts, visible=visible)
            x = x + dt * self._guided(velocity, rows)
        return x[0]

    @cached_property
    def time_shifts(self) -> list[list[Tensor]]:
        """The estimator's time shifts of every ODE step; they depend on the weights alone."""
        times = [torch.tensor([t], device=self.estimator.device) for t, _ in self.times]
        return [self.estimator.time_shifts(t) for t in times]

    def _solve_together(self, chunks: Sequence[ChunkInput]) -> list[tuple[Tensor, StreamState]]:
        """Chunks of one length."""
        conditions = [chunk.conditions for chunk in chunks]
        x = torch.stack([chunk.noise for chunk in chunks]).float()
        states = zip(*(_cached(chunk.state).steps for chunk in chunks), strict=True)
        steps = zip(self._rows, self.times, self.time_shifts, states, strict=True)
        after = []
        for rows, (_, dt), shifts, before in steps:
            check_wanted()
            inputs = _inputs(x, conditions, rows)
            velocity, next_states = self.estimator.step(inputs, shifts, before)
            after.append(next_states)
            x = x + dt * self._guided(velocity, rows)
        carried = [CachedSteps(steps) for steps in zip(*after, strict=True)]
        return list(zip(x, carried, strict=True))

    def _guided(self, velocity: Tensor, rows: int) -> Tensor:
        """(streams * rows, n, mel) -> (streams, n, mel) in float32."""
        if rows == 1:
            return velocity.float()
        by_row = velocity.view(-1, rows, *velocity.shape[1:]).transpose(0, 1)
        return guide(by_row, self.rate)[0]


def _cached(state: StreamState) -> CachedSteps:
    assert isinstance(state, CachedSteps)
    return state


def without_too(conditions: Tensor) -> Tensor:
    """(n, c) -> (GUIDED_ROWS, n, c): the conditions, and none."""
    return torch.stack([conditions, torch.zeros_like(conditions)])


def guide(velocity: Tensor, rate: float) -> Tensor:
    """Classifier-free guidance in float32: row 0 with the conditions, row 1 without -> one row."""
    velocity = velocity.float()
    return (1.0 + rate) * velocity[:1] - rate * velocity[1:]


def _inputs(x: Tensor, conditions: Sequence[Tensor], rows: int) -> Tensor:
    """The estimator's input, in the precision of the conditions.

    x (streams, n, mel) beside `rows` rows of each stream's conditions (n, channels).
    """
    given = torch.cat([without_too(c)[:rows] for c in conditions])
    return torch.cat([x.to(given).repeat_interleave(rows, 0), given], dim=2)

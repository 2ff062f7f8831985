"""The flow's solver on a plan of the incremental estimator."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from tritone.acoustic.solver import (
    GUIDED_ROWS,
    ChunkInput,
    EulerSolver,
    SolverState,
    guide,
    without_too,
)
from tritone.errors import Overloaded

Run = Callable[[dict[str, Tensor]], dict[str, Tensor]]


@dataclass(frozen=True)
class StepState:
    """What a stream carries of one ODE step.

    tails: (GUIDED_ROWS, tail_frames, sum of tail_channels), of all convolutions side by side.
    cache: (attention_layers, 2, GUIDED_ROWS, heads, room, head_dim) keys and values, of which the
    first `frames` are written; the others are finite.
    """

    tails: Tensor
    cache: Tensor
    frames: int


@dataclass(frozen=True)
class PlanState:
    """`SolverState` of the PlanSolver; caches are written in place."""

    steps: tuple[StepState, ...]

    @property
    def nbytes(self) -> int:
        return sum(step.cache.nbytes for step in self.steps)

    def fork(self) -> "PlanState":
        """A copy: a plan reads a stream's keys and values from one piece of memory."""
        return PlanState(tuple(replace(step, cache=step.cache.clone()) for step in self.steps))


class PlanSolver:
    """`Solver` whose estimator is a plan; one stream after the other, all of its past visible.

    run: the plan of one step of the estimator, named tensors in and out on `device`. In: x (rows,
    n, inputs), shifts (stages, channels) of the ODE time, tails and cache as in `StepState`, and
    visible (rows, room + n) boolean. Out: velocity (rows, n, mel), next_tails, and new_frames, what
    the cache is to hold of these n frames. euler: of the same flow, for its times and time shifts
    in float32. most_frames: that the plan takes as its cache.
    """

    most_chunks = 1

    def __init__(
        self,
        run: Run,
        euler: EulerSolver,
        *,
        device: torch.device,
        cache_dtype: torch.dtype,
        most_frames: int,
    ) -> None:
        estimator = euler.estimator
        self._run, self._euler, self._most_frames = run, euler, most_frames
        self._chunk = estimator.chunk_frames
        self._cache_shape = (
            *(estimator.attention_layers, 2, GUIDED_ROWS, estimator.heads),
            *(2 * self._chunk, estimator.head_dim),
        )
        tails = (GUIDED_ROWS, estimator.tail_frames, sum(estimator.tail_channels))
        self._tails = torch.zeros(tails, device=device)
        self._device, self._cache_dtype = device, cache_dtype
        self._shifts = [torch.cat(shifts)[:, 0].to(device) for shifts in euler.time_shifts()]

    def start(self) -> PlanState:
        """Caches with room for two chunks."""
        return PlanState(tuple(StepState(self._tails, self._cache(), 0) for _ in self._shifts))

    def _cache(self) -> Tensor:
        return torch.zeros(self._cache_shape, device=self._device, dtype=self._cache_dtype)

    def extend(self, state: SolverState) -> PlanState:
        """Double the caches where the next chunk does not fit.

        Raises Overloaded when they are as long as the plan takes.
        """
        assert isinstance(state, PlanState)
        first = state.steps[0]
        room = first.cache.shape[4]
        if first.frames + self._chunk <= room:
            return state
        if first.frames + self._chunk > self._most_frames:
            raise Overloaded(
                f"a stream of {first.frames} mel frames goes on; the estimator's plan takes "
                f"{self._most_frames}"
            )
        more = (0, 0, 0, min(2 * room, self._most_frames) - room)
        pad = torch.nn.functional.pad
        return PlanState(tuple(replace(s, cache=pad(s.cache, more)) for s in state.steps))

    def solve(self, chunks: Sequence[ChunkInput]) -> list[tuple[Tensor, SolverState]]:
        return [self._solve_one(chunk) for chunk in chunks]

    def _solve_one(self, chunk: ChunkInput) -> tuple[Tensor, SolverState]:
        assert isinstance(chunk.state, PlanState)
        given = without_too(chunk.conditions).float()
        x = chunk.noise[None].to(given)
        after = []
        for (_, dt), shifts, step in zip(
            self._euler.times, self._shifts, chunk.state.steps, strict=True
        ):
            rows = torch.cat([x.expand(GUIDED_ROWS, -1, -1), given], dim=2)
            velocity, step = self._step(rows, shifts, step)
            after.append(step)
            x = x + dt * guide(velocity, self._euler.rate)
        return x[0], PlanState(tuple(after))

    def _step(self, x: Tensor, shifts: Tensor, step: StepState) -> tuple[Tensor, StepState]:
        rows, new = x.shape[:2]
        room, end = step.cache.shape[4], step.frames + new
        visible = torch.ones(rows, room + new, dtype=torch.bool, device=x.device)
        visible[:, step.frames : room] = False
        outputs = self._run(
            {"x": x, "shifts": shifts, "tails": step.tails, "cache": step.cache, "visible": visible}
        )
        step.cache[..., step.frames : end, :] = outputs["new_frames"]
        return outputs["velocity"], StepState(outputs["next_tails"], step.cache, end)

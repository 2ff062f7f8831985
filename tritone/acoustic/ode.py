"""The steps of the flow's ODE, from noise at time 0 to mel at time 1, and the way along them.

Every solver asks for one velocity a step, at its beginning, and may remember what the step before
it saw. So nothing has to be kept from one chunk to the next but the estimator's own caches.

    euler   follows the velocity.
    ab2     Adams-Bashforth of second order: the velocity changes as it did in the step before.
    dpm2m   DPM-Solver++(2M), Lu et al. 2022 (arXiv:2211.01095), for this straight path: what the
            velocity points at, x + (1 - t) v, changes as it did in the step before, over the
            logarithm of t / (1 - t). The first two steps and the last are Euler's, as that is
            infinite at both ends.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tritone.acoustic.presets import Method
from tritone.acoustic.solver_config import SolverConfig


@dataclass(frozen=True)
class OdeStep:
    """t: at which the velocity is asked for. dt: for how long it is followed. rate: of its
    guidance, 0 without. ahead: how far away what it points at is, 0 for the velocity itself. bend:
    the weight of how that has changed since the step before."""

    t: float
    dt: float
    rate: float = 0.0
    ahead: float = 0.0
    bend: float = 0.0


class Trajectory:
    """Some chunk's way through the ODE, and where it is: x in float32, of any shape."""

    def __init__(self, start: Tensor) -> None:
        self.x = start
        self._seen: Tensor | None = None

    def go(self, step: OdeStep, velocity: Tensor) -> None:
        """Take the next step; velocity, of the shape of x, is the guided one in float32."""
        seen = self.x + step.ahead * velocity if step.ahead else velocity
        x = torch.add(self.x, velocity, alpha=step.dt)
        if step.bend:
            assert self._seen is not None, "the first step has none before it"
            x = torch.add(x, seen - self._seen, alpha=step.bend)
        self.x, self._seen = x, seen


def cosine_grid(steps: int) -> Tensor:
    """The schedule 1 - cos(pi/2 * k/steps), (steps + 1,)."""
    return 1 - torch.cos(even_grid(steps) * 0.5 * math.pi)


def even_grid(steps: int) -> Tensor:
    return torch.linspace(0, 1, steps + 1, device="cpu")


def ode_steps(config: SolverConfig, grid: Tensor) -> list[OdeStep]:
    """The steps from point to point of a grid (n_timesteps + 1,), which goes from 0 to 1."""
    times, rates = (
        _times(grid),
        [config.inference_cfg_rate * config.guides(step) for step in range(config.n_timesteps)],
    )
    steps = []
    for index, ((t, dt), rate) in enumerate(zip(times, rates, strict=True)):
        # across a change of guidance the two steps did not see the same
        alike = index > 0 and rates[index - 1] == rate
        bend = _bend(config.solver, times, index) if alike else 0.0
        ahead = 1.0 - t if config.solver == "dpm2m" else 0.0
        steps.append(OdeStep(t, dt, rate, ahead, bend))
    return steps


def _times(grid: Tensor) -> list[tuple[float, float]]:
    """(t, dt) of each step. t is accumulated and dt is what is left to the next point, in float32,
    as models are trained."""
    t, times = grid[0], []
    for point in grid[1:]:
        dt = point - t
        times.append((float(t), float(dt)))
        t = t + dt
    return times


def _bend(solver: Method, times: Sequence[tuple[float, float]], index: int) -> float:
    """Of a step that has one before it."""
    (before, dt_before), (t, dt) = times[index - 1 : index + 1]
    if solver == "ab2":
        return dt * dt / (2 * dt_before)
    if solver == "euler" or index == 1 or index == len(times) - 1:
        return 0.0
    times_on = _log_odds(t + dt) - _log_odds(t)
    return dt / (1 - t) * times_on / (2 * (_log_odds(t) - _log_odds(before)))


def _log_odds(t: float) -> float:
    return math.log(t / (1 - t))

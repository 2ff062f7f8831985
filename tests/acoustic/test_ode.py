"""The steps of the flow's ODE: on an equation whose solution is known."""

import math
from itertools import pairwise
from typing import Any

import pytest
import torch

from tritone.acoustic.ode import OdeStep, Trajectory, cosine_grid, even_grid, ode_steps
from tritone.acoustic.presets import Method
from tritone.acoustic.solver_config import SolverConfig

SOLUTION = math.exp(-math.sin(3.0))  # of x' = -3 cos(3t) x at 1, from 1


def steps_of(count: int, **solver: Any) -> list[OdeStep]:
    return ode_steps(SolverConfig(n_timesteps=count, **solver), cosine_grid(count))


def error(solver: Method, count: int) -> float:
    path = Trajectory(torch.ones(1, dtype=torch.float64))
    for step in steps_of(count, solver=solver):
        path.go(step, -3.0 * math.cos(3.0 * step.t) * path.x)
    return abs(float(path.x) - SOLUTION)


@pytest.mark.parametrize(("solver", "order"), [("euler", 1), ("ab2", 2), ("dpm2m", 2)])
def test_twice_the_steps_have_a_half_or_a_quarter_of_the_error(solver: Method, order: int) -> None:
    errors = [error(solver, count) for count in (40, 80, 160)]
    for more, fewer in pairwise(errors):
        assert math.log2(more / fewer) == pytest.approx(order, abs=0.25)


@pytest.mark.parametrize("solver", ["euler", "ab2", "dpm2m"])
def test_a_straight_way_is_solved_exactly(solver: Method) -> None:
    """Where all velocities are the same, and what they point at as well."""
    path, target = Trajectory(torch.zeros(2)), torch.tensor([1.0, -3.0])
    for step in steps_of(4, solver=solver):
        path.go(step, (target - path.x) / (1 - step.t))
    torch.testing.assert_close(path.x, target)


def test_a_step_remembers_nothing_across_a_change_of_guidance() -> None:
    """The velocity leaps there, which tells nothing of how it goes on."""
    steps = steps_of(6, solver="ab2", guided_from=2, guided_steps=3)
    assert [step.rate > 0 for step in steps] == [False, True, True, True, False, False]
    assert [step.bend > 0 for step in steps] == [False, False, True, True, False, True]


@pytest.mark.parametrize("grid", [cosine_grid(10), even_grid(10)])
def test_steps_lead_from_noise_to_mel(grid: torch.Tensor) -> None:
    steps = ode_steps(SolverConfig(solver="dpm2m"), grid)
    assert steps[0].t == 0 and steps[-1].t + steps[-1].dt == pytest.approx(1)
    assert [step.bend > 0 for step in steps] == [False] * 2 + [True] * 7 + [False]

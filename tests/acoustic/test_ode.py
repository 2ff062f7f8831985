"""The steps of the flow's ODE: on an equation whose solution is known."""

from itertools import pairwise
from typing import Any

import pytest
import torch

from tritone.acoustic.ode import OdeStep, Trajectory, cosine_grid, even_grid, ode_steps
from tritone.acoustic.presets import Method
from tritone.acoustic.solver_config import SolverConfig

MEAN, SPREAD = 2.0, 0.5  # of what the noise becomes; then the whole way is known


def steps_of(count: int, **solver: Any) -> list[OdeStep]:
    return ode_steps(SolverConfig(n_timesteps=count, **solver), cosine_grid(count))


def error(solver: Method, count: int) -> float:
    """At the end, which is one spread off the mean as the start is."""
    path = Trajectory(torch.ones(1, dtype=torch.float64))
    for step in steps_of(count, solver=solver):
        t, target = step.t, SPREAD**2
        variance = (1 - t) ** 2 + t * t * target
        path.go(step, MEAN + (t * target - (1 - t)) / variance * (path.x - t * MEAN))
    return abs(float(path.x) - MEAN - SPREAD)


@pytest.mark.parametrize(
    ("solver", "times"), [("euler", (1.9, 2.1)), ("ab2", (3.6, 4.8)), ("dpm2m", (3.0, 4.8))]
)
def test_twice_the_steps_have_a_half_or_a_quarter_of_the_error(
    solver: Method, times: tuple[float, float]
) -> None:
    """Nearly a quarter with dpm2m, whose steps at the ends are Euler's."""
    least, most = times
    for before, after in pairwise(error(solver, count) for count in (80, 160, 320)):
        assert least < before / after < most


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

"""What a word or a number makes of a checkpoint's solver."""

import pytest

from tritone.acoustic.presets import SolverChoice
from tritone.acoustic.solver_config import SolverConfig
from tritone.errors import EnvironmentProblem

UPSTREAM = SolverConfig()


def test_without_a_word_the_checkpoint_decides() -> None:
    own = SolverConfig(n_timesteps=6, guided_from=2, guided_steps=3)
    assert SolverChoice().of(own) == own


@pytest.mark.parametrize(
    ("preset", "own", "steps", "evaluations"),
    [
        ("fast", 10, 7, 13),
        ("faster", 10, 5, 9),
        ("fast", 25, 18, 35),
        ("fast", 5, 4, 7),
        ("faster", 1, 1, 2),
    ],
)
def test_a_preset_takes_a_share_of_the_steps(
    preset: str, own: int, steps: int, evaluations: int
) -> None:
    """And guides all of them but the first, if it is not the last as well."""
    found = SolverChoice(preset).of(SolverConfig(n_timesteps=own))
    assert (found.solver, found.n_timesteps) == ("dpm2m", steps)
    if own > 1:
        assert steps + sum(map(found.guides, range(steps))) == evaluations
    assert found.inference_cfg_rate == UPSTREAM.inference_cfg_rate


def test_what_is_said_wins_over_the_preset() -> None:
    choice = SolverChoice("fast", solver="ab2", ode_steps=8, guided_from=1, guided_steps=6)
    assert choice.of(UPSTREAM) == SolverConfig(
        solver="ab2", n_timesteps=8, guided_from=1, guided_steps=6
    )
    assert SolverChoice("fast", ode_steps=4).of(UPSTREAM).solver == "dpm2m"


def test_a_checkpoint_that_was_tuned_stays_as_it_is() -> None:
    own = SolverConfig(solver="dpm2m", n_timesteps=6)
    assert SolverChoice("faster").of(own) == own


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        (SolverChoice("quick"), "preset is 'quick'; it must be one of exact, fast, faster"),
        (SolverChoice(solver="heun"), "solver is 'heun'; it must be one of auto, euler, ab2"),
        (SolverChoice(ode_steps=-1), "ode_steps is -1; it must be 0 to 100"),
        (SolverChoice(ode_steps=101), "ode_steps is 101"),
        (SolverChoice(ode_steps=4, guided_from=5), "guided_from is 5; it must be 0 to 4"),
        (SolverChoice(ode_steps=4, guided_steps=5), "guided_steps is 5; it must be 0 to 4"),
        (SolverChoice("fast", guided_steps=7), "guided_steps is 7; it must be 0 to 6"),
    ],
)
def test_what_cannot_be_is_refused(choice: SolverChoice, message: str) -> None:
    with pytest.raises(EnvironmentProblem, match=message):
        choice.of(UPSTREAM)

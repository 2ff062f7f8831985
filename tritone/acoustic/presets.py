"""How a deployment has the flow's ODE solved: by one word, or number by number.

Importing this imports nothing that is not Python's own.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

from tritone.errors import EnvironmentProblem

if TYPE_CHECKING:
    from tritone.acoustic.solver_config import SolverConfig

Method = Literal["euler", "ab2", "dpm2m"]
"""What a step makes of the velocities so far; see `tritone.acoustic.ode`."""

Preset = Literal["exact", "fast", "faster"]
"""exact: as the checkpoint says. The others take fewer steps, each of which knows more."""

_KEPT = {"fast": 7, "faster": 5}  # of ten steps
_MOST_STEPS = 100


@dataclass(frozen=True)
class SolverChoice:
    """What is asked for. 0 and "auto" are what the preset has, which wins over the checkpoint.

    ode_steps: of the whole way. guided_from, guided_steps: as in SolverConfig.
    """

    preset: str = "exact"
    solver: str = "auto"
    ode_steps: int = 0
    guided_from: int = 0
    guided_steps: int = 0

    def of(self, config: "SolverConfig") -> "SolverConfig":
        """The checkpoint's solver as it is asked for; raises EnvironmentProblem for a name that is
        unknown or a count that cannot be."""
        _check_name("preset", self.preset, get_args(Preset))
        _check_name("solver", self.solver, ("auto", *get_args(Method)))
        preset = _preset(self.preset, config)
        steps = self._counted("ode_steps", _MOST_STEPS) or preset.n_timesteps
        first = self._counted("guided_from", steps) or min(preset.guided_from, steps)
        guided = self._counted("guided_steps", steps - first + 1)
        asked: dict[str, Any] = {"n_timesteps": steps, "guided_from": first}
        if guided:
            asked["guided_steps"] = guided
        if self.solver != "auto":
            asked["solver"] = self.solver
        return preset.model_copy(update=asked)

    def _counted(self, name: str, most: int) -> int:
        count: int = getattr(self, name)
        if not 0 <= count <= most:
            raise EnvironmentProblem(f"setting {name} is {count}; it must be 0 to {most}")
        return count


AS_IT_IS = SolverChoice()


def _preset(name: str, config: "SolverConfig") -> "SolverConfig":
    """A checkpoint that does not take plain steps, all guided, was tuned already, and stays."""
    plain = (config.solver, config.guided_from, config.guided_steps) == ("euler", 1, None)
    if name not in _KEPT or not plain:
        return config
    steps = -(-config.n_timesteps * _KEPT[name] // 10)
    # What guidance adds at the very start, where there is nothing but noise, soon is much less.
    first = min(2, steps)
    changed = {"solver": "dpm2m", "n_timesteps": steps, "guided_from": first, "guided_steps": None}
    return config.model_copy(update=changed)


def _check_name(setting: str, name: str, known: tuple[str, ...]) -> None:
    if name not in known:
        raise EnvironmentProblem(f"{setting} is {name!r}; it must be one of {', '.join(known)}")

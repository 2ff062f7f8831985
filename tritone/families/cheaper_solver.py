"""A cheaper ODE solver for families whose flow has one: `Family.with_steps`."""

from typing import TypeVar

from tritone.acoustic.solver_config import SolverConfig
from tritone.config import ModelConfig
from tritone.errors import EnvironmentProblem

ConfigT = TypeVar("ConfigT", bound=ModelConfig)


def with_cheaper_solver(config: ConfigT, ode_steps: int, guided_steps: int) -> ConfigT:
    """See `Family.with_steps`; of a configuration whose flow has a solver."""
    flow = config.flow  # type: ignore[attr-defined]
    solver: SolverConfig = flow.solver
    most = ode_steps or solver.n_timesteps
    for name, count, limit in (("ode_steps", ode_steps, 100), ("guided_steps", guided_steps, most)):
        if not 0 <= count <= limit:
            raise EnvironmentProblem(f"setting {name} is {count}; it must be 0 to {limit}")
    changed = {"n_timesteps": ode_steps, "guided_steps": guided_steps}
    solver = solver.model_copy(update={name: count for name, count in changed.items() if count})
    return config.model_copy(update={"flow": flow.model_copy(update={"solver": solver})})

"""Another ODE solver for families whose flow has one: `Family.with_solver`."""

from typing import TypeVar

from tritone.acoustic.presets import SolverChoice
from tritone.config import ModelConfig

ConfigT = TypeVar("ConfigT", bound=ModelConfig)


def with_solver(config: ConfigT, choice: SolverChoice) -> ConfigT:
    """See `Family.with_solver`; of a configuration whose flow has a solver."""
    flow = config.flow  # type: ignore[attr-defined]
    changed = flow.model_copy(update={"solver": choice.of(flow.solver)})
    return config.model_copy(update={"flow": changed})

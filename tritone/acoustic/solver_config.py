"""Numbers of the flow's ODE. Importing this imports no torch."""

from pydantic import Field

from tritone.acoustic.presets import Method
from tritone.config import Strict


class SolverConfig(Strict):
    """guided_from: the first ODE step that is guided, counted from 1. guided_steps: how many from
    there on are, None for all."""

    solver: Method = "euler"
    n_timesteps: int = Field(default=10, ge=1, le=1000)
    guided_from: int = Field(default=1, ge=1)
    guided_steps: int | None = Field(default=None, ge=0)
    inference_cfg_rate: float = 0.7
    start_noise_scale: float = 1.0

    def guides(self, step: int) -> bool:
        """Whether the step, counted from 0, is guided."""
        since = step + 1 - self.guided_from
        return since >= 0 and (self.guided_steps is None or since < self.guided_steps)

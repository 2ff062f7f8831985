"""Numbers of the flow's ODE. Importing this imports no torch."""

from pydantic import Field

from tritone.config import Strict


class SolverConfig(Strict):
    """guided_steps: how many of the first ODE steps are guided, None for all."""

    n_timesteps: int = Field(default=10, ge=1, le=1000)
    guided_steps: int | None = Field(default=None, ge=0)
    inference_cfg_rate: float = 0.7
    start_noise_scale: float = 1.0

"""The tiny golden flow of CosyVoice3; its codes and speakers are those of `token2wav_model`."""

from typing import Any

import paths
from parity.cosyvoice3_flow import load_network
from parity.golden import Golden

from tritone.acoustic.solver import SolverSettings
from tritone.acoustic.solver_config import SolverConfig
from tritone.families.cosyvoice2.flow import Flow
from tritone.families.cosyvoice3.flow import FlowNetwork

GOLDEN = paths.GOLDEN / "cosyvoice3"


def tiny_network() -> FlowNetwork:
    """With fewer ODE steps, which the streaming laws do not depend on."""
    return load_network(Golden(GOLDEN, "flow_full"), SolverConfig(n_timesteps=2))


def tiny_flow(**settings: Any) -> Flow:
    return Flow.of(tiny_network(), SolverSettings(**settings))

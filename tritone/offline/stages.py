"""All stages of a profile in this process, with a place for every utterance of a batch."""

from pathlib import Path

import torch

from tritone.device import torch_device
from tritone.errors import EnvironmentProblem
from tritone.families import family_of
from tritone.flow_settings import FlowSettings
from tritone.flow_stage import FlowStage
from tritone.frontend import Frontend
from tritone.limits import Limits
from tritone.llm.runtimes import RUNTIMES
from tritone.local import LocalStages
from tritone.vocoder_stage import VocoderStage

_RUNTIMES = {runtime.profile: runtime for runtime in RUNTIMES.values()}
PROFILES = tuple(_RUNTIMES)
"""As scripts/serve.py has them, except gpu-backend, which is a part of Triton."""


class OfflineStages(LocalStages):
    """The stages of a profile: the CPU with float32, or a GPU with bfloat16 in the flow.

    batch: generations that the language model advances together. precision: of its weights in the
    profile cpu, one of fp32, int8, int4, int4_b128.

    Raises ModelDirectoryError when something is missing or damaged, and EnvironmentProblem when the
    profile's device or packages are missing.
    """

    def __init__(
        self, model_dir: Path, *, profile: str, batch: int, precision: str, limits: Limits
    ) -> None:
        # LocalStages would open the runtime of the CPU; only what it does with stages is taken.
        on_cpu = profile == "cpu"
        settings = FlowSettings() if on_cpu else FlowSettings(device="cuda", dtype=torch.bfloat16)
        try:
            torch_device(settings.device)
        except EnvironmentProblem as error:
            raise EnvironmentProblem(f"profile {profile}: {error}") from error
        family, self.config = family_of(model_dir)
        self.frontend = Frontend(model_dir, self.config, limits)
        self.flow = FlowStage(
            family.load_flow(model_dir, self.config), family.start_noise(self.config), settings
        )
        self.vocoder = VocoderStage(family.load_vocoder(model_dir, self.config), settings.device)
        values = {"precision": precision} if on_cpu else {}
        self.llm = _RUNTIMES[profile].open(model_dir, self.config, slots=batch, **values)

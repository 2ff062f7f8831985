"""Families whose flow and vocoder are loaded by functions of these names in their `acoustics`."""

from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from tritone.families.contract import ConfigT, Family

if TYPE_CHECKING:
    from tritone.acoustic.flow_stage import FlowStage
    from tritone.acoustic.placement import FlowSettings, VocoderSettings
    from tritone.acoustic.vocoder_stage import VocoderStage


class WithAcoustics(Family[ConfigT]):
    """That module needs torch, and is imported when something is loaded."""

    def load_flow(self, model_dir: Path, config: ConfigT, settings: "FlowSettings") -> "FlowStage":
        stage: FlowStage = self._acoustics().load_flow(model_dir, config, settings)
        return stage

    def load_vocoder(
        self, model_dir: Path, config: ConfigT, settings: "VocoderSettings"
    ) -> "VocoderStage":
        stage: VocoderStage = self._acoustics().load_vocoder(model_dir, config, settings)
        return stage

    def _acoustics(self) -> ModuleType:
        return import_module(f"{type(self).__module__}.acoustics")

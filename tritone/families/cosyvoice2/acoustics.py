"""CosyVoice2's flow and vocoder from a model directory, where the settings want them."""

from pathlib import Path
from typing import TypeVar

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from tritone.acoustic.flow_stage import FlowStage
from tritone.acoustic.placement import (
    FilterPlan,
    FlowPlan,
    FlowSettings,
    VocoderSettings,
    place,
    place_filter,
)
from tritone.acoustic.vocoder_stage import VocoderStage
from tritone.acoustic.weights import load_strictly
from tritone.errors import ModelDirectoryError
from tritone.families.cosyvoice2.config import CosyVoice2Config
from tritone.families.cosyvoice2.flow import Flow
from tritone.families.cosyvoice2.hift import HiFT
from tritone.families.cosyvoice2.network import FlowNetwork
from tritone.families.cosyvoice2.streaming_flow import CosyVoice2Flow
from tritone.families.cosyvoice2.vocoder import Vocoder
from tritone.loading.steps import step

ModuleT = TypeVar("ModuleT", bound=nn.Module)

FLOW_FILE = "flow.safetensors"
VOCODER_FILE = "vocoder.safetensors"
NOISE_FRAMES = 15000  # 300 s at 50 Hz; drawing another length changes all channels but the first


def load_flow(
    model_dir: Path, config: CosyVoice2Config, settings: FlowSettings, plan: FlowPlan | None = None
) -> FlowStage:
    """Raises ModelDirectoryError for the file, and EnvironmentProblem for the settings."""
    network, noise = load_network(model_dir, config), start_noise(config)
    euler, solver, device = place(
        network, network.estimator, config.flow.solver, settings, plan=plan
    )
    return FlowStage(CosyVoice2Flow(Flow(network, euler, solver), noise.to(device)), settings)


def load_vocoder(
    model_dir: Path,
    config: CosyVoice2Config,
    settings: VocoderSettings,
    plan: FilterPlan | None = None,
) -> VocoderStage:
    """Errors as for `load_flow`. Pitch and source are float32 everywhere."""
    network = load_hift(model_dir, config)
    filter = place_filter(network, settings, plan=plan)
    return VocoderStage(Vocoder(network, config.sample_rate, filter))


def load_network(model_dir: Path, config: CosyVoice2Config) -> FlowNetwork:
    """In float32 on the CPU."""
    path = model_dir / FLOW_FILE
    with step("flow weights", path):
        return _load(FlowNetwork(config.flow), path)


def load_hift(model_dir: Path, config: CosyVoice2Config) -> HiFT:
    """In float32 on the CPU."""
    path = model_dir / VOCODER_FILE
    with step("vocoder weights", path):
        return _load(HiFT(config.vocoder), path)


def start_noise(config: CosyVoice2Config) -> Tensor:
    """The fixed start noise of the flow, (frames, mel): upstream draws it once with seed 0."""
    with step("start noise"):
        generator = torch.Generator().manual_seed(0)
        noise = torch.randn([1, config.flow.output_size, NOISE_FRAMES], generator=generator)[0]
        return noise.mT.contiguous() * config.flow.solver.start_noise_scale


def _load(module: ModuleT, path: Path) -> ModuleT:
    if not path.is_file():
        raise ModelDirectoryError(f"{path} does not exist; run tritone convert again")
    load_strictly(module, load_file(path), path.name)
    return module.eval()

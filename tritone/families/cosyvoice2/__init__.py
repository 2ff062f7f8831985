"""CosyVoice2: Qwen2 speech LM, U-Net flow matching, HiFT vocoder."""

from pathlib import Path
from typing import TypeVar

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from tritone.acoustic.weights import load_strictly
from tritone.config import ModelConfig
from tritone.errors import ModelDirectoryError
from tritone.families import Family
from tritone.families.cosyvoice2.flow import Flow
from tritone.families.cosyvoice2.vocoder import Vocoder
from tritone.loading.steps import step

ModuleT = TypeVar("ModuleT", bound=nn.Module)

FLOW_FILE = "flow.safetensors"
VOCODER_FILE = "vocoder.safetensors"
NOISE_FRAMES = 15000  # 300 s at 50 Hz; drawing another length changes all channels but the first


def start_noise(config: ModelConfig) -> Tensor:
    """The fixed start noise of the flow, (frames, mel): upstream draws it once with seed 0."""
    with step("start noise"):
        generator = torch.Generator().manual_seed(0)
        noise = torch.randn([1, config.flow.output_size, NOISE_FRAMES], generator=generator)[0]
        return noise.mT.contiguous() * config.flow.solver.start_noise_scale


def load_flow(model_dir: Path, config: ModelConfig) -> Flow:
    path = model_dir / FLOW_FILE
    with step("flow weights", path):
        return _load(Flow(config.flow), path)


def load_vocoder(model_dir: Path, config: ModelConfig) -> Vocoder:
    path = model_dir / VOCODER_FILE
    with step("vocoder weights", path):
        vocoder = Vocoder(config.vocoder, config.sample_rate)
        _load(vocoder.network, path)
        return vocoder.eval()


def _load(module: ModuleT, path: Path) -> ModuleT:
    if not path.is_file():
        raise ModelDirectoryError(f"{path} does not exist; run scripts/convert.py again")
    load_strictly(module, load_file(path), path.name)
    return module.eval()


FAMILY = Family(load_flow=load_flow, load_vocoder=load_vocoder, start_noise=start_noise)

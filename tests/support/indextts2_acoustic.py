"""IndexTTS2's flow and vocoder: the numbers of the release, and small ones with random weights."""

import torch
from torch import nn

from tritone.acoustic.solver_config import SolverConfig
from tritone.families.indextts2.acoustic_config import (
    EstimatorConfig,
    FlowConfig,
    RegulatorConfig,
    VocoderConfig,
)
from tritone.families.indextts2.acoustics import start_noise
from tritone.families.indextts2.bigvgan import BigVGAN
from tritone.families.indextts2.flow import Flow, FlowNetwork
from tritone.families.indextts2.window_solver import WindowSolver

RELEASED_FLOW = FlowConfig(
    codes=8192,
    latent_width=1280,
    latent_hidden=(256, 128),
    style=192,
    mel=80,
    regulator=RegulatorConfig(in_channels=1024, channels=512, layers=4),
    estimator=EstimatorConfig(
        width=512,
        heads=8,
        depth=13,
        feed_forward=1536,
        wavenet_layers=8,
        wavenet_kernel=5,
        wavenet_dilation=1,
    ),
)
RELEASED_VOCODER = VocoderConfig(
    mel=80,
    channels=1536,
    upsample_rates=(4, 4, 2, 2, 2, 2),
    upsample_kernels=(8, 8, 4, 4, 4, 4),
    block_kernels=(3, 7, 11),
    block_dilations=((1, 3, 5),) * 3,
)
FLOW = FlowConfig(
    codes=50,
    latent_width=12,
    latent_hidden=(6,),
    style=5,
    mel=8,
    regulator=RegulatorConfig(in_channels=10, channels=12, layers=4),
    estimator=EstimatorConfig(
        width=16,
        heads=2,
        depth=3,
        feed_forward=24,
        wavenet_layers=2,
        wavenet_kernel=5,
        wavenet_dilation=1,
    ),
    solver=SolverConfig(n_timesteps=2),
)
VOCODER = VocoderConfig(
    mel=FLOW.mel,
    channels=16,
    upsample_rates=(8, 4),
    upsample_kernels=(16, 8),
    block_kernels=(3,),
    block_dilations=((1, 3),),
)


def _random(network: nn.Module, seed: int) -> None:
    """Weights of about the size that they are trained to."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            drawn = torch.randn(parameter.shape, generator=generator)
            if name.endswith((".gain", ".frequency")):
                parameter.copy_(0.5 + drawn.abs())
            elif name.endswith("norm.weight"):
                parameter.copy_(1 + 0.1 * drawn)
            else:
                inputs = parameter[0].numel() if parameter.dim() > 1 else 100
                parameter.copy_(drawn * inputs**-0.5)


def flow_network(config: FlowConfig = FLOW) -> FlowNetwork:
    network = FlowNetwork(config).eval()
    _random(network, 1)
    return network


def flow(config: FlowConfig = FLOW) -> Flow:
    network = flow_network(config)
    return Flow(network, WindowSolver(network.estimator, config.solver), start_noise(config))


def vocoder_network(config: VocoderConfig = VOCODER) -> BigVGAN:
    """Its samples are as loud as speech, so that few are cut."""
    network = BigVGAN(config).eval()
    _random(network, 2)
    network.output.weight.data *= 0.1
    return network

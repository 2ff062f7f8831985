"""CosyVoice3's flow and vocoder as stages, from a model directory, where the settings want them."""

from dataclasses import replace
from pathlib import Path

from tritone.acoustic import weights
from tritone.acoustic.flow_stage import FlowStage
from tritone.acoustic.placement import FlowSettings, VocoderSettings, is_exact, place, place_filter
from tritone.acoustic.vocoder_stage import VocoderStage
from tritone.families.cosyvoice2.acoustics import FLOW_FILE, VOCODER_FILE, CodeFlow, start_noise
from tritone.families.cosyvoice2.flow import Flow
from tritone.families.cosyvoice3.config import CosyVoice3Config
from tritone.families.cosyvoice3.flow import FlowNetwork
from tritone.families.cosyvoice3.hift import HiFT
from tritone.families.cosyvoice3.source_noise import SourceNoise
from tritone.families.cosyvoice3.vocoder import Vocoder
from tritone.loading.steps import step

# A chunk's keys and values, of a second, are 90 MB in 16 bits and 180 MB in float32. Where nobody
# says, a stream keeps so many that a server with one fits into 4.5 GiB in either.
LEFT_CHUNKS = 6


def load_flow(model_dir: Path, config: CosyVoice3Config, settings: FlowSettings) -> FlowStage:
    """Raises ModelDirectoryError for the file, and EnvironmentProblem for the settings."""
    if settings.left_chunks is None:  # a plan sees all of the past
        settings = replace(settings, left_chunks=0 if settings.plans else LEFT_CHUNKS)
    plan = None
    if settings.plans:
        from tritone.families.cosyvoice3.graph_source import flow_plan

        plan = flow_plan(model_dir, config)
    network, noise = load_network(model_dir, config), start_noise(config.flow)
    euler, solver, device = place(
        network, network.estimator, config.flow.solver, settings, plan=plan
    )
    return FlowStage(CodeFlow(Flow(network, euler, solver), noise.to(device)), settings)


def load_vocoder(
    model_dir: Path, config: CosyVoice3Config, settings: VocoderSettings
) -> VocoderStage:
    """Errors as for `load_flow`. Pitch is float64 and the source float32 everywhere."""
    plan = None
    if settings.plans:
        from tritone.families.cosyvoice3.graph_source import vocoder_plan

        plan = vocoder_plan(model_dir, config)
    network = load_hift(model_dir, config)
    filter = place_filter(network, settings, plan=plan)
    vocoder = Vocoder(network, config.sample_rate, SourceNoise(config), filter)
    return VocoderStage(vocoder, exact=is_exact(filter))


def load_network(model_dir: Path, config: CosyVoice3Config) -> FlowNetwork:
    """In float32 on the CPU."""
    with step("flow weights", model_dir / FLOW_FILE):
        return weights.load_network(lambda: FlowNetwork(config.flow), model_dir / FLOW_FILE)


def load_hift(model_dir: Path, config: CosyVoice3Config) -> HiFT:
    """On the CPU; what finds the pitch in float64, the rest in float32."""
    with step("vocoder weights", model_dir / VOCODER_FILE):
        return weights.load_network(lambda: HiFT(config.vocoder), model_dir / VOCODER_FILE)

"""What of CosyVoice3 is exported to ONNX and TensorRT, and what runs on the plans."""

from collections.abc import Sequence
from functools import partial
from math import prod
from pathlib import Path

import torch
from torch import Tensor

from tritone.acoustic.filter import Filter
from tritone.acoustic.placement import FilterPlan, FlowPlan
from tritone.engines.plan import plan_filter, plan_solver
from tritone.engines.sources import Graph, Profiles, Sources
from tritone.families.cosyvoice2.graph_source import FLOW, VOCODER, FlowAndVocoder, Part
from tritone.families.cosyvoice3.acoustics import load_hift, load_network
from tritone.families.cosyvoice3.config import CosyVoice3Config
from tritone.families.cosyvoice3.flow import FlowNetwork
from tritone.families.cosyvoice3.graphs import (
    LATER,
    OPENING,
    flow_graphs,
    turn_input,
    vocoder_graphs,
)
from tritone.families.cosyvoice3.hift import HiFT, opens


def graph_source(model_dir: Path, config: CosyVoice3Config) -> FlowAndVocoder:
    def of_vocoder(network: HiFT, profiles: Profiles) -> Sequence[Graph]:
        return vocoder_graphs(network, config.sample_rate, profiles)

    load = partial(load_network, model_dir, config)
    flow = Part(config.flow, partial(FlowNetwork, config.flow), load, flow_graphs)
    load_vocoder = partial(load_hift, model_dir, config)
    vocoder = Part(config.vocoder, partial(HiFT, config.vocoder), load_vocoder, of_vocoder)
    return FlowAndVocoder(flow, vocoder)


def flow_plan(model_dir: Path, config: CosyVoice3Config) -> FlowPlan:
    sources = Sources(model_dir, config, graph_source(model_dir, config))
    placed = partial(turn_input, head_dim=config.flow.estimator.dim_head)
    return partial(plan_solver, sources, FLOW, "estimator_step", placed=placed)


def vocoder_plan(model_dir: Path, config: CosyVoice3Config) -> FilterPlan:
    sources = Sources(model_dir, config, graph_source(model_dir, config))
    steps = prod(config.vocoder.upsample_rates)

    def opened(dtype: torch.dtype, device: torch.device) -> Filter:
        opening, later = (
            plan_filter(sources, VOCODER, name, dtype, device) for name in (OPENING, LATER)
        )

        def run(mel: Tensor, spectrum: Tensor) -> Tensor:
            return (opening if opens(spectrum, steps) else later)(mel, spectrum)

        return run

    return opened

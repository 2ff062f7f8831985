"""What of CosyVoice2 is exported to ONNX and TensorRT, and what runs on the plans."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from pydantic import BaseModel
from torch import nn

from tritone.acoustic.placement import FilterPlan, FlowPlan
from tritone.engines.plan import plan_filter, plan_solver
from tritone.engines.sources import Graph, Profiles, Sources
from tritone.families.cosyvoice2.acoustics import FLOW_FILE, VOCODER_FILE, load_hift, load_network
from tritone.families.cosyvoice2.config import CosyVoice2Config
from tritone.families.cosyvoice2.flow import FlowNetwork
from tritone.families.cosyvoice2.graphs import flow_graphs
from tritone.families.cosyvoice2.hift import HiFT
from tritone.families.cosyvoice2.vocoder import Vocoder
from tritone.families.cosyvoice2.vocoder_graphs import vocoder_graphs

FLOW, VOCODER = "flow", "vocoder"
NetworkT = TypeVar("NetworkT", bound=nn.Module)


@dataclass(frozen=True)
class Part(Generic[NetworkT]):
    """settings: the network's numbers. outline: makes it without weights. load: with them; raises
    ModelDirectoryError. graphs: what of it is exported."""

    settings: BaseModel
    outline: Callable[[], NetworkT]
    load: Callable[[], NetworkT]
    graphs: Callable[[NetworkT, Profiles], Sequence[Graph]]


class FlowAndVocoder:
    """`tritone.engines.sources.GraphSource` of a model directory with these two parts."""

    parts = {FLOW: FLOW_FILE, VOCODER: VOCODER_FILE}  # noqa: RUF012

    def __init__(self, flow: Part[Any], vocoder: Part[Any]) -> None:
        self._parts = {FLOW: flow, VOCODER: vocoder}

    def settings(self, part: str) -> BaseModel:
        return self._parts[part].settings

    def outlines(self, part: str, profiles: Profiles) -> Sequence[Graph]:
        found = self._parts[part]
        with torch.device("meta"):
            return found.graphs(found.outline().eval(), profiles)

    def graphs(self, part: str, profiles: Profiles) -> Sequence[Graph]:
        found = self._parts[part]
        return found.graphs(found.load(), profiles)


def graph_source(model_dir: Path, config: CosyVoice2Config) -> FlowAndVocoder:
    def of_vocoder(network: HiFT, profiles: Profiles) -> Sequence[Graph]:
        return vocoder_graphs(Vocoder(network, config.sample_rate), profiles)

    load = partial(load_network, model_dir, config)
    flow = Part(config.flow, partial(FlowNetwork, config.flow), load, flow_graphs)
    load_vocoder = partial(load_hift, model_dir, config)
    vocoder = Part(config.vocoder, partial(HiFT, config.vocoder), load_vocoder, of_vocoder)
    return FlowAndVocoder(flow, vocoder)


def flow_plan(model_dir: Path, config: CosyVoice2Config) -> FlowPlan:
    sources = Sources(model_dir, config, graph_source(model_dir, config))
    return partial(plan_solver, sources, FLOW, "estimator_step")


def vocoder_plan(model_dir: Path, config: CosyVoice2Config) -> FilterPlan:
    sources = Sources(model_dir, config, graph_source(model_dir, config))
    return partial(plan_filter, sources, VOCODER, "vocoder")

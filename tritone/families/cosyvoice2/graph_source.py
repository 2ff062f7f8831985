"""What of CosyVoice2 is exported to ONNX and TensorRT, and what runs on the plans."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch
from pydantic import BaseModel

from tritone.acoustic.placement import FilterPlan, FlowPlan
from tritone.engines.plan import plan_filter, plan_solver
from tritone.engines.sources import Graph, Profiles, Sources
from tritone.families.cosyvoice2.acoustics import (
    FLOW_FILE,
    VOCODER_FILE,
    load_hift,
    load_network,
)
from tritone.families.cosyvoice2.config import CosyVoice2Config
from tritone.families.cosyvoice2.flow_graphs import flow_graphs
from tritone.families.cosyvoice2.hift import HiFT
from tritone.families.cosyvoice2.network import FlowNetwork
from tritone.families.cosyvoice2.vocoder import Vocoder
from tritone.families.cosyvoice2.vocoder_graphs import vocoder_graphs

FLOW, VOCODER = "flow", "vocoder"


class CosyVoice2Graphs:
    """`tritone.engines.sources.GraphSource` of a model directory."""

    parts = {FLOW: FLOW_FILE, VOCODER: VOCODER_FILE}  # noqa: RUF012

    def __init__(self, model_dir: Path, config: CosyVoice2Config) -> None:
        self._model_dir, self._config = model_dir, config

    def settings(self, part: str) -> BaseModel:
        return self._config.flow if part == FLOW else self._config.vocoder

    def outlines(self, part: str, profiles: Profiles) -> Sequence[Graph]:
        with torch.device("meta"):
            if part == FLOW:
                return flow_graphs(FlowNetwork(self._config.flow).eval(), profiles)
            return self._vocoder_graphs(HiFT(self._config.vocoder), profiles)

    def graphs(self, part: str, profiles: Profiles) -> Sequence[Graph]:
        if part == FLOW:
            return flow_graphs(load_network(self._model_dir, self._config), profiles)
        return self._vocoder_graphs(load_hift(self._model_dir, self._config), profiles)

    def _vocoder_graphs(self, network: HiFT, profiles: Profiles) -> Sequence[Graph]:
        return vocoder_graphs(Vocoder(network, self._config.sample_rate), profiles)


def flow_plan(model_dir: Path, config: CosyVoice2Config) -> FlowPlan:
    """Opens the flow's solver on the plan of its estimator."""
    return partial(plan_solver, _sources(model_dir, config), FLOW, "estimator_step")


def vocoder_plan(model_dir: Path, config: CosyVoice2Config) -> FilterPlan:
    """Opens the vocoder's filter on its plan."""
    return partial(plan_filter, _sources(model_dir, config), VOCODER, "vocoder")


def _sources(model_dir: Path, config: CosyVoice2Config) -> Sources:
    return Sources(model_dir, config, CosyVoice2Graphs(model_dir, config))

"""What of CosyVoice2 is exported to ONNX and TensorRT, and what runs on the plans."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch
from pydantic import BaseModel

from tritone.acoustic.placement import FilterPlan, FlowPlan
from tritone.engines.plan import plan_filter, plan_solver
from tritone.engines.sources import Graph, Profiles, Sources
from tritone.families.cosyvoice2.acoustics import FLOW_FILE, VOCODER_FILE, load_hift, load_network
from tritone.families.cosyvoice2.config import CosyVoice2Config
from tritone.families.cosyvoice2.flow import FlowNetwork
from tritone.families.cosyvoice2.graphs import flow_graphs, vocoder_graphs
from tritone.families.cosyvoice2.hift import HiFT
from tritone.families.cosyvoice2.vocoder import Vocoder

FLOW, VOCODER = "flow", "vocoder"


class CosyVoice2Graphs:
    """`tritone.engines.sources.GraphSource` of a model directory."""

    parts = {FLOW: FLOW_FILE, VOCODER: VOCODER_FILE}  # noqa: RUF012

    def __init__(self, model_dir: Path, config: CosyVoice2Config) -> None:
        self._model_dir, self._config = model_dir, config

    def settings(self, part: str) -> BaseModel:
        return self._config.flow if part == FLOW else self._config.vocoder

    def outlines(self, part: str, profiles: Profiles) -> Sequence[Graph]:
        config = self._config
        with torch.device("meta"):
            if part == FLOW:
                return flow_graphs(FlowNetwork(config.flow).eval(), profiles)
            return vocoder_graphs(Vocoder(HiFT(config.vocoder), config.sample_rate), profiles)

    def graphs(self, part: str, profiles: Profiles) -> Sequence[Graph]:
        folder, config = self._model_dir, self._config
        if part == FLOW:
            return flow_graphs(load_network(folder, config), profiles)
        return vocoder_graphs(Vocoder(load_hift(folder, config), config.sample_rate), profiles)


def flow_plan(model_dir: Path, config: CosyVoice2Config) -> FlowPlan:
    sources = Sources(model_dir, config, CosyVoice2Graphs(model_dir, config))
    return partial(plan_solver, sources, FLOW, "estimator_step")


def vocoder_plan(model_dir: Path, config: CosyVoice2Config) -> FilterPlan:
    sources = Sources(model_dir, config, CosyVoice2Graphs(model_dir, config))
    return partial(plan_filter, sources, VOCODER, "vocoder")

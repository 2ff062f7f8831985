"""Our flow of CosyVoice3 against a golden folder that upstream's classes made, laid out as
`token2wav` describes it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from parity import ParityResult, close
from parity.golden import Golden
from parity.token2wav import Cases, compared, flow_full, flow_stream
from tritone.acoustic.attention import chunk_mask
from tritone.acoustic.solver_config import SolverConfig
from tritone.acoustic.weights import load_strictly
from tritone.families.cosyvoice2.flow import Flow
from tritone.families.cosyvoice3.config import EstimatorConfig, FlowConfig
from tritone.families.cosyvoice3.flow import FlowNetwork
from tritone.families.cosyvoice3.released_flow import flow_weights

THRESHOLD = 5e-5  # another GELU misses it


def flow_config(numbers: dict[str, Any], solver: SolverConfig) -> FlowConfig:
    own = {name: numbers[name] for name in FlowConfig.model_fields if name in numbers}
    estimator = {name: numbers[name] for name in EstimatorConfig.model_fields}
    return FlowConfig.model_validate(
        {**own, "output_size": 80, "estimator": estimator, "solver": solver}
    )


def load_network(case: Golden, solver: SolverConfig | None = None) -> FlowNetwork:
    """solver: another than upstream's."""
    config = flow_config(case.numbers("flow"), solver or SolverConfig())
    network = FlowNetwork(config).eval()
    released = load_file(case.folder / "flow_weights.safetensors")
    state = flow_weights(released, config.estimator.dim_head)
    load_strictly(network, state, "flow_weights")
    return network


def _lookahead(case: Golden) -> Iterator[ParityResult]:
    layer, x = load_network(case).lookahead, case["x"]
    final, _ = layer(x, x[:, :0], None)
    yield close(f"{case.name}, the end", final, case["y_final"], THRESHOLD)
    count = case["y_context"].shape[1]
    going_on, _ = layer(x[:, :count], x[:, count:], None)
    yield close(f"{case.name}, with context", going_on, case["y_context"], THRESHOLD)


def _estimator(case: Golden) -> Iterator[ParityResult]:
    """Only frames that are real: upstream leaves others as they come."""
    estimator, real = load_network(case).estimator, case["mask"]
    frames = real.shape[2]
    visible = real.bool()[:, :, None]
    if case.about["streaming"]:
        chunk = case.about.get("static_chunk_size_frames", estimator.chunk_frames)
        visible = visible & chunk_mask(frames, chunk)
    speakers = case["spks"][:, :, None].expand(-1, -1, frames)
    stacked = torch.cat([case["x"], case["mu"], speakers, case["cond"]], dim=1).mT
    y = estimator(stacked, estimator.time_shifts(case["t"]), visible=visible)
    yield close(case.name, y.mT * real, case["y"] * real, THRESHOLD)


def _load_flow(case: Golden) -> Flow:
    return Flow.of(load_network(case))


CASES: Cases = {
    "lookahead": _lookahead,
    "estimator_": _estimator,
    "flow_full": lambda case: flow_full(case, _load_flow(case), THRESHOLD),
    "flow_stream": lambda case: flow_stream(case, _load_flow(case), THRESHOLD),
}


def cases(folder: Path) -> Iterator[ParityResult]:
    """Compare all of the flow, in the order of its file names."""
    with torch.inference_mode():
        yield from compared(folder, CASES)

"""Golden token2wav cases on disk: their numbers, tensors and weights as our modules take them."""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors.torch import load_file
from torch import Tensor

from tritone.acoustic.solver_config import SolverConfig
from tritone.acoustic.weights import load_strictly
from tritone.families.cosyvoice2.acoustics import NOISE_FRAMES
from tritone.families.cosyvoice2.config import FlowConfig, VocoderConfig
from tritone.families.cosyvoice2.flow import Flow, FlowNetwork, FlowPrompt
from tritone.families.cosyvoice2.hift import HiFT
from tritone.families.cosyvoice2.released_model import flow_weights, vocoder_weights
from tritone.families.cosyvoice2.vocoder import Vocoder

SAMPLE_RATE = 24000

ConfigT = TypeVar("ConfigT", FlowConfig, VocoderConfig)


# our names of what the golden numbers call otherwise
ENCODER = {
    "output_size": "enc_size",
    "attention_heads": "enc_heads",
    "linear_units": "enc_linear_units",
    "num_blocks": "enc_blocks",
    "num_up_blocks": "up_blocks",
}
ESTIMATOR = {
    "channels": "est_channels",
    "attention_head_dim": "est_head_dim",
    "num_heads": "est_heads",
    "n_blocks": "est_n_blocks",
    "num_mid_blocks": "est_mid_blocks",
}


def flow_config(numbers: dict[str, Any], solver: SolverConfig) -> FlowConfig:
    parts = {
        "output_size": 80,
        "encoder": {ours: numbers[theirs] for ours, theirs in ENCODER.items()},
        "estimator": {ours: numbers[theirs] for ours, theirs in ESTIMATOR.items()},
        "solver": solver,
    }
    return _of(FlowConfig, {**numbers, **parts})


def vocoder_config(numbers: dict[str, Any], fixed: dict[str, Any]) -> VocoderConfig:
    fourier = {"istft_n_fft": numbers["n_fft"], "istft_hop": numbers["hop_len"]}
    return _of(VocoderConfig, {**fixed, **numbers, **fourier})


def _of(kind: type[ConfigT], values: dict[str, Any]) -> ConfigT:
    return kind.model_validate({k: v for k, v in values.items() if k in kind.model_fields})


@dataclass
class Golden:
    """One golden case: its description and its tensors."""

    folder: Path
    name: str

    @cached_property
    def about(self) -> dict[str, Any]:
        return json.loads((self.folder / f"{self.name}.json").read_text())  # type: ignore[no-any-return]

    @cached_property
    def tensors(self) -> dict[str, Tensor]:
        tensors: dict[str, Tensor] = load_file(self.folder / f"{self.name}.safetensors")
        return tensors

    def __getitem__(self, key: str) -> Tensor:
        return self.tensors[key]

    def numbers(self, part: str) -> dict[str, Any]:
        """Hyperparameters; cases of both parts keep them apart."""
        numbers = self.about["hyperparameters"]
        return numbers.get(part, numbers)  # type: ignore[no-any-return]


def load_network(case: Golden, solver: SolverConfig | None = None) -> FlowNetwork:
    """solver: another than upstream's."""
    network = FlowNetwork(flow_config(case.numbers("flow"), solver or SolverConfig())).eval()
    state = load_file(case.folder / "flow_weights.safetensors")
    load_strictly(network, flow_weights(state), "flow_weights")
    return network


def load_flow(case: Golden) -> Flow:
    return Flow.of(load_network(case))


def load_vocoder(case: Golden) -> Vocoder:
    weights = json.loads((case.folder / "hift_weights.json").read_text())
    fixed = weights.get("fixed_constructor_values") or case.about["fixed_constructor_values"]
    config = vocoder_config(case.numbers("hift"), fixed["hift"])
    network = HiFT(config).eval()
    released = load_file(case.folder / "hift_weights.safetensors")
    state = vocoder_weights(released, len(config.resblock_kernel_sizes))
    load_strictly(network, state, "hift_weights")
    return Vocoder(network, SAMPLE_RATE)


def prompt_of(case: Golden) -> FlowPrompt:
    noise = torch.randn([1, 80, NOISE_FRAMES], generator=torch.Generator().manual_seed(0))
    empty = torch.zeros(1, 0)
    mel = case.tensors.get("prompt_feat", torch.zeros(1, 0, 80))[0]
    tokens = case.tensors.get("prompt_token", empty)[0].long()
    return FlowPrompt(tokens, mel, case["embedding"][0], noise[0].mT.contiguous())

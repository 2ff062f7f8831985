"""Golden token2wav cases on disk: their numbers, tensors and weights as our modules take them."""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from tritone.acoustic.solver_config import SolverConfig
from tritone.acoustic.weights import load_strictly
from tritone.families.cosyvoice2.acoustics import NOISE_FRAMES
from tritone.families.cosyvoice2.config import (
    EstimatorConfig,
    FlowConfig,
    FlowEncoderConfig,
    VocoderConfig,
)
from tritone.families.cosyvoice2.flow import Flow, FlowNetwork, FlowPrompt
from tritone.families.cosyvoice2.hift import HiFT
from tritone.families.cosyvoice2.released_model import flow_weights, vocoder_weights
from tritone.families.cosyvoice2.vocoder import Vocoder

SAMPLE_RATE = 24000


def flow_config(numbers: dict[str, Any], solver: SolverConfig) -> FlowConfig:
    return FlowConfig(
        vocab_size=numbers["vocab_size"],
        input_size=numbers["input_size"],
        spk_embed_dim=numbers["spk_embed_dim"],
        output_size=80,
        token_mel_ratio=numbers["token_mel_ratio"],
        pre_lookahead_len=numbers["pre_lookahead_len"],
        chunk_size=numbers["chunk_size"],
        encoder=FlowEncoderConfig(
            output_size=numbers["enc_size"],
            attention_heads=numbers["enc_heads"],
            linear_units=numbers["enc_linear_units"],
            num_blocks=numbers["enc_blocks"],
            num_up_blocks=numbers["up_blocks"],
        ),
        estimator=EstimatorConfig(
            channels=numbers["est_channels"],
            attention_head_dim=numbers["est_head_dim"],
            num_heads=numbers["est_heads"],
            n_blocks=numbers["est_n_blocks"],
            num_mid_blocks=numbers["est_mid_blocks"],
        ),
        solver=solver,
    )


def vocoder_config(numbers: dict[str, Any], fixed: dict[str, Any]) -> VocoderConfig:
    same = (
        "base_channels",
        "nb_harmonics",
        "upsample_rates",
        "upsample_kernel_sizes",
        "resblock_kernel_sizes",
        "resblock_dilation_sizes",
        "source_resblock_kernel_sizes",
        "source_resblock_dilation_sizes",
        "f0_channels",
    )
    constants = (
        "in_channels",
        "nsf_alpha",
        "nsf_sigma",
        "nsf_voiced_threshold",
        "lrelu_slope",
        "audio_limit",
    )
    return VocoderConfig(
        istft_n_fft=numbers["n_fft"],
        istft_hop=numbers["hop_len"],
        **{name: numbers[name] for name in same},
        **{name: fixed[name] for name in constants},
    )


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

"""The released weights of flow and vocoder under our names, by their names and shapes."""

from collections.abc import Mapping

import pytest
import torch
from indextts2_acoustic import RELEASED_FLOW, RELEASED_VOCODER
from released_checkpoint import released_shapes
from torch import Tensor

from tritone.acoustic.weights import check_fit, outline
from tritone.errors import ModelDirectoryError
from tritone.families.indextts2.bigvgan import BigVGAN
from tritone.families.indextts2.estimator import time_frequencies
from tritone.families.indextts2.flow import FlowNetwork
from tritone.families.indextts2.released_bigvgan import vocoder_weights
from tritone.families.indextts2.released_s2mel import FILE, PARTS, flow_weights
from tritone.families.indextts2.snake import lowpass

BLOCK = "estimator.transformer.layers.9"
FREQUENCIES = "estimator.t_embedder2.freqs"
FILTER = "resblocks.3.activations.2.upsample.filter"
UNUSED = 7 * (512 * 1024 + 512) + (512 + 512 + 512 * 80) + 1024 * 512 + 512
DROPPED = 512 + 2048 * 512  # of the length regulator: a mask and an embedding


def released_flow() -> dict[str, dict[str, Tensor]]:
    """Names and shapes; the frequencies alone have values."""
    net: dict[str, dict[str, Tensor]] = {part: {} for part in PARTS}
    for key, value in released_shapes("indextts2_s2mel_keys.tsv").items():
        part, _, name = key.partition(".")
        net[part][name] = time_frequencies() if name.endswith(".freqs") else value
    return net


def fits(net: Mapping[str, Mapping[str, Tensor]]) -> FlowNetwork:
    """Raises ModelDirectoryError unless every tensor has its place."""
    network = outline(lambda: FlowNetwork(RELEASED_FLOW), FILE)
    codebook = torch.empty(8192, 1024, device="meta")
    check_fit(network, flow_weights(net, codebook), FILE)
    return network


def released_vocoder() -> dict[str, Tensor]:
    state = released_shapes("indextts2_bigvgan_keys.tsv")
    return {k: lowpass().view(1, 1, -1) if k.endswith("filter") else v for k, v in state.items()}


def vocoder_fits(state: Mapping[str, Tensor]) -> BigVGAN:
    network = outline(lambda: BigVGAN(RELEASED_VOCODER), "bigvgan")
    check_fit(network, vocoder_weights(state, 3), "bigvgan")
    return network


def test_every_tensor_of_the_released_flow_has_its_place() -> None:
    net = released_flow()
    assert [len(net[part]) for part in PARTS] == [256, 22, 6]
    network = fits(net)
    count = sum(parameter.numel() for parameter in network.estimator.parameters())
    # weight norm folded: a magnitude for each output row less
    folded = sum(v.numel() for k, v in net["cfm"].items() if k.endswith("weight_g")) - 512
    assert count == 98_187_344 - UNUSED - folded
    count = sum(parameter.numel() for parameter in network.regulator.parameters())
    assert count == 4_988_416 - DROPPED
    assert sum(p.numel() for p in network.features.latent.parameters()) == 492_928


def test_every_tensor_of_the_released_vocoder_has_its_place() -> None:
    state = released_vocoder()
    assert len(state) == 783
    assert sum(p.numel() for p in vocoder_fits(state).parameters()) == 112_199_472


def test_a_prefix_of_parallel_training_is_taken_off() -> None:
    net = {p: {f"module.{k}": v for k, v in part.items()} for p, part in released_flow().items()}
    assert fits(net)


@pytest.mark.parametrize(
    ("part", "key", "shape", "problem"),
    [
        ("cfm", f"{BLOCK}.attention.wo.weight", None, "lacks estimator.blocks.9.output.weight"),
        ("cfm", f"{BLOCK}.feed_forward.w3.weight", [7, 512], "lacks estimator.blocks.9.expand"),
        ("cfm", f"{BLOCK}.skip_in_linear.weight", None, "lacks estimator.blocks.9.join.weight"),
        ("cfm", "estimator.cond_x_merge_linear.weight", [512, 860], "has estimator.given.weight"),
        ("cfm", "estimator.conv3.weight", [1], "has the unknown estimator.conv3.weight"),
        ("length_regulator", "model.4.weight", [3], r"has regulator.layers.1.norm.weight \[3\]"),
        ("length_regulator", "model.12.bias", None, "lacks regulator.output.bias"),
        ("gpt_layer", "1.weight", [5, 5], r"has features.latent.1.weight \[5, 5\]"),
    ],
)
def test_what_is_missing_or_misshapen_is_named(
    part: str, key: str, shape: list[int] | None, problem: str
) -> None:
    net = released_flow()
    if shape is None:
        del net[part][key]
    else:
        net[part][key] = torch.empty(shape, device="meta")
    with pytest.raises(ModelDirectoryError, match=problem):
        fits(net)


def test_a_part_that_is_missing_is_named() -> None:
    net = released_flow()
    del net["gpt_layer"]
    with pytest.raises(ModelDirectoryError, match=r"s2mel\.pth lacks the part gpt_layer"):
        fits(net)


@pytest.mark.parametrize(
    ("key", "shape", "problem"),
    [
        ("ups.2.0.bias", None, "lacks stages.2.up.bias"),
        ("ups.2.0.weight_g", None, "weight norm of ups.2.0.weight needs a magnitude"),
        ("resblocks.4.activations.3.act.beta", [5], "has stages.1.blocks.1.snakes2.1.gain"),
        ("resblocks.18.convs1.0.bias", [5], "has the unknown stages.6.blocks.0.dilated.0.bias"),
    ],
)
def test_what_does_not_fit_the_vocoder_is_named(
    key: str, shape: list[int] | None, problem: str
) -> None:
    state = released_vocoder()
    if shape is None:
        del state[key]
    else:
        state[key] = torch.empty(shape, device="meta")
    with pytest.raises(ModelDirectoryError, match=problem):
        vocoder_fits(state)


def test_other_frequencies_and_filters_are_refused() -> None:
    net = released_flow()
    net["cfm"][FREQUENCIES] = time_frequencies() * 1.01
    with pytest.raises(ModelDirectoryError, match=r"t_embedder2\.freqs is \[128\] of 1\.0100"):
        fits(net)
    state = {**released_vocoder(), FILTER: lowpass().roll(1)}
    with pytest.raises(ModelDirectoryError, match=r"upsample\.filter is \[12\] of 0\.0020"):
        vocoder_fits(state)

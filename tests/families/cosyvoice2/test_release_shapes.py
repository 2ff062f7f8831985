"""The released CosyVoice2-0.5B by the names and shapes of its tensors; values are not needed."""

import re

import pytest
import torch
from released_checkpoint import released_shapes

from benchmarks.full_size import FLOW, VOCODER
from tritone.acoustic.weights import check_fit
from tritone.errors import ModelDirectoryError
from tritone.families.cosyvoice2.flow import FlowNetwork
from tritone.families.cosyvoice2.hift import HiFT
from tritone.families.cosyvoice2.released_model import flow_weights, vocoder_weights


def test_every_tensor_of_the_released_flow_has_its_place() -> None:
    state = released_shapes("flow_keys.tsv")
    with torch.device("meta"):
        flow = FlowNetwork(FLOW)
        check_fit(flow, flow_weights(state), "flow.pt")
    assert len(state) == 1121
    assert sum(p.numel() for p in flow.parameters()) == 112_549_360


@pytest.mark.parametrize("names", ["current", "legacy", "from a GAN trainer"])
def test_every_tensor_of_the_released_vocoder_has_its_place(names: str) -> None:
    state = released_shapes("hift_keys.tsv")
    if names == "legacy":
        pattern = {"original0": "weight_g", "original1": "weight_v"}
        state = {
            re.sub(r"parametrizations\.weight\.(original\d)", lambda m: pattern[m[1]], k): v
            for k, v in state.items()
        }
    elif names == "from a GAN trainer":
        state = {f"generator.{key}": value for key, value in state.items()}
    assert len(state) == 328 and sum(v.numel() for v in state.values()) == 20_821_295
    with torch.device("meta"):
        check_fit(HiFT(VOCODER), vocoder_weights(state, 3), "hift.pt")


def test_a_tensor_too_many_or_too_few_is_named() -> None:
    state = released_shapes("flow_keys.tsv")
    state["decoder.estimator.extra.weight"] = state.pop("encoder_proj.bias")
    with torch.device("meta"), pytest.raises(ModelDirectoryError) as refused:
        check_fit(FlowNetwork(FLOW), flow_weights(state), "flow.pt")
    assert "lacks mel_projection.bias [80]" in str(refused.value)
    assert "has the unknown estimator.extra.weight" in str(refused.value)

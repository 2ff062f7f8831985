"""The flow against upstream's numbers, and the released weights under our names."""

import pytest
import torch
from cosyvoice3_flow import GOLDEN, tiny_network
from parity.cosyvoice3_flow import CASES
from parity.golden import Golden
from released_checkpoint import released_shapes
from safetensors.torch import load_file
from torch import Tensor

from benchmarks.full_size import COSYVOICE3
from tritone.acoustic.rotary import rotary_frequencies
from tritone.acoustic.weights import check_fit, outline
from tritone.errors import ModelDirectoryError
from tritone.families.cosyvoice3.estimator import Estimator
from tritone.families.cosyvoice3.flow import FlowNetwork
from tritone.families.cosyvoice3.released_flow import FREQUENCIES, INPUT, flow_weights

NAMES = (
    "lookahead",
    *(f"estimator_{kind}" for kind in ("full", "stream", "stream_chunk")),
    *(f"estimator_{kind}_padded" for kind in ("full", "stream")),
    *("flow_full", "flow_full_noprompt", "flow_stream"),
)


@pytest.mark.parametrize("name", NAMES)
def test_golden(name: str) -> None:
    (compare,) = (compare for prefix, compare in CASES.items() if name.startswith(prefix))
    with torch.inference_mode():
        results = list(compare(Golden(GOLDEN, name)))
    assert results and not [result for result in results if not result.passed]


def released() -> dict[str, Tensor]:
    """Names and shapes; the frequencies alone have values."""
    state = released_shapes("flow3_keys.tsv")
    return {**state, FREQUENCIES: rotary_frequencies(64)}


def test_every_tensor_of_the_released_flow_has_its_place() -> None:
    state = released()
    assert len(state) == 330 and sum(value.numel() for value in state.values()) == 332_257_120
    network = outline(lambda: FlowNetwork(COSYVOICE3.flow), "flow.pt")
    check_fit(network, flow_weights(state, 64), "flow.pt")
    assert sum(p.numel() for p in network.parameters()) == 332_257_120 - 32


def test_the_released_frequencies_are_those_we_compute() -> None:
    found = load_file(GOLDEN / "flow_weights.safetensors")[FREQUENCIES]
    assert torch.equal(found, rotary_frequencies(12))


@pytest.mark.parametrize(
    "changed",
    [rotary_frequencies(64) * 1.001, rotary_frequencies(32), torch.full((32,), torch.nan)],
    ids=["values", "length", "nan"],
)
def test_other_frequencies_are_refused(changed: Tensor) -> None:
    with pytest.raises(
        ModelDirectoryError, match=r"inv_freq is \[\d+\] of .* heads of 64 channels"
    ):
        flow_weights({**released(), FREQUENCIES: changed}, 64)


ATTENTION = "decoder.estimator.transformer_blocks.3.attn"


@pytest.mark.parametrize(
    ("key", "shape", "problem"),
    [
        (f"{ATTENTION}.to_k.weight", None, "lacks estimator.blocks.3.query_key_value.weight [3072"),
        (f"{ATTENTION}.to_q.bias", [], "lacks estimator.blocks.3.query_key_value.bias [3072]"),
        (INPUT, [1024, 318], "has estimator.input.weight [1024, 318]"),
        (INPUT, [1024], "has estimator.input.weight [1024]"),
        ("pre_lookahead_layer.conv1.weight", [1024, 80], "has lookahead.ahead.weight [1024, 80]"),
        ("proj_out.weight", [1], "has the unknown proj_out.weight"),
    ],
)
def test_what_is_missing_or_misshapen_is_named(
    key: str, shape: list[int] | None, problem: str
) -> None:
    state = released()
    if shape is None:
        del state[key]
    else:
        state[key] = torch.empty(shape, device="meta")
    network = outline(lambda: FlowNetwork(COSYVOICE3.flow), "flow.pt")
    with pytest.raises(ModelDirectoryError) as refused:
        check_fit(network, flow_weights(state, 64), "flow.pt")
    assert problem in str(refused.value)


def test_heads_of_an_odd_width_make_no_network() -> None:
    part = COSYVOICE3.flow.estimator.model_copy(update={"dim_head": 63})
    config = COSYVOICE3.flow.model_copy(update={"estimator": part})
    with pytest.raises(ModelDirectoryError, match="dim_head is 63"):
        outline(lambda: Estimator(config), "flow.safetensors")


def test_the_time_is_exact_whatever_the_precision() -> None:
    """A short mantissa would give the sinusoid another argument, by whole radians."""
    exact, rounded = tiny_network().estimator, tiny_network().estimator.to(torch.bfloat16)
    times = torch.tensor([0.1, 0.55, 0.84])
    for one, other in zip(exact.time_shifts(times), rounded.time_shifts(times), strict=True):
        assert other.dtype == torch.bfloat16
        torch.testing.assert_close(other.float(), one, atol=5e-3, rtol=1e-2)


def test_angles_are_exact_whatever_the_precision() -> None:
    """A short mantissa would turn frame 2000 by a random angle."""
    estimator = tiny_network().estimator
    positions = torch.tensor([[2000]])
    exact = estimator._turn(positions)
    rounded = estimator.to(torch.bfloat16)._turn(positions)
    assert all(map(torch.equal, exact, rounded)) and exact[0].dtype == torch.float32
    angle = 2000 * rotary_frequencies(12).double()
    assert (exact[1].flatten() - angle.sin()).abs().max() < 1e-4

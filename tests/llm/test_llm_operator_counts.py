"""What a token and a part of a prompt ask of a GPU, counted on full-size shapes without values."""

import pytest
import torch
from operators import Operators
from outlined_llm import CONFIG, outlined

from tritone.llm.torch.fused_slots import FusedSlots
from tritone.llm.torch.slots import TorchSlots

MOST = 260  # of a token


@pytest.fixture(scope="module")
def fused() -> FusedSlots:
    session = outlined(FusedSlots)
    assert isinstance(session, FusedSlots)
    return session


def launched(operators: Operators) -> int:
    """Where nothing goes to or comes from the host, and no mask or index is made of values."""
    assert not operators.synchronised
    return operators.launched.total()


@torch.inference_mode()
def test_operators_of_a_token_by_torch_s_own() -> None:
    session = outlined(TorchSlots)
    with Operators() as operators:
        session._step(1, 1024)
    assert launched(operators) == 882


@pytest.mark.parametrize(("streams", "count"), [(1, 245), (32, 245), (64, 221)])
@torch.inference_mode()
def test_operators_of_a_token(fused: FusedSlots, streams: int, count: int) -> None:
    """Of all that one graph replays, drawing included. 64 streams fill the device without a split
    of what each attends to, which would have to be joined."""
    with Operators() as operators:
        fused._step(streams, fused.slot_length)
    assert launched(operators) == count <= MOST
    layers = CONFIG.num_hidden_layers
    assert operators.launched["split_attention"] == operators.launched["turned_heads"] == layers
    assert operators.launched["drawn_tokens"] == 1


@pytest.mark.parametrize(("positions", "count"), [(32, 245), (256, 221)])
@torch.inference_mode()
def test_operators_of_a_part_of_a_prompt(fused: FusedSlots, positions: int, count: int) -> None:
    with Operators() as operators:
        fused._read(positions)
    assert launched(operators) == count <= MOST


@torch.inference_mode()
def test_an_outline_tells_what_comes_from_the_host() -> None:
    with Operators() as operators:
        torch.zeros(2, device="meta") + torch.ones(2).to("meta")
    assert operators.synchronised == {"_to_copy": 1}

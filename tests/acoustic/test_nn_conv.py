"""Convolutions as matrix products equal torch's own, whole and in parts."""

from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F
from token2wav_model import draw
from torch import Tensor

from tritone.acoustic.linear import (
    CausalConv1d,
    GroupedCausalConv1d,
    WindowLinear,
    pack_for_cpu,
    window_weight,
)


@pytest.fixture(autouse=True)
def no_gradients() -> Iterator[None]:
    with torch.inference_mode():
        yield


def weights(taps: int) -> tuple[Tensor, Tensor, Tensor]:
    """A Conv1d's weight and bias from 6 to 5 channels, and an input of 2 rows of 20 frames."""
    generator = draw(taps)
    weight = torch.randn(5, 6, taps, generator=generator)
    return weight, torch.randn(5, generator=generator), torch.randn(2, 20, 6, generator=generator)


@pytest.mark.parametrize("taps", [1, 3, 4, 5])
@pytest.mark.parametrize("transposed", [False, True])
def test_window_linear_is_a_convolution(taps: int, transposed: bool) -> None:
    weight, bias, x = weights(taps)
    layer = WindowLinear(6, 5, taps)
    layer.weight.copy_(window_weight(weight))
    layer.bias.copy_(bias)
    # A view of another layout must not be read as if it were contiguous.
    given = x.mT.contiguous().mT if transposed else x
    expected = F.conv1d(x.mT, weight, bias).mT
    assert layer(given).shape == (2, 21 - taps, 5)
    assert (layer(given) - expected).abs().max() < 1e-5


@pytest.mark.parametrize("parts", [[20], [1] * 20, [7, 1, 12]])
def test_causal_convolution_in_parts(parts: list[int]) -> None:
    weight, bias, x = weights(5)
    layer = CausalConv1d(6, 5, 5)
    layer.weight.copy_(window_weight(weight))
    layer.bias.copy_(bias)
    expected = F.conv1d(F.pad(x.mT, (4, 0)), weight, bias).mT
    tail, outputs = None, []
    for part in torch.split(x, parts, dim=1):
        y, tail = layer.step(part, tail)
        outputs.append(y)
        assert tail.shape == (2, 4, 6)
    assert (torch.cat(outputs, dim=1) - expected).abs().max() < 1e-5
    assert torch.equal(tail, x[:, -4:])


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("parts", [[20], [1] * 20, [7, 1, 12]])
def test_grouped_convolution_in_parts(parts: list[int], packed: bool) -> None:
    torch.manual_seed(0)
    layer, x = GroupedCausalConv1d(6, 5, groups=3), torch.randn(2, 20, 6, generator=draw(0))
    expected = F.conv1d(F.pad(x.mT, (4, 0)), layer.weight, layer.bias, groups=3).mT
    if packed:
        pack_for_cpu(layer, rows=20)
    tail, outputs = None, []
    for part in torch.split(x, parts, dim=1):
        y, tail = layer.step(part, tail)
        outputs.append(y)
    assert (torch.cat(outputs, dim=1) - expected).abs().max() < 1e-5
    assert tail is not None and torch.equal(tail, x[:, -4:])

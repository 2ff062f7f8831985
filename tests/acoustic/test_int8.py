"""Linear layers with int8 weights: what the kernel in C multiplies, row by row."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from token2wav_model import draw, placed, some_prompt, some_tokens, tiny_network
from torch import Tensor

from tritone.acoustic.kernels.int8 import Int8Linear, Int8Weights, int8_linear
from tritone.acoustic.linear import PackableLinear, WindowLinear, round_to_int8
from tritone.acoustic.placement import FlowSettings
from tritone.compute import DTYPES
from tritone.errors import EnvironmentProblem
from tritone.resources.kernels.build import INT8_KERNELS, Kernel, compiler

RUNNING = [kernel for kernel in INT8_KERNELS if kernel.runs_here]
pytestmark = [
    pytest.mark.skipif(compiler() is None, reason="there is no C compiler"),
    pytest.mark.skipif(not RUNNING, reason="this processor multiplies no bytes"),
]


@pytest.fixture(autouse=True)
def inference() -> Iterator[None]:
    with torch.inference_mode():
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("kernels")


@pytest.fixture(params=RUNNING, ids=lambda kernel: kernel.name)
def kernel(request: pytest.FixtureRequest, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Kernel:
    given: Kernel = request.param
    monkeypatch.setenv("TRITONE_KERNELS", str(folder))
    given.build(compiler() or "")
    return given


@pytest.fixture
def product(kernel: Kernel) -> Int8Linear:
    return Int8Linear(kernel, kernel.path)


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=draw(seed))


def by_hand(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """The rounded product, (.., outputs) in float64."""
    scale, step = weight.abs().amax(1) / 127, x.float().abs().amax(-1, keepdim=True) / 127
    steps, scales = torch.where(step > 0, step, 1.0), torch.where(scale > 0, scale, 1.0)
    whole = (weight / scales[:, None]).round().double()
    rows = (x.float() / steps).round().double()
    y = rows @ whole.T * step.double() * scale.double()
    return y if bias is None else y + bias.double()


@pytest.mark.parametrize(("inputs", "outputs"), [(64, 16), (256, 80), (960, 256), (1024, 144)])
@pytest.mark.parametrize("rows", [1, 15, 17, 100, 129])
def test_it_is_the_rounded_product(
    product: Int8Linear, kernel: Kernel, inputs: int, outputs: int, rows: int
) -> None:
    x, weight = random(rows, inputs).to(DTYPES[kernel.dtype]), random(outputs, inputs, seed=1)
    bias = random(outputs, seed=2)
    x[0] = 0
    weight[1] = 0
    y = product(x, Int8Weights.of(weight, bias))
    wanted = by_hand(x, weight, bias)
    # a value in the middle between two whole ones may go to either
    off = (y.double() - wanted).abs() / (wanted.abs().amax() + 1)
    assert off.max() < (2e-3 if DTYPES[kernel.dtype] is torch.float32 else 8e-3)
    assert off.mean() < (2e-5 if DTYPES[kernel.dtype] is torch.float32 else 1e-3)
    plain = F.linear(x.float(), weight, bias)
    assert (y.float() - plain).norm() / plain.norm() < 0.02


def test_a_row_is_the_same_among_others(product: Int8Linear, kernel: Kernel) -> None:
    x, weights = (
        random(200, 256).to(DTYPES[kernel.dtype]),
        Int8Weights.of(random(80, 256, seed=1), None),
    )
    x[7] *= 1000
    together = product(x, weights)
    for row in (0, 6, 8, 150, 199):
        assert torch.equal(product(x[row : row + 1], weights)[0], together[row])


def test_gelu_is_torch_s(product: Int8Linear, kernel: Kernel) -> None:
    x, weights = (
        random(50, 64).to(DTYPES[kernel.dtype]),
        Int8Weights.of(random(64, 64, seed=1), None),
    )
    wanted = F.gelu(product(x, weights).float())
    close = (
        {"atol": 2e-6, "rtol": 2e-6}
        if DTYPES[kernel.dtype] is torch.float32
        else {"atol": 0.02, "rtol": 0.01}
    )
    torch.testing.assert_close(product(x, weights, gelu=True).float(), wanted, **close)


def test_windows_that_overlap_are_taken_where_they_lie(product: Int8Linear, kernel: Kernel) -> None:
    conv = WindowLinear(64, 32, taps=3).to(DTYPES[kernel.dtype])
    x = random(2, 52, 64).to(DTYPES[kernel.dtype])
    plain = conv(x).float()
    round_to_int8([conv], product)
    assert conv.int8 is not None and not conv.weight.numel()
    y = conv(x).float()
    assert y.shape == (2, 50, 32) and 0 < (y - plain).norm() / plain.norm() < 0.02


@pytest.mark.parametrize("odd", [float("nan"), float("inf")])
def test_what_is_no_number_is_not_hidden(product: Int8Linear, kernel: Kernel, odd: float) -> None:
    x, weights = (
        random(3, 64).to(DTYPES[kernel.dtype]),
        Int8Weights.of(random(16, 64, seed=1), None),
    )
    x[1, 5] = odd
    y = product(x, weights)
    assert not y[1].isfinite().all() and y[[0, 2]].isfinite().all()


def test_layers_of_other_sizes_stay(product: Int8Linear) -> None:
    odd = PackableLinear(60, 64), PackableLinear(64, 8)
    round_to_int8(odd, product)
    assert all(layer.int8 is None for layer in odd)


def test_a_flow_in_int8_is_near_the_one_in_float32(kernel: Kernel) -> None:
    prompt, tokens, mels = some_prompt(30), some_tokens(60), []
    for int8 in (False, True):
        flow = placed(tiny_network(), FlowSettings(dtype=DTYPES[kernel.dtype], int8=int8))
        mel, _ = flow.step(tokens, flow.start(prompt).fork(), finalize=True)
        mels.append(mel)
    apart = (mels[1] - mels[0]).square().mean().sqrt() / mels[0].std()
    assert 0 < apart < 0.1


def test_what_cannot_be_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(EnvironmentProblem, match=r"multiplies no bytes beside torch\.float16"):
        int8_linear(torch.float16)
    monkeypatch.setenv("TRITONE_KERNELS", str(tmp_path))
    with pytest.raises(EnvironmentProblem, match="run `tritone kernels`"):
        int8_linear(DTYPES[RUNNING[0].dtype])
    with pytest.raises(EnvironmentProblem, match="a CPU alone"):
        placed(tiny_network(), FlowSettings(device="cuda", int8=True))

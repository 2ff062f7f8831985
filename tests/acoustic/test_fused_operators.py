"""Each fused operator equals torch's own, one after another; the kernels are interpreted."""

from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tritone.acoustic.activation import mish
from tritone.acoustic.fused import convolutions, pages, products, rows
from tritone.acoustic.rotary import turned

EPS = 1e-5
ROWS, FRAMES, WIDTH, OUT = 3, 19, 24, 40  # no power of two anywhere
BLOCK = 16  # the least that a kernel takes: all of these are several
HEADS, HEAD_DIM = 3, 6
NEWEST = torch.tensor([[2, 3, 4], [8, 9, 10]])


@pytest.fixture(autouse=True)
def no_gradients() -> Iterator[None]:
    with torch.inference_mode():
        yield


@pytest.fixture(autouse=True)
def several_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (convolutions, pages, products):
        for name, size in vars(module).items():
            if name[0] == "_" and name.isupper() and isinstance(size, int):
                monkeypatch.setattr(module, name, BLOCK)
    monkeypatch.setattr(rows, "_VALUES", 4 * BLOCK)


@pytest.fixture(params=[torch.float32, torch.bfloat16], ids=["fp32", "bf16"])
def dtype(request: pytest.FixtureRequest) -> torch.dtype:
    return request.param


class Draw:
    def __init__(self, dtype: torch.dtype) -> None:
        self.dtype, self._generator = dtype, torch.Generator().manual_seed(0)

    def __call__(self, *shape: int) -> Tensor:
        return torch.randn(shape, generator=self._generator).to(self.dtype)


@pytest.fixture
def draw(dtype: torch.dtype) -> Draw:
    return Draw(dtype)


def assert_near(found: Tensor, expected: Tensor) -> None:
    """expected: computed in float32 of the same values."""
    # sums of bfloat16 are rounded once or twice, which the interpreter does by cutting off
    share = 1e-5 if found.dtype == torch.float32 else 2**-6
    assert found.shape == expected.shape
    assert (found.float() - expected).abs().max() <= share * expected.abs().max()


def normed(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    return F.layer_norm(x.float(), x.shape[-1:], scale.float(), shift.float(), EPS)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    return F.linear(x.float(), weight.float(), None if bias is None else bias.float())


@pytest.mark.parametrize("activated", [False, True])
@pytest.mark.parametrize("gelu", [False, True])
def test_a_product_of_what_is_normed(draw: Draw, activated: bool, gelu: bool) -> None:
    x, scale, shift = draw(ROWS, FRAMES, WIDTH), draw(WIDTH), draw(WIDTH)
    weight, bias = draw(OUT, WIDTH), draw(OUT)
    y = normed(x, scale, shift)
    y = linear(mish(y) if activated else y, weight, bias)
    found = products.normed_product(x, scale, shift, EPS, weight, bias, activated, gelu)
    assert_near(found, F.gelu(y) if gelu else y)


def test_a_product_that_is_added(draw: Draw) -> None:
    x, weight, bias = draw(ROWS, FRAMES, 150), draw(WIDTH, 150), draw(WIDTH)
    residual = draw(ROWS, FRAMES, WIDTH)
    found = products.added_product(x, weight, bias, residual)
    assert_near(found, residual.float() + linear(x, weight, bias))


def test_a_projection_to_pages(draw: Draw) -> None:
    """Other pages than the newest stay as they are."""
    x, scale, shift = draw(ROWS, FRAMES, WIDTH), draw(WIDTH), draw(WIDTH)
    weight, kept = draw(3 * HEADS * HEAD_DIM, WIDTH), draw(12, FRAMES, HEADS, HEAD_DIM)
    written = kept.clone()
    query = products.normed_projection(x, scale, shift, EPS, weight, NEWEST, written)
    expected = linear(normed(x, scale, shift), weight).chunk(3, dim=2)
    assert_near(query, expected[0])
    assert_near(written[NEWEST].flatten(3), torch.stack(expected[1:]))
    written[NEWEST.flatten()] = kept[NEWEST.flatten()]
    assert torch.equal(written, kept)


def test_attention_over_pages(draw: Draw) -> None:
    """Of rows that see all, some and one of their frames; and twice as many rows as are given."""
    table = torch.arange(2 * 2 * ROWS * 2).flip(0).view(2, 2 * ROWS, 2)
    store, query = draw(table.numel(), FRAMES, HEADS, HEAD_DIM), draw(2 * ROWS, FRAMES, 18)
    plan = torch.tensor([[2 * FRAMES, 0], [20, 0], [1, 0]])
    found = pages.paged_attention(query, store, table.flatten(), plan[:, 0])
    for row in range(2 * ROWS):
        seen = plan[row % ROWS, 0]
        key, value = (store[part[row]].flatten(0, 1)[:seen].float() for part in table)
        heads = query[row].float().view(FRAMES, HEADS, HEAD_DIM)
        attended = F.scaled_dot_product_attention(*(x.transpose(0, 1) for x in (heads, key, value)))
        assert_near(found[row], attended.transpose(0, 1).flatten(1))


def test_turned_queries_and_keys(draw: Draw) -> None:
    projected, angle = draw(ROWS, FRAMES, 3 * HEADS * HEAD_DIM), draw(ROWS, FRAMES, 3).float()
    turn = torch.polar(torch.ones_like(angle), angle)
    expected = projected.float().view(ROWS, FRAMES, 3, HEADS, HEAD_DIM).clone()
    expected[:, :, :2, :1] = turned(expected[:, :, :2, :1].contiguous(), turn[:, :, None, None])
    store = draw(12, FRAMES, HEADS, HEAD_DIM)
    query = pages.turned_pages(projected, torch.view_as_real(turn), NEWEST, store)
    assert_near(query, expected[:, :, 0].flatten(2))
    assert_near(store[NEWEST], expected[:, :, 1:].permute(2, 0, 1, 3, 4))


class TestConvolution:
    """Two sequences of 34 frames, alone and as two chunks of 17."""

    taps, length = 3, 34

    @pytest.fixture(params=[2, 4])
    def x(self, request: pytest.FixtureRequest, draw: Draw) -> Tensor:
        return draw(request.param, 2 * self.length // request.param, WIDTH)

    @pytest.fixture(params=[32, 17])
    def ends(self, request: pytest.FixtureRequest) -> Tensor:
        return torch.arange(request.param, request.param + self.taps - 1)

    def expected(
        self, x: Tensor, before: Tensor, weight: Tensor, bias: Tensor, ends: Tensor
    ) -> tuple[Tensor, Tensor]:
        whole = torch.cat([before.float(), x.float().view(2, self.length, WIDTH)], dim=1)
        kernel = weight.float().view(OUT, self.taps, WIDTH).transpose(1, 2)
        y = F.conv1d(whole.mT, kernel, bias.float()).mT.reshape(*x.shape[:2], OUT)
        return y, whole[:, ends]

    @pytest.fixture
    def given(self, draw: Draw, ends: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        before = draw(2, self.taps - 1, 2 * WIDTH)[..., 5 : 5 + WIDTH]
        return before, draw(OUT, self.taps * WIDTH), draw(OUT), ends

    def test_alone(self, x: Tensor, given: tuple[Tensor, Tensor, Tensor, Tensor]) -> None:
        for found, expected in zip(
            convolutions.convolution(x, *given), self.expected(x, *given), strict=True
        ):
            assert_near(found, expected)

    def test_beside_a_product(
        self, draw: Draw, x: Tensor, given: tuple[Tensor, Tensor, Tensor, Tensor]
    ) -> None:
        weight, bias = draw(OUT, WIDTH), draw(OUT)
        y, beside, after = convolutions.convolution_beside(x, *given, weight, bias)
        expected = self.expected(x, *given)
        assert_near(y, expected[0])
        assert_near(beside, linear(x, weight, bias))
        assert_near(after, expected[1])

    def test_of_what_is_normed(
        self, draw: Draw, x: Tensor, given: tuple[Tensor, Tensor, Tensor, Tensor]
    ) -> None:
        scale, shift, moved = draw(WIDTH), draw(WIDTH), draw(1, 1, WIDTH)
        y, after = convolutions.normed_convolution(x, scale, shift, EPS, moved, *given)
        expected = self.expected(mish(normed(x, scale, shift)) + moved.float(), *given)
        assert_near(y, expected[0])
        assert_near(after, expected[1])


def test_norms_with_sums(draw: Draw) -> None:
    x, other = draw(ROWS, FRAMES, WIDTH), draw(ROWS, FRAMES, WIDTH)
    scale, shift, gate = draw(WIDTH), draw(WIDTH), draw(1, 1, WIDTH)
    assert_near(
        rows.mish_sum(x, scale, shift, EPS, other), mish(normed(x, scale, shift)) + other.float()
    )
    assert_near(rows.scaled_norm(x, scale, shift, EPS), normed(x, scale, shift))
    total, y = rows.gated_norm(x, gate, other, scale, shift, EPS)
    expected = x.float() + gate.float() * other.float()
    assert_near(total, expected)
    assert_near(y, normed(expected, scale, shift))

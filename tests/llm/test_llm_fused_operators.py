"""Each fused operator of a language model equals torch's own; the kernels are interpreted."""

from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tritone.llm.torch import fused

ROWS, WIDTH = 3, 40  # no power of two anywhere
HEADS, GROUP, DIM, POSITIONS = 2, 3, 12, 51
LIMIT = POSITIONS - 1
SLOTS, LENGTHS = torch.tensor([2, 0, 1, 0]), torch.tensor([0, 17, LIMIT - 1, LIMIT])
BLOCK = 16


@pytest.fixture(autouse=True)
def no_gradients() -> Iterator[None]:
    with torch.inference_mode():
        yield


@pytest.fixture(autouse=True)
def several_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_COLUMNS", "_KEYS"):
        monkeypatch.setattr(fused, name, BLOCK)


@pytest.fixture(params=[torch.float32, torch.bfloat16], ids=["fp32", "bf16"])
def dtype(request: pytest.FixtureRequest) -> torch.dtype:
    return request.param


def draw(dtype: torch.dtype, *shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(sum(shape))
    return torch.randn(shape, generator=generator).to(dtype)


def assert_near(found: Tensor, expected: Tensor) -> None:
    """expected: computed in float32 of the same values."""
    share = 1e-5 if found.dtype == torch.float32 else 2**-6
    assert found.shape == expected.shape
    assert (found.float() - expected).abs().max() <= share * expected.abs().max()


def test_a_norm(dtype: torch.dtype) -> None:
    x, weight = draw(dtype, ROWS, WIDTH), draw(dtype, WIDTH)
    expected = F.rms_norm(x.float(), (WIDTH,), weight.float(), 1e-6)
    assert_near(fused.rms_norm(x, weight, 1e-6), expected)


def test_a_gate(dtype: torch.dtype) -> None:
    given = draw(dtype, ROWS, 2 * WIDTH)
    gate, up = given.float().chunk(2, dim=1)
    assert_near(fused.gated_silu(given), F.silu(gate) * up)


def test_heads_that_are_turned_and_kept(dtype: torch.dtype) -> None:
    """Other positions stay as they are."""
    rows, queries = len(SLOTS), HEADS * GROUP
    projected = draw(dtype, rows, (queries + 2 * HEADS) * DIM)
    angle = draw(torch.float32, POSITIONS, DIM // 2)
    kept = draw(dtype, 2, 4, HEADS, POSITIONS, DIM)
    cache = kept.clone()
    query = fused.turned_heads(projected, angle.cos(), angle.sin(), SLOTS, LENGTHS, cache)
    heads = projected.float().view(rows, -1, DIM)
    turn = torch.polar(torch.ones_like(angle), angle)[LENGTHS][:, None]
    pairs = torch.complex(*heads[:, : queries + HEADS].chunk(2, dim=2)) * turn
    turned = torch.cat([pairs.real, pairs.imag], dim=2)
    assert_near(query, turned[:, :queries])
    assert_near(cache[0, SLOTS, :, LENGTHS], turned[:, queries:])
    assert_near(cache[1, SLOTS, :, LENGTHS], heads[:, queries + HEADS :])
    cache[:, SLOTS, :, LENGTHS] = kept[:, SLOTS, :, LENGTHS]
    assert torch.equal(cache, kept)


@pytest.mark.parametrize("splits", [1, 3, 7])
def test_attention_over_slots(
    dtype: torch.dtype, splits: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of rows that see one position, some and all, and one that stands for nothing. Behind what
    they see there are values that are not numbers."""
    rows = len(SLOTS)
    monkeypatch.setattr(fused, "_PROGRAMS", splits * rows * HEADS)
    query, cache = draw(dtype, rows, HEADS * GROUP, DIM), draw(dtype, 2, 4, HEADS, POSITIONS, DIM)
    for slot, length in list(zip(SLOTS, LENGTHS, strict=True))[:-1]:
        cache[:, slot, :, length + 1 :] = torch.nan
    cache[:, 3] = torch.nan
    found = fused.slot_attention(query, SLOTS, LENGTHS, cache, LIMIT)
    parts, _ = fused.split_attention(query, SLOTS, LENGTHS, cache, LIMIT)
    assert len(parts) == splits
    for row in range(rows - 1):
        key, value = cache[:, SLOTS[row], :, : LENGTHS[row] + 1].float()
        asked = query[row].float().view(HEADS, GROUP, DIM)
        expected = F.scaled_dot_product_attention(asked, key, value)
        assert_near(found[row], expected.flatten(0, 1))
    assert not found[-1].any()

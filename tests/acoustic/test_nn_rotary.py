"""Rotary positions, as complex numbers and as the plain products that graphs are exported with."""

import pytest
import torch

from tritone.acoustic.rotary import rotary_frequencies, turned, turns


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("heads", [slice(None), slice(0, 1)], ids=["all heads", "the first"])
def test_both_ways_give_the_same_numbers(dtype: torch.dtype, heads: slice) -> None:
    x = torch.randn(2, 30, 3, 4, 12, generator=torch.Generator().manual_seed(0)).to(dtype)
    positions = torch.arange(30)[None] + torch.tensor([[0], [700]])
    cosine, sine = turns(positions, rotary_frequencies(12))[:, :, :, None, None].unbind()
    part = x[:, :, :2, heads]  # views whose neighbours lie apart
    with torch.no_grad():
        fast = turned(part, (cosine, sine))
    plain = turned(part.detach().clone().requires_grad_(), (cosine, sine))
    tolerance = 1e-6 if dtype == torch.float32 else 0.02  # a last bit of the largest
    torch.testing.assert_close(fast, plain.detach(), atol=tolerance, rtol=0)


def test_what_two_frames_have_in_common_depends_on_their_distance_alone() -> None:
    query, key = torch.randn(2, 16, generator=torch.Generator().manual_seed(0))
    frequencies = rotary_frequencies(16)

    def score(one: int, other: int) -> torch.Tensor:
        both = torch.stack([query, key])[None]
        turn = turns(torch.tensor([[one, other]]), frequencies)
        placed = turned(both, (turn[0], turn[1]))[0]
        return placed[0] @ placed[1]

    assert torch.allclose(score(3, 8), score(103, 108), atol=1e-4)
    assert not torch.allclose(score(3, 8), score(3, 9), atol=1e-2)
    assert torch.allclose(score(5, 5), query @ key, atol=1e-5)

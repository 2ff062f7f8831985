"""Codes, their ternary digits, and the quantiser between them."""

import torch

from training.fsq import CODES, DIGITS, codes_of, corrupt, digits_of, quantise


def test_codes_and_digits_are_inverses() -> None:
    codes = torch.arange(CODES)
    digits = digits_of(codes)
    assert CODES == 6561 and digits.shape == (6561, DIGITS)
    assert set(digits.flatten().tolist()) == {0, 1, 2}
    assert torch.equal(codes_of(digits.float() - 1), codes)


def test_the_lowest_digit_comes_first() -> None:
    assert digits_of(torch.tensor(1 + 2 * 3 + 3**7)).tolist() == [1, 2, 0, 0, 0, 0, 0, 1]


def test_quantise_gives_ternary_digits() -> None:
    hidden = torch.linspace(-30, 30, 4001).repeat_interleave(DIGITS).view(-1, DIGITS)
    assert set(quantise(hidden).flatten().tolist()) == {-1.0, 0.0, 1.0}
    # Rounding turns where tanh reaches a half: at atanh(0.5) = 0.549.
    assert quantise(torch.tensor([-0.56, -0.54, 0.0, 0.54, 0.56])).tolist() == [-1, 0, 0, 0, 1]


def test_gradients_pass_straight_through() -> None:
    hidden = torch.linspace(-2, 2, 41, requires_grad=True)
    (gradient,) = torch.autograd.grad(quantise(hidden).sum(), hidden)
    torch.testing.assert_close(gradient, 1 - hidden.detach().tanh() ** 2, rtol=2e-3, atol=1e-6)


def test_corrupt_replaces_the_share_asked_for() -> None:
    torch.manual_seed(0)
    digits = torch.ones(20000, DIGITS)
    assert torch.equal(corrupt(digits, 0.0), digits)
    found = corrupt(digits, 0.3)
    assert set(found.flatten().tolist()) == {-1.0, 0.0, 1.0}
    assert abs(float((found != digits).float().mean()) - 0.3 * 2 / 3) < 0.005  # a third stay

"""Finite scalar quantisation: eight ternary digits a token, 3^8 = 6561 codes (CosyVoice2)."""

import torch
from torch import Tensor

DIGITS, LEVELS = 8, 3
CODES = LEVELS**DIGITS
BOUND = 0.9990000128746033  # keeps tanh inside (-1, 1), as in the released tokenizer


def quantise(hidden: Tensor) -> Tensor:
    """(..., 8) real values -> digits in {-1, 0, 1}; gradients pass straight through."""
    bounded = hidden.tanh() * BOUND
    return bounded + (bounded.round() - bounded).detach()


def codes_of(digits: Tensor) -> Tensor:
    """(..., 8) digits in {-1, 0, 1} -> (...) codes 0 .. 6560, lowest digit first."""
    powers = LEVELS ** torch.arange(DIGITS, device=digits.device)
    return ((digits.round().long() + 1) * powers).sum(dim=-1)


def digits_of(codes: Tensor) -> Tensor:
    """(...) codes -> (..., 8) digits in {0, 1, 2}."""
    powers = LEVELS ** torch.arange(DIGITS, device=codes.device)
    return codes[..., None] // powers % LEVELS


def corrupt(digits: Tensor, share: float) -> Tensor:
    """Replace a share of the digits at random, so that a decoder forgives wrong codes."""
    random = torch.randint_like(digits, LEVELS) - 1
    return torch.where(torch.rand_like(digits) < share, random, digits)

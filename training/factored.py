"""Tables whose rows share what they have in common.

A released checkpoint has plain tables. In training each is a fixed description of its rows times a
small learned matrix, plus a residual that starts at zero, so that rows of codes with the same
digits, or of text tokens with the same phonemes, learn together. The export folds them.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.fsq import CODES, DIGITS, LEVELS, digits_of


class FactoredTable(nn.Module):
    """rows = features @ factors + residual."""

    features: Tensor

    def __init__(self, features: Tensor, width: int, scale: float) -> None:
        super().__init__()
        self.register_buffer("features", features, persistent=False)
        per_row = features.abs().sum(dim=1).mean()
        std = scale / math.sqrt(float(per_row))
        self.factors = nn.Parameter(torch.randn(features.shape[1], width) * std)
        self.residual = nn.Parameter(torch.zeros(features.shape[0], width))

    def forward(self) -> Tensor:
        return self.features @ self.factors + self.residual


def code_features(extra: int = 0, codes: Tensor | None = None) -> Tensor:
    """(6561 + extra, f): single digits, neighbouring pairs and both halves of each code, one-hot.

    codes: those to describe, all by default. extra: rows after them that share nothing, such as
    the end of speech.
    """
    digits = digits_of(torch.arange(CODES) if codes is None else codes)
    places = list(range(DIGITS))
    groups = [[i] for i in places] + [[i, i + 1] for i in places[:-1]] + [places[:4], places[4:]]
    parts = []
    for group in groups:
        index = (digits[:, group] * LEVELS ** torch.arange(len(group))).sum(dim=1)
        parts.append(F.one_hot(index, LEVELS ** len(group)))
    rows = torch.cat(parts, dim=1).float()
    shared = F.pad(rows, (0, extra, 0, extra))
    shared[len(rows) :, rows.shape[1] :] = torch.eye(extra)
    return shared

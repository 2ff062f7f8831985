"""Released state dicts under other names: renaming, and weight norm folded."""

import re
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from tritone.errors import ModelDirectoryError

# Pattern and replacement, as `re.sub` takes them.
Rules = tuple[tuple[str, str | Callable[[re.Match[str]], str]], ...]


def rename(state: Mapping[str, Tensor], rules: Rules) -> dict[str, Tensor]:
    """Apply every rule in order to every key."""
    renamed = {}
    for key, value in state.items():
        for pattern, replacement in rules:
            key = re.sub(pattern, replacement, key)
        renamed[key] = value
    return renamed


def fold_weight_norm(state: Mapping[str, Tensor], file: str) -> dict[str, Tensor]:
    """Replace each weight-norm pair by the weight it stands for: g * v / ||v||.

    The norm runs over all dimensions but the first, for transposed convolutions too. Accepts the
    parametrisation names (`parametrizations.weight.original0/1`) and the older `weight_g/_v`.
    Raises ModelDirectoryError that names the file for a pair that does not fit together.
    """
    folded = {}
    for key, value in state.items():
        key = key.replace("parametrizations.weight.original0", "weight_g")
        folded[key.replace("parametrizations.weight.original1", "weight_v")] = value
    for key in [k for k in folded if k.endswith(".weight_v")]:
        stem = key.removesuffix("_v")
        direction, magnitude = folded.pop(key), folded.pop(stem + "_g", None)
        norms = (len(direction),) + (1,) * (direction.dim() - 1)
        if magnitude is None or magnitude.shape != norms:
            found = "none" if magnitude is None else str(list(magnitude.shape))
            raise ModelDirectoryError(
                f"{file}: weight norm of {stem} needs a magnitude of {list(norms)}, has {found}"
            )
        folded[stem] = torch._weight_norm(direction, magnitude, 0)
    return folded

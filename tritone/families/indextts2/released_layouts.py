"""What released layers have in common that ours have in another layout."""

import torch
from torch import Tensor

_QUERY = ".self_attn.linear_q."


def matrices_of_pointwise(state: dict[str, Tensor]) -> None:
    """Convolutions of one frame as the matrices that they are."""
    for key in [key for key in state if ".pointwise_conv" in key and key.endswith(".weight")]:
        state[key] = state[key].squeeze(-1)


def join_projections(state: dict[str, Tensor]) -> None:
    """The projections to queries, keys and values as one, where all three are there and fit."""
    for first in [key for key in state if _QUERY in key]:
        parts = [first.replace(_QUERY, f".self_attn.linear_{part}.") for part in "qkv"]
        found = [state[part] for part in parts if part in state and state[part].dim()]
        if len(found) == len(parts) and len({part.shape[1:] for part in found}) == 1:
            for part in parts:
                del state[part]
            state[first.replace(_QUERY, ".self_attn.query_key_value.")] = torch.cat(found)

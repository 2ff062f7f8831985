"""What a computation asks of a device: one launch for each operator that is no view."""

from collections import Counter
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

_SYNCHRONISES = {"_local_scalar_dense", "nonzero", "masked_select", "equal", "lift_fresh"}
# of one kernel each on a GPU, but for a boolean mask, which is made a bias first
_WHOLE = {"linear", "layer_norm", "scaled_dot_product_attention"}


class Operators(TorchDispatchMode):
    """Counts launches by name while it is entered.

    synchronised: operators that bring values to or from the host, of what has none itself.
    """

    def __init__(self) -> None:
        super().__init__()
        self.launched: Counter[str] = Counter()
        self.synchronised: Counter[str] = Counter()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        name = func._schema.name.split("::")[1]
        if name not in _WHOLE:
            with self:
                parts = func.decompose(*args, **(kwargs or {}))
            if parts is not NotImplemented:
                return parts
        aliases = [value.alias_info for value in func._schema.returns]
        is_view = name == "_unsafe_view" or any(a and not a.is_write for a in aliases)
        if name in _SYNCHRONISES or _from_host(args, kwargs):
            self.synchronised[name] += 1
        elif not is_view:
            self.launched[name] += 1
        return func(*args, **(kwargs or {}))


def _from_host(args: Any, kwargs: dict[str, Any] | None) -> bool:
    """Whether an operator on an outline is given values of this machine."""
    tensors = [x for x in tree_leaves((args, kwargs or {})) if isinstance(x, torch.Tensor)]
    target = (kwargs or {}).get("device")
    outlined = any(x.is_meta for x in tensors) or (target and torch.device(target).type == "meta")
    return bool(outlined) and not all(x.is_meta for x in tensors)

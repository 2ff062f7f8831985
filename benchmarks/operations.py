"""Floating-point operations of what torch runs, counted from its shapes."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry, sdpa_flop_count

from benchmarks.peaks import Peaks
from tritone.acoustic.attention import fused_by_span, using

_FUSED = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
_ATTENTION = (_FUSED, torch.ops.aten.bmm, torch.ops.aten.baddbmm)


def _fused(query: Tensor, key: Tensor, value: Tensor, *_: Any, **__: Any) -> int:
    return int(sdpa_flop_count(query.shape, key.shape, value.shape))  # type: ignore[no-untyped-call]


def _packed(x: Tensor, *_: Any, out_val: Tensor, **__: Any) -> int:
    return 2 * out_val.numel() * x.shape[-1]


# torch's own formulas, and what they lack
_FORMULAS: dict[Any, Callable[..., int]] = {
    **flop_registry,
    _FUSED: _fused,
    torch.ops.mkldnn._linear_pointwise: _packed,  # of a packed layer that adds to something
}


@dataclass
class Operations:
    """By precision: of attention, which are the products of batches, and of all other products and
    convolutions. What is done to single values is not counted."""

    products: Counter[torch.dtype] = field(default_factory=Counter)
    attention: Counter[torch.dtype] = field(default_factory=Counter)

    @property
    def all(self) -> Counter[torch.dtype]:
        return self.products + self.attention


def least_seconds(operations: Mapping[torch.dtype, int], peaks: Peaks) -> float:
    """That they take where each runs at the peak of its precision."""
    return sum(peaks.seconds_of_products(count, dtype) for dtype, count in operations.items())


def limit_of(operations: Mapping[torch.dtype, int], peaks: Peaks) -> str:
    """The peaks that they are held against, in words."""
    names = sorted({peaks.name_for(dtype) for dtype, count in operations.items() if count})
    return f"{' and '.join(names)} product" if names else ""


@contextmanager
def counted() -> Iterator[Operations]:
    """Counts what this thread runs in the block; the numbers stand when it ends.

    Linear layers are counted by what they are asked for: torch may do them as a product of batches,
    and packed ones fill their input up with rows that nobody wants. Attention goes torch's way
    here: of other kernels torch knows nothing. Inside `torch.inference_mode` as well as outside.
    """
    found = Operations()
    counting = _Counting(found)

    def enter(module: nn.Module, _: Any) -> None:
        counting.in_linear = isinstance(module, nn.Linear)

    def leave(module: nn.Module, _: Any, output: Tensor) -> None:
        counting.in_linear = False
        if isinstance(module, nn.Linear):
            found.products[output.dtype] += 2 * output.numel() * module.in_features

    hooks = register_module_forward_pre_hook(enter), register_module_forward_hook(leave)
    try:
        with counting, using(torch.bfloat16, fused_by_span), using(torch.float32, fused_by_span):
            yield found
    finally:
        for hook in hooks:
            hook.remove()


class _Counting(TorchDispatchMode):  # type: ignore[no-untyped-call]
    in_linear = False

    def __init__(self, found: Operations) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._found = found

    def __torch_dispatch__(
        self, function: Any, types: Any, arguments: tuple[Any, ...] = (), more: Any = None
    ) -> Any:
        operator, more = function._overloadpacket, more or {}
        formula = _FORMULAS.get(operator)
        if self.in_linear:
            return function(*arguments, **more)
        if formula is None:
            with self:  # in inference mode an operator comes as it was called, not in its parts
                result = function.decompose(*arguments, **more)
            return function(*arguments, **more) if result is NotImplemented else result
        result = function(*arguments, **more)
        kind = self._found.attention if operator in _ATTENTION else self._found.products
        kind[arguments[0].dtype] += formula(*arguments, **more, out_val=result)
        return result

"""How a fused operator is made: one call for torch, whatever it does inside.

So CUDA graphs, counts of operators and outlines on the device "meta" have it as one. torch's
`custom_op` would do that too, and import torch's compiler at the first call.
"""

from collections.abc import Callable
from functools import cache
from importlib import import_module
from typing import Any, ParamSpec, TypeVar, cast

import torch
from torch import Tensor
from torch.library import Library, infer_schema

P = ParamSpec("P")
ResultT = TypeVar("ResultT")

_LIBRARY = Library("tritone", "FRAGMENT")  # type: ignore[no-untyped-call]
_KERNELS = "tritone.acoustic.fused.kernels"


def operator(*writes: str) -> Callable[[Callable[P, ResultT]], Callable[P, ResultT]]:
    """Make a function of tensors and numbers an operator; writes: the arguments that it changes.

    What it returns is new memory. It runs on every device, its kernels by `launch`.
    """

    def made(function: Callable[P, ResultT]) -> Callable[P, ResultT]:
        name = function.__name__
        _LIBRARY.define(name + infer_schema(function, mutates_args=writes))  # type: ignore[no-untyped-call]
        _LIBRARY.impl(name, function, "CompositeExplicitAutograd")  # type: ignore[no-untyped-call]
        return cast(Callable[P, ResultT], getattr(torch.ops.tritone, name).default)

    return made


def launch(kernel: str, grid: tuple[int, ...], *given: Tensor | float, **constants: float) -> None:
    """Run a kernel, "module.name" of the folder of kernels; an outline has nothing to run on."""
    if not any(isinstance(each, Tensor) and each.is_meta for each in given):
        _kernel(kernel)[grid](*given, **constants)


@cache
def _kernel(name: str) -> Any:
    module, function = name.split(".")
    return getattr(import_module(f"{_KERNELS}.{module}"), function)

"""How a fused operator is made: one call for torch, whatever it does inside.

So CUDA graphs, counts of operators and outlines on the device "meta" have it as one. torch's
`custom_op` would do that too, and import torch's compiler at the first call. Kernels in the
language of the package `triton` are imported when the first of them runs.
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

LEAST = 16  # values of a block, which is what matrix units want

_LIBRARY = Library("tritone", "FRAGMENT")  # type: ignore[no-untyped-call]


def operator(*writes: str) -> Callable[[Callable[P, ResultT]], Callable[P, ResultT]]:
    """Make a function of tensors and numbers an operator; writes: the arguments that it changes.

    What it returns is new memory. It runs on every device, its kernels by a `Launcher`.
    """

    def made(function: Callable[P, ResultT]) -> Callable[P, ResultT]:
        name = function.__name__
        _LIBRARY.define(name + infer_schema(function, mutates_args=writes))  # type: ignore[no-untyped-call]
        _LIBRARY.impl(name, function, "CompositeExplicitAutograd")  # type: ignore[no-untyped-call]
        return cast(Callable[P, ResultT], getattr(torch.ops.tritone, name).default)

    return made


class Launcher:
    """Runs the kernels of a package."""

    def __init__(self, package: str) -> None:
        self._package = package

    def __call__(
        self, kernel: str, grid: tuple[int, ...], *given: Tensor | float, **constants: float
    ) -> None:
        """Run "module.name" of the package; an outline has nothing to run on."""
        if not any(isinstance(each, Tensor) and each.is_meta for each in given):
            self.kernel(kernel)[grid](*given, **constants)

    def kernel(self, name: str) -> Any:
        return _kernel(f"{self._package}.{name}")


@cache
def _kernel(name: str) -> Any:
    module, _, function = name.rpartition(".")
    return getattr(import_module(module), function)


def block(size: int, most: int | None = None) -> int:
    """A power of two that holds `size` values, LEAST or more, or `most` of them at a time. Which
    is best was not measured."""
    whole = max(LEAST, 1 << (size - 1).bit_length())
    return whole if most is None else min(whole, most)


def count(size: int, block: int) -> int:
    """Blocks of this size that hold `size` values."""
    return -(-size // block)

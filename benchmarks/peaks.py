"""What one thread of this machine can do at best: bytes read and products, for each second of CPU.

Others may share the machine, so the best of some rounds counts: a peak that was taken too low would
flatter everything that is held against it.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from functools import partial
from typing import Any

import torch
from torch import Tensor

from benchmarks.figures import Figure, figure

SIDE = 1024  # of the square matrices
MEGABYTES = 256  # that are read: more than any cache
_UNITS = {"read": "GB/s", "fp32": "GFLOP/s", "bf16": "GFLOP/s", "int8": "GOP/s"}
_TOLD = {
    "read": "memory read",
    "fp32": "fp32 product",
    "bf16": "bf16 product",
    "int8": "int8 product",
}
# what has no peak of its own is held against float32's: float64 has no more
_NAMES = {torch.bfloat16: "bf16", torch.int8: "int8"}


@dataclass(frozen=True)
class Peaks:
    """read: GB/s of memory. fp32, bf16: GFLOP/s of a product; int8: GOP/s, None where torch has no
    such product here."""

    read: float
    fp32: float
    bf16: float
    int8: float | None

    def seconds_of_products(self, operations: int, dtype: torch.dtype) -> float:
        """That so many operations take at least."""
        return operations / (1e9 * float(getattr(self, self.name_for(dtype))))

    def name_for(self, dtype: torch.dtype) -> str:
        """Of the peak that products of a precision are held against."""
        name = _NAMES.get(dtype, "fp32")
        return name if getattr(self, name) is not None else "fp32"

    def seconds_of_reading(self, count: int) -> float:
        """That so many bytes take at least."""
        return count / (1e9 * self.read)

    def figures(self) -> list[Figure]:
        known = {f.name: getattr(self, f.name) for f in fields(self)}
        return [
            figure(f"peak, {_TOLD[name]}", _UNITS[name], [value])
            for name, value in known.items()
            if value is not None
        ]


@torch.inference_mode()
def measured(rounds: int = 5, side: int = SIDE, megabytes: int = MEGABYTES) -> Peaks:
    """read: torch sums a float32 vector, or multiplies a matrix of as many bytes with a vector.
    Products: of square matrices, by torch's matmul or with a weight that oneDNN has packed; int8
    with oneDNN alone. Of ways and rounds the best."""
    with one_thread():
        read = max(_rate(megabytes * 1e6, way, rounds) for way in _readers(megabytes))
        operations = 2.0 * side**3
        fp32, bf16 = (
            max(_rate(operations, way, rounds) for way in _products(side, dtype))
            for dtype in (torch.float32, torch.bfloat16)
        )
        int8 = [_rate(operations, way, rounds) for way in _int8_products(side)]
    return Peaks(read, fp32, bf16, max(int8, default=None))


@contextmanager
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _rate(amount: float, way: Callable[[], Any], rounds: int) -> float:
    """Billions of `amount` for each second of CPU, in the best round."""
    way()  # memory is taken, and a kernel prepared
    best = float("inf")
    for _ in range(rounds):
        begin = time.process_time()
        way()
        best = min(best, time.process_time() - begin)
    return amount / 1e9 / max(best, 1e-9)  # a clock may not move in a very short call


def _readers(megabytes: int) -> list[Callable[[], Tensor]]:
    columns = 1000
    matrix = torch.ones(250 * megabytes, columns)
    return [matrix.sum, partial(torch.mv, matrix, torch.ones(columns))]


def _products(side: int, dtype: torch.dtype) -> list[Callable[[], Tensor]]:
    one, other = torch.randn(2, side, side).to(dtype)
    packed = torch.ops.mkldnn._reorder_linear_weight(other, side)
    product = torch.ops.mkldnn._linear_pointwise
    return [partial(torch.matmul, one, other), partial(product, one, packed, None, "none", [], "")]


def _int8_products(side: int) -> list[Callable[[], Tensor]]:
    """Those that work here."""
    one, other = torch.randint(-100, 100, (2, side, side), dtype=torch.int8)

    def packed() -> Callable[[], Tensor]:
        weight = torch.ops.onednn.qlinear_prepack(other, [side, side])
        scales, zeros = torch.ones(side), torch.zeros(side, dtype=torch.int32)
        how: tuple[Any, ...]
        how = (1.0, 0, weight, scales, zeros, None, 1.0, 0, torch.float32, "none", [], "")
        return partial(torch.ops.onednn.qlinear_pointwise, one.abs().to(torch.uint8), *how)

    found = []
    for make in (lambda: partial(torch._int_mm, one, other), packed):
        try:
            way = make()
            way()
        except (RuntimeError, AttributeError):  # neither is promised by torch
            continue
        found.append(way)
    return found

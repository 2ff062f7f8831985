"""The kernels of attention for tests: built once, compared with softmax in float64."""

import math
from collections.abc import Sequence
from functools import reduce
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tritone.acoustic.cache import Span
from tritone.acoustic.kernels.native import NativeAttention
from tritone.compute import DTYPES
from tritone.errors import EnvironmentProblem
from tritone.resources.kernels.build import KERNELS, Kernel, build_all, compiler

NAMES = ("amx", "avx512-bf16", "avx512")
SHORT = torch.bfloat16


def kernel(name: str) -> Kernel:
    return next(each for each in KERNELS if each.name == name)


def dtype_of(name: str) -> torch.dtype:
    dtype = DTYPES[kernel(name).dtype]
    assert dtype is not None
    return dtype


def build_into(folder: Path) -> None:
    if compiler() is None:
        pytest.skip("no C compiler is here")
    try:
        build_all(folder)
    except EnvironmentProblem as problem:
        if any(each.runs_here for each in KERNELS):
            raise
        pytest.skip(str(problem))


def native(name: str, folder: Path) -> NativeAttention:
    """Skips where this processor, or the system on it, does not run it."""
    if not kernel(name).runs_here:
        pytest.skip(f"this processor lacks {kernel(name).lacking}")
    try:
        return NativeAttention(kernel(name), kernel(name).path_in(folder))
    except EnvironmentProblem as problem:
        if "denies" not in str(problem):
            raise
        pytest.skip(str(problem))


def drawn(shape: Sequence[int], seed: int, dtype: torch.dtype, size: float = 1.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (size * torch.randn(*shape, generator=generator)).to(dtype)


def spans_of(
    frames: Sequence[int],
    shape: tuple[int, int, int],
    dtype: torch.dtype,
    *,
    seed: int = 0,
    values: float = 1.0,
    guard: int = 0,
) -> list[Span]:
    """Of so many frames each, for (rows, heads, head_dim). guard: frames of NaN around each."""
    rows, heads, width = shape
    spans = []
    for index, count in enumerate(frames):
        buffer = torch.full((2, rows, heads, count + 2 * guard, width), math.nan, dtype=dtype)
        inner = buffer[:, :, :, guard : guard + count]
        inner[0] = drawn(inner.shape[1:], seed + 2 * index, dtype)
        inner[1] = drawn(inner.shape[1:], seed + 2 * index + 1, dtype, values)
        spans.append(Span(inner[0], inner[1]))
    return spans


def exact(query: Tensor, spans: Sequence[Span]) -> Tensor:
    """Softmax attention in float64."""
    key, value = (
        torch.cat([part.double() for part in parts], dim=2)
        for parts in ([s.key for s in spans], [s.value for s in spans])
    )
    return torch.softmax(scores(query, key), dim=-1) @ value


def scores(query: Tensor, key: Tensor) -> Tensor:
    return query.double() @ key.double().transpose(-2, -1) / math.sqrt(query.shape[-1])


def error(found: Tensor, expected: Tensor) -> float:
    """Of the whole, relative."""
    return float((found.double() - expected).norm() / expected.norm())


class Guarded:
    """Stands in for `Tensor.new_empty`: what it gives lies within NaN, which must stay."""

    MARGIN = 256

    def __init__(self) -> None:
        self.buffers: list[Tensor] = []

    def __call__(self, like: Tensor, *shape: int) -> Tensor:
        size = reduce(lambda a, b: a * b, shape)
        buffer = torch.full((size + 2 * self.MARGIN,), math.nan, dtype=like.dtype)
        self.buffers.append(buffer)
        return buffer[self.MARGIN : -self.MARGIN].view(shape)

    def assert_untouched(self) -> None:
        for buffer in self.buffers:
            ends = torch.cat([buffer[: self.MARGIN], buffer[-self.MARGIN :]])
            assert ends.isnan().all() and not buffer[self.MARGIN : -self.MARGIN].isnan().any()

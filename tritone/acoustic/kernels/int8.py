"""Linear layers with int8 weights by a kernel in C: see linear.c in `tritone/resources/kernels`."""

import ctypes
import os
import struct
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from tritone.compute import DTYPES
from tritone.errors import EnvironmentProblem
from tritone.resources.kernels.build import INT8_KERNELS, Kernel
from tritone.resources.kernels.library import opened

PANEL = 64  # outputs whose weights lie together
_WORD = 4  # bytes that are multiplied at once
_OUTPUT_STEP = 16
_LARGEST, _MIDDLE = 127, 128  # of a weight; what inputs are moved up by
_CALL = struct.Struct("=14q")  # `struct call`


@dataclass(frozen=True)
class Int8Weights:
    """Of a layer, as the kernel reads them. packed (outputs * inputs,) int8; scales, offsets, bias
    (outputs,): see linear.c."""

    packed: Tensor
    scales: Tensor
    offsets: Tensor
    bias: Tensor | None

    @classmethod
    def of(cls, weight: Tensor, bias: Tensor | None) -> "Int8Weights":
        """Of weight (outputs, inputs) and bias (outputs,) in any precision, rounded to the nearest
        of 255 values for each output."""
        weight = weight.float()
        scales = weight.abs().amax(1) / _LARGEST
        steps = torch.where(scales > 0, scales, 1.0)[:, None]
        whole = (weight / steps).round().clamp(-_LARGEST, _LARGEST).to(torch.int8)
        panels = [
            part.reshape(len(part), -1, _WORD).transpose(0, 1).flatten()
            for part in torch.split(whole, PANEL)
        ]
        offsets = _MIDDLE * whole.sum(1, dtype=torch.int32)
        kept = None if bias is None else bias.float().contiguous()
        return cls(torch.cat(panels), scales, offsets, kept)


class Int8Linear:
    """Products with int8 weights; inputs are scaled row by row, so that a row is the same among
    others. Safe to use from several threads."""

    def __init__(self, kernel: Kernel, path: Path) -> None:
        """Raises EnvironmentProblem as `opened`."""
        self.name, self._kernel = kernel.name, kernel
        self._multiply = opened(path).tritone_linear
        self._multiply.argtypes = [ctypes.c_char_p]

    def accepts(self, outputs: int, inputs: int) -> bool:
        """Whether it multiplies a layer of this size."""
        return inputs % self._kernel.width_step == 0 and outputs % _OUTPUT_STEP == 0

    def __call__(self, x: Tensor, weights: Int8Weights, *, gelu: bool = False) -> Tensor:
        """x (rows, n, inputs) or (n, inputs) in the kernel's precision, whose inputs lie together
        -> as many rows of outputs, through GELU if it is asked for."""
        assert x.dtype is DTYPES[self._kernel.dtype] and x.stride(-1) == 1 and x.dim() in (2, 3)
        frames, inputs = x.shape[-2:]
        rows = x.shape[0] if x.dim() == 3 else 1
        to_row, to_frame = x.stride(0) if rows > 1 else 0, x.stride(-2)
        if to_row == frames * to_frame:
            rows, frames = 1, rows * frames
        outputs, bias = len(weights.scales), weights.bias
        y = x.new_empty(*x.shape[:-1], outputs)
        size = x.element_size()
        call = _CALL.pack(
            *(x.data_ptr(), to_row * size, to_frame * size, y.data_ptr(), outputs * size),
            *(rows, frames, inputs, outputs, weights.packed.data_ptr()),
            *(weights.scales.data_ptr(), weights.offsets.data_ptr()),
            *(0 if bias is None else bias.data_ptr(), int(gelu)),
        )
        if self._multiply(call):
            raise MemoryError(f"a product of {rows * frames} rows of {inputs}")
        return y


def int8_linear(dtype: torch.dtype) -> Int8Linear:
    """The best that is built for inputs of this precision; raises EnvironmentProblem where none is
    or can be."""
    usable = [k for k in INT8_KERNELS if DTYPES[k.dtype] is dtype and k.runs_here]
    if not usable:
        raise EnvironmentProblem(
            f"int8 was asked for, and this processor multiplies no bytes beside {dtype}: it needs "
            "AVX-512 VNNI; take another dtype"
        )
    problems = ["it has no kernel yet: run `tritone kernels`"]
    for kernel in usable:
        if os.path.exists(kernel.path):  # pathlib raises where the folder is closed to this user
            try:
                return Int8Linear(kernel, kernel.path)
            except EnvironmentProblem as problem:
                problems.insert(0, str(problem))
    raise EnvironmentProblem(f"int8 was asked for: {problems[0]}")

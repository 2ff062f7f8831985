"""Attention by a kernel in C: see attention.c in `tritone/resources/kernels`."""

import ctypes
import struct
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from tritone.acoustic.cache import Span
from tritone.compute import DTYPES
from tritone.resources.kernels.build import Kernel
from tritone.resources.kernels.library import opened

_CALL = struct.Struct("=13qd")  # `struct call`
_SPAN = "9q"  # `struct span`


class NativeAttention:
    """Softmax attention over spans without bias, as `tritone.acoustic.attention.attend` has it.

    Equal to the last bit for equal queries and spans, whatever else is computed: rows and heads are
    taken one after another. Safe to use from several threads.
    """

    def __init__(self, kernel: Kernel, path: Path) -> None:
        """Raises EnvironmentProblem as `opened`."""
        self.name, self._kernel = kernel.name, kernel
        self._attend = opened(path).tritone_attend
        self._attend.argtypes = [ctypes.c_char_p, ctypes.c_char_p]

    def accepts(self, query: Tensor) -> bool:
        """Queries (rows, heads, n, head_dim) of a precision and width that it was written for."""
        kernel = self._kernel
        return query.dtype is DTYPES[kernel.dtype] and query.shape[-1] % kernel.width_step == 0

    def __call__(self, query: Tensor, spans: Sequence[Span]) -> Tensor:
        """(rows, heads, n, head_dim) of `accepts` -> same, laid out (rows, n, heads, head_dim)."""
        rows, heads, frames, width = query.shape
        assert all(
            s.key.shape == s.value.shape == (rows, heads, s.key.shape[2], width) for s in spans
        )
        output = query.new_empty(rows, frames, heads, width).transpose(1, 2)
        query = _dense(query, query)
        # held until the call is over
        seen = [(_dense(s.key, query), _dense(s.value, query)) for s in spans if s.key.shape[2]]
        numbers: list[int] = []
        for key, value in seen:
            numbers += key.data_ptr(), value.data_ptr(), *_steps(key), *_steps(value), key.shape[2]
        given = (query.data_ptr(), *_steps(query), output.data_ptr(), *_steps(output))
        call = _CALL.pack(*given, *query.shape, len(seen), width**-0.5)
        if self._attend(call, struct.pack(f"={len(seen) * _SPAN}", *numbers)):
            raise MemoryError(f"attention of {frames} queries of {width}")
        return output


def _dense(x: Tensor, like: Tensor) -> Tensor:
    """In its precision, with the values of a head side by side."""
    x = x.to(like.dtype)
    return x if x.stride(3) == 1 else x.contiguous()


def _steps(x: Tensor) -> tuple[int, int, int]:
    """Bytes from row to row, head to head, frame to frame."""
    size = x.element_size()
    row, head, frame, _ = x.stride()
    return row * size, head * size, frame * size

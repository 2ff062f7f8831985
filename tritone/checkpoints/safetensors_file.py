"""Safetensors files, written and read without a copy in memory.

Tensors may be several times larger than what a process should hold, so a file is written part by
part, and read through a memory map or a tensor at a time. Format: 8 bytes of header length, a JSON
header, the raw data (https://github.com/huggingface/safetensors#format).
"""

import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from tritone.arrays import Float32
from tritone.checkpoints.atomic_write import written_whole
from tritone.errors import ModelDirectoryError

# numpy has no bfloat16: its bits travel as uint16
_STORAGE = {"F64": np.float64, "F32": np.float32, "F16": np.float16, "BF16": np.uint16}

DType = Literal["fp32", "fp16", "bf16"]  # of weights, as options name it


@dataclass(frozen=True)
class TensorSpec:
    """Header entry of one tensor: storage type ("F64", "F32", "F16" or "BF16") and shape."""

    name: str
    dtype: str
    shape: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * np.dtype(_STORAGE[self.dtype]).itemsize


# the data of a tensor in order; an int stands for that many zero bytes, left as a hole in the file
Part = NDArray[Any] | int


def write_tensors(path: Path, specs: list[TensorSpec], parts: Iterable[Iterable[Part]]) -> None:
    """Write a safetensors file, one tensor's parts after the other.

    specs name the tensors in file order; parts yields the data of each. Only what the iterables
    hold at a time is in memory. `path` appears when everything was written.
    """
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for spec in specs:
        header[spec.name] = {
            "dtype": spec.dtype,
            "shape": list(spec.shape),
            "data_offsets": [end, end + spec.nbytes],
        }
        end += spec.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with written_whole(path) as partial, partial.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        start = file.tell()
        for spec, tensor_parts in zip(specs, parts, strict=True):
            begin = file.tell()
            for part in tensor_parts:
                if isinstance(part, int):
                    file.seek(part, 1)
                else:
                    file.write(np.ascontiguousarray(part).data)
            assert file.tell() - begin == spec.nbytes, f"{spec.name}: parts do not fill the tensor"
        file.truncate(start + end)


class Checkpoint:
    """A safetensors file, open only while something of it is read or mapped.

    Raises ModelDirectoryError for a missing or damaged file and for an unknown tensor or type.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.is_file():
            raise ModelDirectoryError(f"{path} does not exist; run tritone convert again")
        there = path.stat().st_size
        with path.open("rb") as file:
            size = int.from_bytes(file.read(8), "little")
            header = _header(file.read(size) if size < there else b"")
        self._start = 8 + size
        end = max((entry["data_offsets"][1] for entry in header.values()), default=0)
        if self._start + end > there:
            what = "cut short" if header else "not a safetensors file, or cut short"
            raise ModelDirectoryError(
                f"{path} is {what}: {there} bytes, {self._start + end} expected"
            )
        try:
            with safe_open(str(path), framework="numpy"):  # reads the header, and all of it
                self._entries: dict[str, dict[str, Any]] = header
        except (OSError, SafetensorError) as error:
            raise ModelDirectoryError(f"{path} is not a safetensors file: {error}") from error

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    @property
    def values(self) -> int:
        """How many its tensors have, all together."""
        return sum(math.prod(entry["shape"]) for entry in self._entries.values())

    def spec(self, name: str) -> TensorSpec:
        if name not in self._entries:
            raise ModelDirectoryError(f"{self.path}: tensor {name} is missing")
        entry = self._entries[name]
        return TensorSpec(name, entry["dtype"], tuple(entry["shape"]))

    def stored(self, name: str) -> NDArray[Any]:
        """The memory-mapped tensor in its storage type (bfloat16 as its uint16 bits)."""
        spec, offset = self._place(name)
        return np.memmap(self.path, _STORAGE[spec.dtype], "r", offset, spec.shape)

    def read(self, name: str, memory: NDArray[np.uint8]) -> None:
        """Fill memory of the tensor's size with its bytes, as they are stored."""
        spec, offset = self._place(name)
        assert memory.nbytes == spec.nbytes, f"{name} has {spec.nbytes} bytes, not {memory.nbytes}"
        with self.path.open("rb") as file:
            file.seek(offset)
            if file.readinto(memory.data) < spec.nbytes:
                raise ModelDirectoryError(f"{self.path} was cut short while {name} was read")

    def _place(self, name: str) -> tuple[TensorSpec, int]:
        """Where in the file the tensor begins."""
        spec = self.spec(name)
        if spec.dtype not in _STORAGE:
            raise ModelDirectoryError(f"{self.path}: {name} is {spec.dtype}, not a float tensor")
        return spec, self._start + self._entries[name]["data_offsets"][0]

    def float32(self, name: str) -> Float32:
        """The whole tensor as float32, in memory; ModelDirectoryError for values that are none.

        A bias may be -inf, which rules out what it stands for.
        """
        values = to_float32(self.stored(name))
        if not (values < np.inf).all():
            raise ModelDirectoryError(f"{self.path}: {name} has values that are NaN or infinite")
        return values


def _header(text: bytes) -> dict[str, dict[str, Any]]:
    """The entries of a header, as far as it has any that say where they end."""
    try:
        entries = json.loads(text).items()
        return {n: e for n, e in entries if n != "__metadata__" and e["data_offsets"][1] >= 0}
    except (AttributeError, LookupError, RecursionError, TypeError, ValueError):
        return {}  # the library says what is wrong


def to_float32(stored: NDArray[Any]) -> Float32:
    """A float32 copy of stored values; uint16 holds bfloat16, the upper half of a float32."""
    if stored.dtype == np.uint16:
        return np.left_shift(stored.astype(np.uint32), 16).view(np.float32)
    return stored.astype(np.float32)

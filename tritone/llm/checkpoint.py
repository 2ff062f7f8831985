"""The merged language model on disk: names, and safetensors files without a copy in memory.

Tensors may be several times larger than what a process should hold, so the file is written part by
part and read through a memory map. Format: 8 bytes of header length, a JSON header, the raw data
(https://github.com/huggingface/safetensors#format).
"""

import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tritone.arrays import Float32, Int32
from tritone.checkpoints.atomic_write import written_whole
from tritone.errors import ModelDirectoryError

LLM_DIR = "llm"  # inside the model directory: the merged checkpoint
WEIGHTS_NAME = "model.safetensors"
GRAPH_DIR = "onnx"  # inside that: what was built from it
EMBEDDING = "model.embed_tokens.weight"
HEAD = "lm_head.weight"
HEAD_BIAS = "lm_head.bias"
FINAL_NORM = "model.norm.weight"

# numpy has no bfloat16: its bits travel as uint16
_STORAGE = {"F32": np.float32, "F16": np.float16, "BF16": np.uint16}


def layer_name(layer: int, part: str) -> str:
    """Full name of `part`, e.g. "self_attn.q_proj.weight", in decoder layer `layer`."""
    return f"model.layers.{layer}.{part}"


def layer_shapes(
    hidden_size: int, intermediate_size: int, heads: int, key_value_heads: int
) -> dict[str, tuple[int, ...]]:
    """Every tensor of one Qwen2 decoder layer and its shape."""
    head_dim = hidden_size // heads
    key_value_size = key_value_heads * head_dim
    return {
        "input_layernorm.weight": (hidden_size,),
        "post_attention_layernorm.weight": (hidden_size,),
        "self_attn.q_proj.weight": (hidden_size, hidden_size),
        "self_attn.q_proj.bias": (hidden_size,),
        "self_attn.k_proj.weight": (key_value_size, hidden_size),
        "self_attn.k_proj.bias": (key_value_size,),
        "self_attn.v_proj.weight": (key_value_size, hidden_size),
        "self_attn.v_proj.bias": (key_value_size,),
        "self_attn.o_proj.weight": (hidden_size, hidden_size),
        "mlp.gate_proj.weight": (intermediate_size, hidden_size),
        "mlp.up_proj.weight": (intermediate_size, hidden_size),
        "mlp.down_proj.weight": (hidden_size, intermediate_size),
    }


@dataclass(frozen=True)
class TensorSpec:
    """Header entry of one tensor: storage type ("F32", "F16" or "BF16") and shape."""

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
    """A safetensors file behind a memory map; values come out as float32.

    Raises ModelDirectoryError for a missing or damaged file and for an unknown tensor or type.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.is_file():
            raise ModelDirectoryError(f"{path} does not exist; convert the checkpoint again")
        with path.open("rb") as file:
            size = int.from_bytes(file.read(8), "little")
            try:
                header = json.loads(file.read(size) if size < path.stat().st_size else b"")
            except ValueError as error:
                raise ModelDirectoryError(f"{path} is not a safetensors file: {error}") from error
        header.pop("__metadata__", None)
        self._entries: dict[str, dict[str, Any]] = header
        self._start = 8 + size
        end = max((entry["data_offsets"][1] for entry in header.values()), default=0)
        if self._start + end > path.stat().st_size:
            raise ModelDirectoryError(
                f"{path} is cut short: {path.stat().st_size} bytes, {self._start + end} expected"
            )

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def spec(self, name: str) -> TensorSpec:
        entry = self._entry(name)
        return TensorSpec(name, entry["dtype"], tuple(entry["shape"]))

    def stored(self, name: str) -> NDArray[Any]:
        """The memory-mapped tensor in its storage type (bfloat16 as its uint16 bits)."""
        spec = self.spec(name)
        if spec.dtype not in _STORAGE:
            raise ModelDirectoryError(f"{self.path}: {name} is {spec.dtype}, not a float tensor")
        offset = self._start + self._entry(name)["data_offsets"][0]
        return np.memmap(self.path, _STORAGE[spec.dtype], "r", offset, spec.shape)

    def float32(self, name: str) -> Float32:
        """The whole tensor as float32, in memory."""
        return to_float32(self.stored(name))

    def _entry(self, name: str) -> dict[str, Any]:
        if name not in self._entries:
            raise ModelDirectoryError(f"{self.path}: tensor {name} is missing")
        return self._entries[name]


class EmbeddingTable:
    """Input rows of the language model, read from the file as they are asked for."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        # as a plain array: the subclass np.memmap costs tens of microseconds a look-up
        self._rows = np.asarray(checkpoint.stored(EMBEDDING))

    def __call__(self, ids: Int32) -> Float32:
        """(n,) LLM ids -> (n, hidden) float32, exact for every storage type."""
        return to_float32(self._rows[ids])


def to_float32(stored: NDArray[Any]) -> Float32:
    """A float32 copy of stored values; uint16 holds bfloat16, the upper half of a float32."""
    if stored.dtype == np.uint16:
        return np.left_shift(stored.astype(np.uint32), 16).view(np.float32)
    return stored.astype(np.float32)

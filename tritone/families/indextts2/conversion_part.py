"""What the steps of a conversion have in common: inputs that are there, weights that fit."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from tritone.acoustic.weights import check_fit, outline
from tritone.checkpoints.conversion import Step
from tritone.checkpoints.plain_yaml import YamlValues
from tritone.checkpoints.safetensors_file import TensorSpec, write_tensors
from tritone.checkpoints.torch_file import plain_tensors
from tritone.errors import ModelDirectoryError
from tritone.families.indextts2.released_files import YAML

Build = Callable[[], nn.Module]

_KINDS = {torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16"}


class ConversionPart:
    """Steps from one release to one model directory.

    A step returns its numbers; it raises ModelDirectoryError for anything in the release that is
    not as it should be. dtype: of the stored weights, None keeps the release's.
    """

    def __init__(self, released: Path, target: Path, dtype: torch.dtype | None = None) -> None:
        self._released, self._target, self._dtype = released, target, dtype
        self._values = YamlValues(released / YAML)

    def _step(
        self, name: str, run: Callable[[], dict[str, Any]], inputs: list[str], outputs: list[str]
    ) -> Step:
        files = [self._released / file for file in inputs]
        for file in files:
            if not file.is_file():
                raise ModelDirectoryError(f"{file} does not exist; download the release again")
        written = [self._target / file for file in outputs]
        return Step(name, run, files, written, (str(self._dtype),))

    def _save(self, state: Mapping[str, Tensor], name: str, build: Build) -> None:
        """A tensor at a time: those that are mapped, or stand otherwise there, are copied then."""
        check_fit(outline(build, name), state, name)
        specs = [self._spec(name, key, value) for key, value in state.items()]
        write_tensors(self._target / name, specs, ([self._bytes(v)] for v in state.values()))

    def _spec(self, name: str, key: str, value: Tensor) -> TensorSpec:
        kind = _KINDS.get(self._dtype or value.dtype)
        if kind is None:
            raise ModelDirectoryError(f"{name}: {key} is {value.dtype}, not a float tensor")
        return TensorSpec(key, kind, tuple(value.shape))

    def _bytes(self, value: Tensor) -> NDArray[np.uint8]:
        stored = value.detach().to(self._dtype or value.dtype).contiguous()
        return stored.reshape(-1).view(torch.uint8).numpy()


def read_state(path: Path, *, part: str, mmap: bool = False) -> dict[str, Tensor]:
    """Of a file of torch.save, where it may lie under the name of a part; mmap: its tensors stay
    there until they are read."""
    content = plain_tensors(path, mmap=mmap)
    state = content.get(part, content)
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise ModelDirectoryError(f"{path} is not a plain state dict of tensors")
    return state


def read_some(path: Path, wanted: Callable[[str], bool]) -> dict[str, Tensor]:
    """Tensors of a safetensors file, those that are wanted."""
    try:
        with safe_open(path, framework="pt") as file:
            return {key: file.get_tensor(key) for key in file.keys() if wanted(key)}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise ModelDirectoryError(f"{path} is not a safetensors file: {error}") from error

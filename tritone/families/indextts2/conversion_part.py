"""What the steps of a conversion have in common: inputs that are there, weights that fit."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from tritone.acoustic.weights import check_fit, outline
from tritone.checkpoints.atomic_write import written_whole
from tritone.checkpoints.conversion import Step
from tritone.checkpoints.plain_yaml import YamlValues
from tritone.checkpoints.torch_file import plain_tensors
from tritone.errors import ModelDirectoryError
from tritone.families.indextts2.released_files import YAML

Build = Callable[[], nn.Module]


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
        check_fit(outline(build, name), state, name)
        stored = {key: value.to(self._dtype or value.dtype) for key, value in state.items()}
        with written_whole(self._target / name) as path:
            save_file({key: value.contiguous() for key, value in stored.items()}, path)
            path.chmod(0o644)  # safetensors writes for the owner alone; servers run as another user


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

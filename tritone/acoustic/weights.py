"""Loading weights: every name and every shape must fit, and every value be a number."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from tritone.checkpoints.safetensors_file import Checkpoint
from tritone.errors import ModelDirectoryError

ModuleT = TypeVar("ModuleT", bound=nn.Module)

_STORED = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
}


class _NoDraws(TorchFunctionMode):
    """Parameters are not drawn: those of an outline have no values, and torch imports its compiler
    to draw them, 60 MB that would stay; others are read, and memory that nothing was drawn into is
    not taken from the system before."""

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Any,
        arguments: tuple[Any, ...] = (),
        more: Mapping[str, Any] | None = None,
    ) -> Any:
        if getattr(function, "__module__", None) == nn.init.__name__:
            return arguments[0] if arguments else (more or {})["tensor"]
        return function(*arguments, **(more or {}))


def load_network(build: Callable[[], ModuleT], path: Path) -> ModuleT:
    """The network that `build` makes, in evaluation mode, with the weights of a safetensors file.

    Nothing is drawn, and a tensor at a time is read into the place where it stays: at the peak the
    network is in memory once, with the largest tensor where the file has it in another precision.
    The file is not mapped, so that one that is cut short later ends no process. On torch's device
    "meta" nothing is read but the header.

    Raises ModelDirectoryError for a file that is missing, damaged, of another shape or with values
    that are not finite, and for numbers that make no network.
    """
    file = checked(build, path)
    with _NoDraws():
        module = build()
    for name, target in module.state_dict().items():
        if target.is_meta:  # who builds there wants shapes alone
            continue
        _read(file, name, target)
        if not _all_finite(target):
            raise ModelDirectoryError(f"{path}: {name} has values that are NaN or infinite")
    return module.eval()


def checked(build: Callable[[], nn.Module], path: Path) -> Checkpoint:
    """The file of a network's weights, of which every name and shape fits.

    The outline that it is compared with takes no memory: a damaged number of the configuration may
    ask for any. Of the file the header alone is read. Raises ModelDirectoryError.
    """
    file = Checkpoint(path)
    shapes = {name: torch.empty(file.spec(name).shape, device="meta") for name in file}
    check_fit(outline(build, str(path)), shapes, str(path))
    return file


def _read(file: Checkpoint, name: str, target: Tensor) -> None:
    """Fill the tensor, whatever precision it is stored in."""
    stored = _STORED.get(file.spec(name).dtype, target.dtype)
    direct = stored == target.dtype and target.is_contiguous()
    values = target if direct else torch.empty(target.shape, dtype=stored)
    file.read(name, values.reshape(-1).view(torch.uint8).numpy())
    if not direct:
        target.copy_(values)


def _all_finite(values: Tensor) -> bool:
    """NaN is the least and the largest of what it is among. `isfinite` takes ten times as long, and
    memory."""
    ends = torch.aminmax(values) if values.numel() else ()
    return all(bool(end.isfinite()) for end in ends)


def outline(build: Callable[[], ModuleT], file: str) -> ModuleT:
    """The network without memory for its weights; ModelDirectoryError if its numbers make none.

    file: of the weights that are to be its own.
    """
    try:
        with torch.device("meta"), _NoDraws():
            return build()
    except Exception as error:  # a layer of odd numbers raises whatever its library thinks of
        raise ModelDirectoryError(
            f"the numbers of the configuration make no network for {file}: {error}"
        ) from error


def load_strictly(module: nn.Module, state: Mapping[str, Tensor], file: str) -> None:
    """Load every tensor by name and shape; errors as for `check_fit`."""
    check_fit(module, state, file)
    module.load_state_dict(dict(state))


def check_fit(module: nn.Module, state: Mapping[str, Tensor], file: str) -> None:
    """Raise ModelDirectoryError that names each tensor that is missing, unknown or misshapen."""
    expected = module.state_dict()
    problems = [f"lacks {k} {list(v.shape)}" for k, v in expected.items() if k not in state]
    problems += [f"has the unknown {k}" for k in state if k not in expected]
    problems += [
        f"has {k} {list(state[k].shape)} where the configuration wants {list(v.shape)}"
        for k, v in expected.items()
        if k in state and state[k].shape != v.shape
    ]
    if problems:
        shown = "; ".join(problems[:5])
        more = f"; and {len(problems) - 5} more" if len(problems) > 5 else ""
        raise ModelDirectoryError(f"{file} {shown}{more}")

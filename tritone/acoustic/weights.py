"""Loading weights: every name and every shape must fit, and every value be a number."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from tritone.errors import ModelDirectoryError

ModuleT = TypeVar("ModuleT", bound=nn.Module)


class _NoDraws(TorchFunctionMode):
    """Parameters are not drawn: those without memory have no values, and torch imports its compiler
    to draw them, 60 MB that would stay."""

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

    The file is compared with an outline first, which takes no memory: a damaged number of the
    configuration may ask for any. Raises ModelDirectoryError for a file that is missing, damaged,
    of another shape or with values that are not finite, and for numbers that make no network.
    """
    if not path.is_file():
        raise ModelDirectoryError(f"{path} does not exist; run tritone convert again")
    try:
        state = load_file(path)
    except (OSError, SafetensorError) as error:
        raise ModelDirectoryError(
            f"{path} is not a safetensors file ({error}); run tritone convert again"
        ) from error
    check_fit(outline(build, str(path)), state, str(path))
    for name, value in state.items():
        if not torch.isfinite(value).all():
            raise ModelDirectoryError(f"{path}: {name} has values that are NaN or infinite")
    module = build()
    module.load_state_dict(state)
    return module.eval()


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

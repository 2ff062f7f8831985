"""Files of torch.save, read as plain values: nothing in them is run."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from tritone.errors import ModelDirectoryError

if TYPE_CHECKING:
    from torch import Tensor


def plain_tensors(path: Path, *, mmap: bool = False) -> dict[Any, Any]:
    """The dict in a file. mmap: its tensors stay in the file until they are read.

    Raises ModelDirectoryError for a file that cannot be read, holds code or no dict. Needs torch.
    """
    content = _plain(path, mmap=mmap)
    if not isinstance(content, dict):
        found = type(content).__name__
        raise ModelDirectoryError(f"{path} holds {found}, expected a dict of plain tensors")
    return content


def plain_matrix(path: Path) -> "Tensor":
    """The matrix in a file, without a gradient; errors as for `plain_tensors`."""
    from torch import Tensor

    content = _plain(path, mmap=False)
    if not isinstance(content, Tensor) or content.dim() != 2:
        raise ModelDirectoryError(f"{path} holds no matrix")
    return content.detach()


def _plain(path: Path, *, mmap: bool) -> Any:
    import torch

    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
    except Exception as error:  # a damaged file makes torch raise whatever its reader stumbles on
        problem = f"{type(error).__name__}: {error}".strip().split("\n")[0]
        raise ModelDirectoryError(f"{path} cannot be read as plain tensors: {problem}") from error

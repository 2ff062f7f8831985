"""Files of torch.save, read as plain values: nothing in them is run."""

from pathlib import Path
from typing import Any

from tritone.errors import ModelDirectoryError


def plain_tensors(path: Path, *, mmap: bool = False) -> dict[Any, Any]:
    """The dict in a file. mmap: its tensors stay in the file until they are read.

    Raises ModelDirectoryError for a file that cannot be read, holds code or no dict. Needs torch.
    """
    import torch

    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
    except Exception as error:  # a damaged file makes torch raise whatever its reader stumbles on
        problem = f"{type(error).__name__}: {error}".strip().split("\n")[0]
        raise ModelDirectoryError(f"{path} cannot be read as plain tensors: {problem}") from error
    if not isinstance(content, dict):
        found = type(content).__name__
        raise ModelDirectoryError(f"{path} holds {found}, expected a dict of plain tensors")
    return content

"""What is wrong with files, found without reading them whole."""

import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from fnmatch import fnmatch
from pathlib import Path

from tritone.checkpoints.disk import STAGING

# Of huggingface_hub, modelscope, aria2, curl's and wget's front ends, browsers; then our own.
_UNFINISHED = (
    *("*.incomplete", "._____temp", "*.aria2", "*.part", "*.crdownload", "*.download"),
    *(STAGING, "*.partial.*"),
)
_LFS = b"version https://git-lfs"
_SHOWN = 3


def files_below(folder: Path) -> list[Path]:
    """All files below a folder, hidden ones too, sorted; what cannot be listed is left out."""
    found = (Path(parent, name) for parent, _, names in os.walk(folder) for name in names)
    return sorted(path for path in found if path.is_file())


def folders_below(folder: Path) -> list[Path]:
    """The folder itself and all below it, sorted."""
    return sorted(Path(parent) for parent, _, _ in os.walk(folder))


def lfs_pointers(paths: Iterable[Path]) -> list[Path]:
    """Those of the files that only name the one that Git LFS was to put in their place."""
    return _those(paths, lambda path: begins_with(path, _LFS))


def unfinished(folder: Path) -> list[Path]:
    """What interrupted downloads, or running ones, left below a folder."""
    entries = (
        Path(parent, name)
        for parent, folders, files in os.walk(folder)
        for name in (*folders, *files)
    )
    return sorted(e for e in entries if any(fnmatch(e.name, p) for p in _UNFINISHED))


def empty(paths: Iterable[Path]) -> list[Path]:
    return _those(paths, lambda path: not path.stat().st_size)


def _those(paths: Iterable[Path], test: Callable[[Path], bool]) -> list[Path]:
    """What passes a test; not what cannot be read, or was renamed by a download just now."""
    found = []
    for path in paths:
        with suppress(OSError):
            if test(path):
                found.append(path)
    return found


def safetensors_fault(path: Path) -> str:
    """Why a safetensors file is not whole, with its sizes; empty if its data ends where it should.

    The data itself is not read.
    """
    from safetensors import SafetensorError, safe_open

    from tritone.checkpoints.safetensors_file import Checkpoint
    from tritone.errors import ModelDirectoryError

    try:
        with safe_open(str(path), framework="numpy"):
            return ""
    except (OSError, SafetensorError) as error:
        reason = f"is no whole safetensors file: {error} ({path.stat().st_size} bytes)"
    try:
        Checkpoint(path)  # says how many bytes are missing
    except ModelDirectoryError as error:
        return str(error).removeprefix(f"{path} ")
    return reason


def begins_with(path: Path, mark: bytes) -> bool:
    """Whether these are a file's first bytes."""
    with path.open("rb") as file:
        return file.read(len(mark)) == mark


def names(paths: Iterable[Path], folder: Path) -> str:
    """The first of the files, relative to a folder, and how many more there are."""
    every = [os.path.relpath(path, folder) for path in paths]
    more = f" and {len(every) - _SHOWN} more" if len(every) > _SHOWN else ""
    return ", ".join(every[:_SHOWN]) + more

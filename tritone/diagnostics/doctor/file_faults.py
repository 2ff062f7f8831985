"""What is wrong with files, found without reading them whole."""

import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from fnmatch import fnmatch
from pathlib import Path

from tritone.checkpoints.disk import STAGING
from tritone.checkpoints.verify import is_lfs_pointer
from tritone.diagnostics.doctor.check import Finding, failure, passed, warning

# Of huggingface_hub, modelscope, aria2, curl's and wget's front ends, browsers; then our own.
_UNFINISHED = (
    *("*.incomplete", "._____temp", "*.aria2", "*.part", "*.crdownload", "*.download"),
    *(STAGING, "*.partial.*"),
)
_SHOWN = 3


def entries_below(folder: Path) -> list[Path]:
    """All below a folder, hidden ones too, sorted; what cannot be listed is left out."""
    walk = os.walk(folder)
    return sorted(Path(place, name) for place, dirs, files in walk for name in (*dirs, *files))


def files_below(folder: Path) -> list[Path]:
    return [path for path in entries_below(folder) if path.is_file()]


def lfs_pointers(paths: Iterable[Path]) -> list[Path]:
    """Those of the files that only name the one that Git LFS was to put in their place."""
    return _those(paths, is_lfs_pointer)


def lfs(folder: Path) -> Finding:
    """Git LFS pointers where files should be."""
    every = files_below(folder)
    pointers = lfs_pointers(every)
    if not pointers:
        return passed(f"none of {len(every)} files is a Git LFS pointer")
    text = f"Git LFS pointers in place of files: {names(pointers, folder)}"
    return failure(text, f"git -C {folder} lfs install && git -C {folder} lfs pull")


def unfinished(folder: Path) -> Finding | None:
    """What interrupted downloads, or running ones, left below a folder; None for nothing."""
    left = [e for e in entries_below(folder) if any(fnmatch(e.name, p) for p in _UNFINISHED)]
    if not left:
        return None
    again = "let the download end, or run it again; delete them when all files are there"
    return warning(f"unfinished downloads: {names(left, folder)}", again)


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
    """Why a safetensors file is not whole, with its sizes; empty if its data ends where it should,
    which is not read."""
    from tritone.checkpoints.safetensors_file import Checkpoint
    from tritone.errors import ModelDirectoryError

    try:
        Checkpoint(path)
    except ModelDirectoryError as error:
        return str(error).removeprefix(f"{path} ")
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    return ""


def names(paths: Iterable[Path], folder: Path) -> str:
    """The first of the files, relative to a folder, and how many more there are."""
    every = [os.path.relpath(path, folder) for path in paths]
    more = f" and {len(every) - _SHOWN} more" if len(every) > _SHOWN else ""
    return ", ".join(every[:_SHOWN]) + more

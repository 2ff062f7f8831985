"""Whether files arrived whole: those of a release by size and SHA-256, others by their kind."""

import hashlib
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the doctor must run where pydantic, which the release needs, is broken
    from tritone.checkpoints.release import ReleaseFile

_ZIP_MARK = b"PK\x03\x04"
_LFS_MARK = b"version https://git-lfs"
_BLOCK = 1 << 20


def file_problem(
    path: Path, file: "ReleaseFile", progress: Callable[[int], object] = lambda _: None
) -> str:
    """What is wrong with the copy of `file` at `path`, cheap checks first; empty if nothing.

    progress: called with the number of bytes of every block read.
    """
    try:
        if not path.is_file():
            return "is a directory" if path.is_dir() else "is missing"
        size = path.stat().st_size
        if is_lfs_pointer(path):
            return f"is a Git LFS pointer of {size} bytes, not the file itself"
        if size < file.size:
            return f"is truncated: it has {size} of {file.size} bytes"
        if size > file.size:
            return f"is another file: it has {size} bytes, the released one {file.size}"
        digest = sha256_of(path, progress) if file.sha256 else None
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    if digest != file.sha256:
        return f"has the wrong content: its SHA-256 is {digest}, the release has {file.sha256}"
    return ""


def sha256_of(path: Path, progress: Callable[[int], object] = lambda _: None) -> str:
    """SHA-256 of a file in hexadecimal, read block by block."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
            progress(len(block))
    return digest.hexdigest()


def is_lfs_pointer(path: Path) -> bool:
    """Whether the file only names the one that Git LFS was to put in its place."""
    with path.open("rb") as file:
        return file.read(len(_LFS_MARK)) == _LFS_MARK


def damage(path: Path, advice: str) -> str:
    """What is wrong with a file by its kind, with `advice` on what to do; empty if nothing."""
    if not path.is_file():
        partial = sorted(p.name for p in path.parent.glob(f"{path.name}*") if p != path)
        seen = f" (only {', '.join(partial)}, an unfinished download)" if partial else ""
        return f"{path.name} is missing{seen}: {advice}"
    size = path.stat().st_size
    if is_lfs_pointer(path):
        return (
            f"{path.name} is a Git LFS pointer of {size} bytes, not the file itself: "
            "run `git lfs pull` in the checkpoint directory"
        )
    if not size:
        return f"{path.name} is empty: {advice}"
    problem = _content_problem(path)
    return f"{path.name} ({size} bytes) {problem}: {advice}" if problem else ""


def _content_problem(path: Path) -> str:
    # torch.save writes a zip, its directory at the end; before torch 1.6 it wrote none
    zipped = path.suffix == ".pt" or (path.suffix in (".pth", ".bin") and _begins_as_zip(path))
    if zipped and not zipfile.is_zipfile(path):
        return "is cut off or no torch file"
    if path.suffix == ".json":
        try:
            json.loads(path.read_text(encoding="utf-8"))
        except (ValueError, RecursionError) as error:
            return f"is not valid JSON ({error})"
    return _safetensors_problem(path) if path.suffix == ".safetensors" else ""


def _begins_as_zip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(_ZIP_MARK)) == _ZIP_MARK


def _safetensors_problem(path: Path) -> str:
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = file.read(min(length, 100_000_000))
    try:
        tensors = json.loads(header)
        end = max(t["data_offsets"][1] for k, t in tensors.items() if k != "__metadata__")
        expected = 8 + length + int(end)
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError):
        return "has a damaged header"
    return "" if path.stat().st_size == expected else f"is cut off; it should have {expected} bytes"

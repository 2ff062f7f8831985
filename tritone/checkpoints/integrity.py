"""Whether a file of a checkpoint arrived whole, by its kind."""

import json
import zipfile
from pathlib import Path

LFS_MARK = b"version https://git-lfs"


def is_lfs_pointer(path: Path) -> bool:
    """Whether the file only names the one that Git LFS was to put in its place."""
    with path.open("rb") as file:
        return file.read(len(LFS_MARK)) == LFS_MARK


def file_problem(path: Path, advice: str) -> str:
    """What is wrong with one file, with what to do; empty if nothing.

    advice: what helps against a file that is missing, empty or damaged.
    """
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
    checks = {".pt": _pickle_problem, ".safetensors": _safetensors_problem, ".json": _json_problem}
    problem = checks.get(path.suffix, lambda _: "")(path)
    return f"{path.name} ({size} bytes) {problem}: {advice}" if problem else ""


def _pickle_problem(path: Path) -> str:
    # torch.save writes a zip, whose directory stands at its end.
    return "" if zipfile.is_zipfile(path) else "is cut off or no torch file"


def _safetensors_problem(path: Path) -> str:
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = file.read(min(length, 100_000_000))
    try:
        tensors = json.loads(header)
        end = max(t["data_offsets"][1] for k, t in tensors.items() if k != "__metadata__")
    except (ValueError, KeyError, TypeError):
        return "has a damaged header"
    expected = 8 + length + int(end)
    return "" if path.stat().st_size == expected else f"is cut off; it should have {expected} bytes"


def _json_problem(path: Path) -> str:
    try:
        json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        return f"is not valid JSON ({error})"
    return ""

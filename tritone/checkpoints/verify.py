"""Whether the files of a release arrived whole: presence, Git LFS pointers, size, SHA-256."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from tritone.checkpoints.integrity import is_lfs_pointer
from tritone.checkpoints.release import ReleaseFile

_BLOCK = 1 << 20


@dataclass(frozen=True)
class Finding:
    """One file that cannot be used: its name in the release, what is wrong, what to do."""

    file: str
    problem: str
    fix: str

    def __str__(self) -> str:
        return f"{self.file} {self.problem}: {self.fix}"


def verify(folder: Path, files: Sequence[ReleaseFile]) -> list[Finding]:
    """Read every file of a release in `folder` and say which cannot be used; none: all are right.

    A progress bar counts the bytes. Which files are expected: `release.files`, or, for a folder
    that was fetched at another revision, `tritone.checkpoints.download_record.recorded_files`.
    """
    findings = []
    total = sum(file.size for file in files)
    with tqdm(total=total, unit="B", unit_scale=True, desc="verify", disable=None) as bar:
        for file in files:
            problem = file_problem(folder / file.name, file, bar.update)
            if problem:
                findings.append(Finding(file.name, problem, _fix(folder, problem)))
    return findings


def file_problem(
    path: Path, file: ReleaseFile, progress: Callable[[int], object] = lambda _: None
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


def _fix(folder: Path, problem: str) -> str:
    fetch = f"run `tritone download --dir {folder}`"
    if "Git LFS pointer" in problem:
        return f"{fetch}, or `git lfs pull` in {folder}"
    return fetch

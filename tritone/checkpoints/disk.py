"""The directory that is being filled: one writer at a time, and room for what is to come."""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tritone.errors import EnvironmentProblem

STAGING = ".download"  # below the directory: what is not whole and verified yet
MARGIN = 256 << 20  # bytes that stay free


@contextmanager
def writing(folder: Path) -> Iterator[Path]:
    """Hold a directory for writing; gives the staging directory in it, which is left for resuming.

    Raises EnvironmentProblem where another process holds it, or where the disk refuses.
    """
    try:
        staging = folder / STAGING
        staging.mkdir(parents=True, exist_ok=True)
        with (staging / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise EnvironmentProblem(
                    f"{folder}: another download is filling this directory; wait for it or stop it"
                ) from error
            yield staging
    except OSError as error:
        raise EnvironmentProblem(
            f"{error.filename or folder}: {error.strerror or error}; "
            "choose a directory that can be written with --dir"
        ) from error


def require_space(folder: Path, size: int) -> None:
    """Raise EnvironmentProblem unless `size` bytes and a margin fit on the disk of `folder`."""
    free = shutil.disk_usage(folder).free
    if free < size + MARGIN:
        raise EnvironmentProblem(
            f"{folder}: {(size + MARGIN) / 1e9:.2f} GB are needed and {free / 1e9:.2f} GB are free "
            "on its disk; free some or choose another directory with --dir"
        )


def link_or_copy(path: Path, target: Path, staging: Path) -> None:
    """Put another file system entry for `path` at `target`, a copy where a link is impossible."""
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = staging / "copy"
    partial.unlink(missing_ok=True)
    try:
        os.link(path.resolve(), partial)
    except OSError:  # another file system, or one without links
        require_space(target.parent, path.stat().st_size)
        shutil.copyfile(path, partial)
    partial.replace(target)

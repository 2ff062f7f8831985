"""The server's regions in /dev/shm: a name of its own for each server, and no remains of dead ones.

Triton's Python backend leaves its regions behind when it is killed. Each server of ours therefore
names them after a lock file that it, and every process it starts, holds open and locked. A lock
file that can be locked belongs to a server of which nothing lives, in this or any other container
that shares the folder, and only then its regions are removed.
"""

import fcntl
import os
import re
import secrets
from collections.abc import Iterator
from pathlib import Path

from tritone.errors import EnvironmentProblem

SHM_DIR = Path("/dev/shm")

_LOCK_NAME = re.compile(r"tritone_[0-9a-f]{8}_lock")


class RegionLease:
    """The right to a region prefix. `descriptor` is to be inherited by the server."""

    def __init__(self, prefix: str, descriptor: int, folder: Path) -> None:
        self.prefix = prefix
        self.descriptor = descriptor
        self._folder = folder

    def release(self) -> None:
        """Remove what is left under the prefix; call it when the server is gone."""
        _remove(self._folder, self.prefix)
        os.close(self.descriptor)


def acquire_regions(folder: Path = SHM_DIR) -> RegionLease:
    """A fresh prefix, locked; raises EnvironmentProblem where the folder cannot be written."""
    prefix = f"tritone_{secrets.token_hex(4)}_"
    flags = os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC
    try:
        descriptor = os.open(folder / f"{prefix}lock", flags, 0o600)
    except OSError as error:
        raise EnvironmentProblem(
            f"cannot write to {folder} ({error.strerror}): Triton's Python models exchange tensors "
            "there; in a container start it with --ipc=host or --shm-size=1g"
        ) from error
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    if os.fstat(descriptor).st_nlink == 0:  # a sweep took it between the two calls above
        os.close(descriptor)
        return acquire_regions(folder)
    return RegionLease(prefix, descriptor, folder)


def sweep_regions(folder: Path = SHM_DIR) -> list[str]:
    """Remove the regions of servers of this user that no longer run; returns their prefixes."""
    removed = []
    for prefix, descriptor in _abandoned(folder):
        _remove(folder, prefix)
        os.close(descriptor)
        removed.append(prefix)
    return removed


def abandoned_regions(folder: Path = SHM_DIR) -> dict[str, int]:
    """Prefix -> bytes, of what `sweep_regions` would remove."""
    found = {}
    for prefix, descriptor in _abandoned(folder):
        os.close(descriptor)
        found[prefix] = sum(region.stat().st_size for region in folder.glob(f"{prefix}*"))
    return found


def _abandoned(folder: Path) -> Iterator[tuple[str, int]]:
    """Prefixes of servers of which nothing lives, each with its lock, held, for the taker."""
    for lock in folder.glob("tritone_*_lock"):
        descriptor = _lock_abandoned(lock) if _LOCK_NAME.fullmatch(lock.name) else None
        if descriptor is not None:
            yield lock.name.removesuffix("lock"), descriptor


def _lock_abandoned(lock: Path) -> int | None:
    """The descriptor of a lock file of this user that nobody held, now held by us; else None."""
    try:
        descriptor = os.open(lock, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except (PermissionError, FileNotFoundError):
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    if os.fstat(descriptor).st_uid != os.getuid():
        os.close(descriptor)
        return None
    return descriptor


def _remove(folder: Path, prefix: str) -> None:
    """Unlink the regions, the lock file last: an interrupted removal can be taken up again."""
    regions = sorted(folder.glob(f"{prefix}*"), key=lambda path: path.name == f"{prefix}lock")
    for region in regions:
        region.unlink(missing_ok=True)

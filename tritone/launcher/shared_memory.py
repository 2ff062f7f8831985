"""The server's regions in /dev/shm: a name of its own for each server, and no remains of dead ones.

Triton's Python backend leaves its regions behind when it is killed. Each server of ours therefore
names them after a lock file that it, and every process it starts, holds open and locked. A lock
file that can be locked belongs to a server of which nothing lives, in this or any other container
that shares the folder, and only then its regions are removed.
"""

import fcntl
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tritone.errors import EnvironmentProblem

SHM_DIR = Path("/dev/shm")

_LOCKS = f"tritone_{'[0-9a-f]' * 8}_lock"


@dataclass(frozen=True)
class RegionLease:
    """The right to a region prefix. `descriptor`, of its lock, is to be inherited by the server."""

    prefix: str
    descriptor: int
    folder: Path

    def close_to_others(self) -> None:
        """Take other users' right to read the regions, which Triton 2.51 gives them whatever the
        umask is; texts and sound pass through there once the server is ready. Who has opened a
        region before goes on reading it."""
        for region in self.folder.glob(f"{self.prefix}*"):
            with suppress(FileNotFoundError):
                if region.is_file():
                    region.chmod(0o600)

    @property
    def links(self) -> Path:
        """A folder of the server's own, for links; it goes with the regions."""
        return self.folder / f"{self.prefix}links"

    def release(self) -> None:
        """Remove what is left under the prefix, the lock file last: an interrupted removal can be
        taken up again. Call it when the server is gone."""
        shutil.rmtree(self.links, ignore_errors=True)
        regions, lock = self.folder.glob(f"{self.prefix}*"), f"{self.prefix}lock"
        for region in sorted(regions, key=lambda path: path.name == lock):
            if region.is_dir() and not region.is_symlink():
                shutil.rmtree(region, ignore_errors=True)
            else:
                region.unlink(missing_ok=True)
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
    for lease in _abandoned(folder):
        lease.release()
        removed.append(lease.prefix)
    return removed


def abandoned_regions(folder: Path = SHM_DIR) -> dict[str, int]:
    """Prefix -> bytes, of what `sweep_regions` would remove."""
    found = {}
    for lease in _abandoned(folder):
        os.close(lease.descriptor)
        regions = folder.glob(f"{lease.prefix}*")
        found[lease.prefix] = sum(region.stat().st_size for region in regions)
    return found


def _abandoned(folder: Path) -> Iterator[RegionLease]:
    """Of servers of which nothing lives, each with its lock held, for the taker."""
    for lock in folder.glob(_LOCKS):
        descriptor = _lock_abandoned(lock)
        if descriptor is not None:
            yield RegionLease(lock.name.removesuffix("lock"), descriptor, folder)


def _lock_abandoned(lock: Path) -> int | None:
    """The descriptor of a lock file of this user that nobody held, now held by us; else None."""
    try:
        descriptor = os.open(lock, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except (PermissionError, FileNotFoundError):
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(descriptor).st_uid == os.getuid():
            return descriptor
    except BlockingIOError:
        pass
    os.close(descriptor)
    return None

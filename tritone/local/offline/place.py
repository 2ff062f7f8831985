"""Where results go: a folder, or an object store by its URL."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

from tritone.errors import EnvironmentProblem, InvalidRequest

_WHOLE_OBJECTS = {"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "oss", "oci", "memory"}


class Place(Protocol):
    """Files by name; each is there as a whole or not at all. All methods raise OSError, `read`
    FileNotFoundError for what is not there."""

    def sizes(self) -> dict[str, int]:
        """The bytes of every file, by name."""
        ...

    def read(self, name: str) -> bytes: ...

    def write(self, name: str, data: bytes) -> None: ...

    def remove(self, name: str) -> None: ...

    def clear_drafts(self) -> None:
        """Remove what processes have left that were killed while they wrote. Nobody may write."""
        ...


class Folder:
    """One of this machine, or of a file system that several share."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def sizes(self) -> dict[str, int]:
        found: dict[str, int] = {}
        with suppress(FileNotFoundError), os.scandir(self._path) as entries:
            for entry in entries:
                with suppress(FileNotFoundError):  # a draft that got its name just now
                    if entry.is_file():
                        found[entry.name] = entry.stat().st_size
        return found

    def read(self, name: str) -> bytes:
        return (self._path / name).read_bytes()

    def write(self, name: str, data: bytes) -> None:
        self._path.mkdir(parents=True, exist_ok=True)
        # by a name of its own: a worker that was given up may still write the same file
        draft = self._path / f".{name}.{secrets.token_hex(4)}.part"
        try:
            draft.write_bytes(data)
            draft.replace(self._path / name)
        except OSError:
            draft.unlink(missing_ok=True)
            raise

    def remove(self, name: str) -> None:
        (self._path / name).unlink(missing_ok=True)

    def clear_drafts(self) -> None:
        for draft in self._path.glob(".*.part"):
            draft.unlink(missing_ok=True)


class ObjectStore:
    """What fsspec opens by a URL. A store shows an object when all of it has come."""

    def __init__(self, url: str) -> None:
        """Raises EnvironmentProblem for a store whose package is not installed, InvalidRequest for
        one that nobody knows or that shows files in parts."""
        kind = url.partition("://")[0]
        if kind not in _WHOLE_OBJECTS:
            known = ", ".join(sorted(_WHOLE_OBJECTS - {"memory"}))
            raise InvalidRequest("out", f"{url} is no folder, and of none of the stores {known}")
        self._url = url
        try:
            import fsspec

            self._store, self._root = fsspec.core.url_to_fs(url, use_listings_cache=False)
        except ImportError as error:  # fsspec says which package speaks to that store
            raise EnvironmentProblem(f"{url} cannot be opened: {error}") from error
        except ValueError as error:
            raise InvalidRequest("out", f"{url} cannot be opened: {error}") from error

    def sizes(self) -> dict[str, int]:
        with self._told():
            try:
                found: list[dict[str, Any]] = self._store.ls(self._root, detail=True)
            except FileNotFoundError:  # a prefix without objects
                return {}
        files = [one for one in found if one["type"] == "file"]
        return {one["name"].rpartition("/")[2]: int(one["size"]) for one in files}

    def read(self, name: str) -> bytes:
        with self._told():
            data: bytes = self._store.cat_file(f"{self._root}/{name}")
        return data

    def write(self, name: str, data: bytes) -> None:
        with self._told():
            self._store.pipe_file(f"{self._root}/{name}", data)

    def remove(self, name: str) -> None:
        with self._told():
            self._store.rm_file(f"{self._root}/{name}")

    def clear_drafts(self) -> None:
        """There are none."""

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Each store has errors of its own: a fault of the store is not one of the item."""
        try:
            yield
        except OSError:
            raise
        except Exception as error:
            raise OSError(f"{self._url}: {type(error).__name__}: {error}") from error


def place_at(out: str) -> Place:
    """The folder or URL that `--out` names. Raises what `ObjectStore` does."""
    kind, found, rest = out.partition("://")
    if not found:
        return Folder(Path(out).absolute())
    return Folder(Path(rest)) if kind == "file" else ObjectStore(out)

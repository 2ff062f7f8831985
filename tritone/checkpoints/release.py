"""What a release consists of, and download.json, by which it is verified without the hub."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tritone.checkpoints.atomic_write import write_bytes
from tritone.config import Strict
from tritone.errors import ModelDirectoryError

HubName = Literal["modelscope", "huggingface"]

RECORD_NAME = "download.json"


@dataclass(frozen=True)
class ReleaseFile:
    """name: path in the release, with forward slashes. size: bytes, 0 if not known. sha256: None if
    not known. part: of the release. remote: path in its repository, where that is another."""

    name: str
    size: int
    sha256: str | None
    part: str = ""
    remote: str = ""

    @property
    def remote_name(self) -> str:
        return self.remote or self.name


@dataclass(frozen=True)
class Repository:
    """Where a hub keeps a release, or a part of it; revision: commit, tag or branch."""

    hub: HubName
    repo_id: str
    revision: str
    part: str = ""


@dataclass(frozen=True)
class Release:
    """A released checkpoint; repositories in the order in which they are tried.

    pinned: sizes and digests of the files are known. Where some are not, what a hub lists at the
    first download, and what arrives then, is recorded in the directory and holds ever after.
    One that is put together from several repositories has a part of each.
    """

    name: str
    files: tuple[ReleaseFile, ...]
    repositories: tuple[Repository, ...]
    pinned: bool = True

    @property
    def parts(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(file.part for file in self.files))

    def repositories_of(self, part: str) -> list[Repository]:
        return [repository for repository in self.repositories if repository.part == part]


class RecordedFile(Strict):
    """size: bytes. origin: the repository and revision it came from, or where it was found."""

    size: int
    sha256: str
    origin: str


class Record(Strict):
    """revision: the one that was asked for; None for the files that the release pins."""

    release: str
    revision: str | None
    files: dict[str, RecordedFile]

    def states(self, files: Iterable[ReleaseFile]) -> bool:
        """Whether it has all of these, as they are, as far as they are known."""
        recorded = ((file, self.files.get(file.name)) for file in files)
        return all(
            own and own.size == file.size and file.sha256 in (None, own.sha256)
            for file, own in recorded
        )

    def release_files(self) -> tuple[ReleaseFile, ...]:
        return tuple(ReleaseFile(name, f.size, f.sha256) for name, f in self.files.items())


def read_record(folder: Path) -> Record | None:
    """None where there is none. Raises ModelDirectoryError for a damaged one."""
    path = folder / RECORD_NAME
    if not path.is_file():
        return None
    try:
        return Record.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        problem = str(error).replace("\n", " ")
        raise ModelDirectoryError(
            f"{path} is damaged ({problem}): delete it and run tritone download again"
        ) from error


def write_record(folder: Path, record: Record) -> None:
    write_bytes(folder / RECORD_NAME, (record.model_dump_json(indent=1) + "\n").encode())

"""download.json: what a directory was filled with, so that it can be verified without the hub."""

from pathlib import Path

from pydantic import ValidationError

from tritone.checkpoints.release import Release, ReleaseFile
from tritone.checkpoints.steps import write_bytes
from tritone.config import Strict
from tritone.errors import ModelDirectoryError

RECORD_NAME = "download.json"


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

    def release_files(self) -> tuple[ReleaseFile, ...]:
        return tuple(ReleaseFile(name, f.size, f.sha256) for name, f in self.files.items())


def read_record(folder: Path) -> Record | None:
    """The record of a directory, None where there is none.

    Raises ModelDirectoryError where it is not as `write_record` writes it.
    """
    path = folder / RECORD_NAME
    if not path.is_file():
        return None
    try:
        return Record.model_validate_json(path.read_text(encoding="utf-8"))
    except (ValidationError, UnicodeDecodeError) as error:
        problem = str(error).replace("\n", " ")
        raise ModelDirectoryError(
            f"{path} is damaged ({problem}): delete it and run tritone download again"
        ) from error


def write_record(folder: Path, record: Record) -> None:
    """Write the record whole or not at all."""
    write_bytes(folder / RECORD_NAME, (record.model_dump_json(indent=1) + "\n").encode())


def recorded_files(folder: Path, release: Release) -> tuple[ReleaseFile, ...]:
    """The files that belong in a directory: as its record says, else as the release does."""
    record = read_record(folder)
    return record.release_files() if record and record.release == release.name else release.files

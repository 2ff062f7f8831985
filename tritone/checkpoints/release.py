"""What a release consists of: files with their digests, and where they lie."""

from dataclasses import dataclass
from typing import Literal

HubName = Literal["modelscope", "huggingface"]


@dataclass(frozen=True)
class ReleaseFile:
    """name: path in the release, with forward slashes. size: bytes. sha256: None if not known."""

    name: str
    size: int
    sha256: str | None


@dataclass(frozen=True)
class Repository:
    """Where a hub keeps a release; revision: commit, tag or branch."""

    hub: HubName
    repo_id: str
    revision: str


@dataclass(frozen=True)
class Release:
    """A released checkpoint; repositories in the order in which they are tried."""

    name: str
    files: tuple[ReleaseFile, ...]
    repositories: tuple[Repository, ...]

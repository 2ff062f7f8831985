"""A tiny release, hubs that have it, and directories filled with it."""

import hashlib
from collections import namedtuple
from pathlib import Path
from typing import Any

import pytest

from tritone.checkpoints.fetch import Download
from tritone.checkpoints.hub import Hub, Listing
from tritone.checkpoints.release import HubName, Release, ReleaseFile, Repository

DATA = {"tiny.yaml": b"yaml", "base/config.json": b"{}", "llm.pt": b"speech" * 1000}
COMMIT = "eec1ae6c79877dbd9379285cf8789c9e0879293d"
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0123\nsize 450575567\n"
Usage = namedtuple("Usage", "total used free")


def described(data: dict[str, bytes]) -> tuple[ReleaseFile, ...]:
    return tuple(
        ReleaseFile(name, len(content), hashlib.sha256(content).hexdigest())
        for name, content in data.items()
    )


RELEASE = Release(
    "Tiny-0.5B",
    described(DATA),
    (
        Repository("modelscope", "iic/Tiny-0.5B", "master"),
        Repository("huggingface", "Fun/Tiny-0.5B", COMMIT),
    ),
)


class FakeHub:
    """A hub with the given content. error: raised for anything; breaks: raised once in llm.pt."""

    def __init__(self, title: str, data: dict[str, bytes], commit: str | None = None) -> None:
        self.title = title
        self.data, self.commit = data, commit
        self.listed = described(data)
        self.error: Exception | None = None
        self.breaks: BaseException | None = None
        self.fetched: list[tuple[str, str, int]] = []

    def list_files(self, repo_id: str, revision: str) -> Listing:
        if self.error:
            raise self.error
        return Listing(self.commit, {file.name: file for file in self.listed})

    def fetch(self, repo_id: str, revision: str, file: ReleaseFile, folder: Path) -> None:
        """Goes on where a partial file ends, as the hubs do."""
        target = folder / file.name
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(target.name + ".partial")
        start = partial.stat().st_size if partial.is_file() else 0
        self.fetched.append((file.name, revision, start))
        content = self.data[file.name]
        with partial.open("ab") as stream:
            if self.breaks and file.name == "llm.pt":
                stream.write(content[:1000])
                error, self.breaks = self.breaks, None
                raise error
            stream.write(content[start:])
        partial.replace(target)

    def names(self) -> list[str]:
        return [name for name, _, _ in self.fetched]


def two_hubs() -> dict[HubName, FakeHub]:
    return {
        "modelscope": FakeHub("ModelScope", dict(DATA)),
        "huggingface": FakeHub("Hugging Face", dict(DATA), COMMIT),
    }


def empty_caches(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Caches below tmp_path: hf-cache and ms-cache; and nothing that forbids downloads."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hf-cache"))
    monkeypatch.setenv("MODELSCOPE_CACHE", str(tmp_path / "ms-cache"))
    for name in ("HF_HUB_OFFLINE", "MODELSCOPE_OFFLINE"):
        monkeypatch.delenv(name, raising=False)


def run(folder: Path, hubs: dict[HubName, FakeHub], **options: Any) -> tuple[ReleaseFile, ...]:
    def hub(name: HubName) -> Hub:
        return hubs[name]

    return Download(RELEASE, folder, hub=hub, **options).run()


def content(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def fill(folder: Path, data: dict[str, bytes]) -> None:
    for name, value in data.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(value)


def nothing(name: HubName) -> Hub:
    raise AssertionError(f"{name} was opened")

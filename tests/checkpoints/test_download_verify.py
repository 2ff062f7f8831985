"""Verification of release files on disk: each defect is named, with what to do about it."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest
from cosyvoice3_release import cosyvoice3_release
from released_checkpoint import released_checkpoint

from tritone.checkpoints.fetch import unusable
from tritone.checkpoints.release import Release, ReleaseFile
from tritone.checkpoints.verify import file_problem, sha256_of
from tritone.cli.download import RELEASES
from tritone.errors import ModelDirectoryError
from tritone.families.cosyvoice2.convert import copied
from tritone.families.cosyvoice2.released_files import (
    COSYVOICE2,
    LAYOUT,
    LISTENER,
    PHONEMES,
    Layout,
    open_source,
)
from tritone.families.cosyvoice3 import released_files as cosyvoice3
from tritone.families.cosyvoice3.released_files import COSYVOICE3
from tritone.families.indextts2.release import INDEXTTS2

DATA = bytes(range(256)) * 9000  # more than one block
FILE = ReleaseFile("part/flow.pt", len(DATA), hashlib.sha256(DATA).hexdigest())
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0123\nsize 450575567\n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / FILE.name
    path.parent.mkdir()
    path.write_bytes(DATA)
    return path


def test_a_right_file(path: Path) -> None:
    blocks: list[int] = []
    assert file_problem(path, FILE, blocks.append) == ""
    assert sum(blocks) == len(DATA) and len(blocks) > 1
    assert unusable(path.parents[1], [FILE]) == []
    assert sha256_of(path) == FILE.sha256


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (DATA[:-1], f"is truncated: it has {len(DATA) - 1} of {len(DATA)} bytes"),
        (b"", f"is truncated: it has 0 of {len(DATA)} bytes"),
        (DATA + b"x", f"is another file: it has {len(DATA) + 1} bytes, the released one"),
        (POINTER, f"is a Git LFS pointer of {len(POINTER)} bytes, not the file itself"),
        (DATA[:-1] + b"x", f"the release has {FILE.sha256}"),
    ],
)
def test_a_defect_is_named(path: Path, content: bytes, said: str) -> None:
    path.write_bytes(content)
    assert said in file_problem(path, FILE)
    assert unusable(path.parents[1], [FILE]) == [FILE]


def test_no_file_and_no_folder(path: Path, tmp_path: Path) -> None:
    path.unlink()
    assert file_problem(path, FILE) == "is missing"
    path.mkdir()
    assert file_problem(path, FILE) == "is a directory"
    assert unusable(tmp_path / "nowhere", [FILE]) == [FILE]


def test_a_file_that_cannot_be_read(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    assert file_problem(path, FILE) == "cannot be read (Permission denied)"


def test_without_a_digest_the_size_decides(path: Path) -> None:
    path.write_bytes(DATA[::-1])
    assert file_problem(path, ReleaseFile(FILE.name, len(DATA), None)) == ""
    assert "is truncated" in file_problem(path, ReleaseFile(FILE.name, len(DATA) + 1, None))


def test_the_releases_state_size_digest_and_a_pinned_commit_or_that_they_do_not() -> None:
    ours = (COSYVOICE2, COSYVOICE3)
    assert {release.name: release for release in (*ours, INDEXTTS2)} == RELEASES
    for release in ours:
        assert len({file.name for file in release.files}) == len(release.files) == 10
        hubs = [repository.hub for repository in release.repositories]
        assert hubs == ["modelscope", "huggingface"]
        for file in release.files:
            assert (file.size > 0) == (file.sha256 is not None) == release.pinned
            assert len(bytes.fromhex(file.sha256 or "")) == 32 * release.pinned
    assert len(bytes.fromhex(COSYVOICE2.repositories[1].revision)) == 20


@pytest.mark.parametrize(
    ("write", "release", "layout"),
    [
        (released_checkpoint, COSYVOICE2, LAYOUT),
        (cosyvoice3_release, COSYVOICE3, cosyvoice3.LAYOUT),
    ],
    ids=["cosyvoice2", "cosyvoice3"],
)
def test_the_release_is_what_the_converter_reads(
    tmp_path: Path, write: Callable[[Path], Path], release: Release, layout: Layout
) -> None:
    """No file more, for the converter misses each; none less, for these alone can be opened."""
    folder = write(tmp_path / "source")
    released = {file.name for file in release.files}
    for path in [p for p in folder.rglob("*") if p.is_file()]:
        if path.relative_to(folder).as_posix() not in released:
            path.unlink()
    open_source(folder, layout=layout)
    for name in released - set(copied(layout)):
        kept = (folder / name).read_bytes()
        (folder / name).unlink()
        with pytest.raises(ModelDirectoryError, match=f"{Path(name).name} is missing"):
            open_source(folder, layout=layout)
        (folder / name).write_bytes(kept)
    assert set(copied(layout)) - {PHONEMES, LISTENER} < released  # optional, copied where present

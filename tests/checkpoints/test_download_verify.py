"""Verification of release files on disk: each defect is named, with what to do about it."""

import hashlib
from pathlib import Path

import pytest
from released_checkpoint import released_checkpoint

from tritone.checkpoints.release import ReleaseFile
from tritone.checkpoints.verify import file_problem, sha256_of, unusable
from tritone.cli.download import RELEASES
from tritone.errors import ModelDirectoryError
from tritone.families.cosyvoice2.convert import copied
from tritone.families.cosyvoice2.released_files import (
    COSYVOICE2,
    LAYOUT,
    LISTENER,
    PHONEMES,
    open_source,
)

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


def test_the_release_states_size_digest_and_a_pinned_commit() -> None:
    assert RELEASES == {"CosyVoice2-0.5B": COSYVOICE2}
    assert len({file.name for file in COSYVOICE2.files}) == len(COSYVOICE2.files)
    for file in COSYVOICE2.files:
        assert file.size > 0 and file.sha256 is not None
        assert len(bytes.fromhex(file.sha256)) == 32
    assert [repository.hub for repository in COSYVOICE2.repositories] == [
        "modelscope",
        "huggingface",
    ]
    assert len(bytes.fromhex(COSYVOICE2.repositories[1].revision)) == 20


def test_the_release_is_what_the_converter_reads(tmp_path: Path) -> None:
    """No file more, for the converter misses each; none less, for these alone can be opened."""
    folder = released_checkpoint(tmp_path / "source")
    released = {file.name for file in COSYVOICE2.files}
    for path in [p for p in folder.rglob("*") if p.is_file()]:
        if path.relative_to(folder).as_posix() not in released:
            path.unlink()
    open_source(folder)
    for name in released - set(copied(LAYOUT)):
        kept = (folder / name).read_bytes()
        (folder / name).unlink()
        with pytest.raises(ModelDirectoryError, match=f"{Path(name).name} is missing"):
            open_source(folder)
        (folder / name).write_bytes(kept)
    assert set(copied(LAYOUT)) - {PHONEMES, LISTENER} < released  # optional, copied where present

"""The registry's folder: whole or not at all, for many readers and writers, whatever lies in it."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from voice_records import entry
from waiting import wait_until

from tritone.errors import (
    InvalidRequest,
    Overloaded,
    UnknownVoice,
    VoiceExists,
    VoiceRegistryError,
)
from tritone.frontend.registry import store
from tritone.frontend.registry.record import Details, VoiceRecord
from tritone.frontend.registry.store import VoiceRegistry


@pytest.fixture
def registry(tmp_path: Path) -> VoiceRegistry:
    return VoiceRegistry(tmp_path / "data" / "voices")


def files(registry: VoiceRegistry) -> list[str]:
    return sorted(path.name for path in registry.folder.iterdir() if path.name != ".lock")


def ids(registry: VoiceRegistry) -> list[str]:
    return [record.id for record in registry.listing()[0]]


def test_a_voice_survives_its_files(registry: VoiceRegistry) -> None:
    assert registry.listing() == ([], []) and registry.identity("ann") is None
    record, arrays = entry("ann", transcript="说 it “so”", notes=("a note",), seconds=3.5)
    registry.put(record, arrays)
    found, read = registry.open("ann")
    assert found == record and read.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(read[name], array)
    assert registry.listing() == ([record], [])


def test_another_user_s_server_may_read_it(registry: VoiceRegistry) -> None:
    registry.put(*entry("ann"))
    assert all((registry.folder / name).stat().st_mode & 0o004 for name in files(registry))


def test_a_voice_is_replaced_only_where_that_is_wanted(registry: VoiceRegistry) -> None:
    registry.put(*entry("ann", seed=1))
    before = registry.identity("ann")
    with pytest.raises(VoiceExists, match="'ann' is in the registry already"):
        registry.put(*entry("ann", seed=2))
    assert registry.identity("ann") == before
    registry.put(*entry("ann", seed=2), replace=True)
    assert registry.identity("ann") != before
    np.testing.assert_array_equal(
        registry.open("ann")[1]["embedding"], entry("ann", seed=2)[1]["embedding"]
    )
    assert len(files(registry)) == 2


def test_what_is_removed_is_gone(registry: VoiceRegistry) -> None:
    registry.put(*entry("ann"))
    registry.put(*entry("ann.b"))
    registry.remove("ann")
    assert ids(registry) == ["ann.b"] and len(files(registry)) == 2
    for gone in (registry.remove, registry.open, registry.record):
        with pytest.raises(UnknownVoice, match="'ann' is not in the registry"):
            gone("ann")
    assert registry.open("ann.b")[0].id == "ann.b"


@pytest.mark.parametrize("bad", ["", "..", "../x", "a/b", ".lock", "a\0", "é", "x" * 65])
def test_an_id_is_never_a_path(registry: VoiceRegistry, bad: str) -> None:
    for call in (registry.has, registry.identity, registry.record, registry.open, registry.remove):
        with pytest.raises(InvalidRequest, match="is no voice id"):
            call(bad)
    with pytest.raises(InvalidRequest, match=r"id: has .* is no voice id"):
        registry.put(*entry(bad))


def changed(registry: VoiceRegistry, name: str, **values: object) -> None:
    record = registry.record(name).model_copy(update=values)
    (registry.folder / f"{name}.json").write_text(record.to_text())


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def large(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(1 << 30)


DAMAGE: dict[str, tuple[Callable[[VoiceRegistry, Path, Path], object], str]] = {
    "no JSON": (lambda r, j, a: j.write_text("{"), "is damaged"),
    "a key too many": (
        lambda r, j, a: j.write_text(j.read_text().replace("{", '{"x": 1,', 1)),
        "x: Extra inputs",
    ),
    "a large record": (lambda r, j, a: large(j), "bytes; the limit is 65536"),
    "renamed": (lambda r, j, a: changed(r, "bad", id="other"), "is the record of 'other'"),
    "an id that is a path": (lambda r, j, a: changed(r, "bad", id="../x"), "is no voice id"),
    "a digest that is a path": (lambda r, j, a: changed(r, "bad", arrays="../x"), "arrays: String"),
    "a pipe": (lambda r, j, a: (j.unlink(), os.mkfifo(j)), "is no plain file"),
    "a folder": (lambda r, j, a: (j.unlink(), j.mkdir()), "no plain file|Is a directory"),
    "changed arrays": (lambda r, j, a: flip(a), "its digest is not that of its record"),
    "no arrays": (lambda r, j, a: a.unlink(), "is missing; add the voice again"),
    "no safetensors": (lambda r, j, a: a.write_bytes(b"x" * 99), "is damaged"),
    "large arrays": (lambda r, j, a: large(a), "bytes; the limit is 16777216"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_voice_is_named_and_breaks_no_other(registry: VoiceRegistry, name: str) -> None:
    registry.put(*entry("bad", seed=1))
    registry.put(*entry("good", seed=2))
    damage, problem = DAMAGE[name]
    damage(registry, registry.folder / "bad.json", next(registry.folder.glob("bad.*.safetensors")))
    with pytest.raises(VoiceRegistryError, match=problem) as caught:
        registry.open("bad")
    assert "bad" in str(caught.value)
    assert registry.open("good")[0].id == "good" and "good" in ids(registry)
    if name not in ("a folder",):
        registry.remove("bad")
        assert ids(registry) == ["good"]


def test_foreign_entries_are_named_and_skipped(registry: VoiceRegistry) -> None:
    registry.put(*entry("good"))
    for name in ("notes.txt", "not an id.json", "empty.json", ".hidden"):
        (registry.folder / name).write_text("")
    (registry.folder / "folder").mkdir()
    records, skipped = registry.listing()
    assert [record.id for record in records] == ["good"]
    named = {entry.name for entry in skipped}
    assert named == {"notes.txt", "not an id.json", "empty.json", "folder"}
    registry.put(*entry("more"))
    assert (registry.folder / "notes.txt").exists()  # whose it is, is not for us to say


def test_of_many_writers_of_one_id_one_wins(registry: VoiceRegistry) -> None:
    start = threading.Barrier(8)

    def put(number: int) -> bool:
        start.wait(30)
        try:
            VoiceRegistry(registry.folder).put(*entry("ann", seed=number))
        except VoiceExists:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        won = [number for number, ours in enumerate(pool.map(put, range(8))) if ours]
    assert len(won) == 1 and len(files(registry)) == 2
    expected = entry("ann", seed=won[0])[1]["embedding"]
    np.testing.assert_array_equal(registry.open("ann")[1]["embedding"], expected)


def test_a_reader_beside_writers_sees_whole_voices(registry: VoiceRegistry) -> None:
    """Ten replacements of a voice; whatever a reader gets is one of them, unmixed."""
    embeddings = {entry("ann", seed=n)[1]["embedding"].tobytes(): n for n in range(10)}
    registry.put(*entry("ann", seed=0))
    with ThreadPoolExecutor(1) as pool:
        writing = [
            pool.submit(registry.put, *entry("ann", seed=n), replace=True) for n in range(1, 10)
        ]
        seen = set()
        while not writing[-1].done():
            try:
                seen.add(embeddings[registry.open("ann")[1]["embedding"].tobytes()])
            except VoiceRegistryError as error:
                assert "is missing" in str(error)  # replaced three times within one look
        assert all(done.result() is None for done in writing) and seen <= set(range(10))
    assert embeddings[registry.open("ann")[1]["embedding"].tobytes()] == 9


KILLED = """
import signal, sys
from pathlib import Path
from voice_records import entry
from tritone.frontend.registry import store

folder, marker, place = sys.argv[1:]
def stand_still(*_):
    Path(marker).touch()
    while True:
        signal.pause()
if place == "arrays":
    store.os.fsync = stand_still  # they are written, and not yet under their name
else:
    write = store._write
    def write_arrays(path, data):
        stand_still() if path.suffix == ".json" else write(path, data)
    store._write = write_arrays
store.VoiceRegistry(Path(folder)).put(*entry("ann", seed=1), replace=True)
"""


@pytest.mark.parametrize("place", ["arrays", "record"])
@pytest.mark.parametrize("there", [False, True], ids=["a new voice", "a voice that was there"])
def test_a_writer_killed_half_way_leaves_what_was(
    registry: VoiceRegistry, tmp_path: Path, place: str, there: bool
) -> None:
    if there:
        registry.put(*entry("ann", seed=0))
    marker = tmp_path / "marker"
    paths = os.pathsep.join(path for path in sys.path if path)
    child = subprocess.Popen(
        [sys.executable, "-c", KILLED, registry.folder, marker, place],
        env={**os.environ, "PYTHONPATH": paths},
    )
    try:
        wait_until(lambda: marker.exists() or child.poll() is not None)
        assert child.poll() is None
        with pytest.raises(Overloaded, match="is being written by others for 0 s"):
            VoiceRegistry(registry.folder, lock_wait_s=0).put(*entry("bob"))
        assert ids(registry) == (["ann"] if there else [])
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
    assert ids(registry) == (["ann"] if there else []) and registry.listing()[1] == []
    assert len(files(registry)) == (3 if there else 1)  # what nothing names
    registry.put(*entry("bob"))
    if there:
        np.testing.assert_array_equal(
            registry.open("ann")[1]["embedding"], entry("ann", seed=0)[1]["embedding"]
        )
        registry.put(*entry("ann", seed=2), replace=True)
    assert len(files(registry)) == (4 if there else 2)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "voices"):
        with pytest.raises(
            VoiceRegistryError, match=r"cannot be written: .*--voices or TRITONE_VO"
        ):
            VoiceRegistry(folder).put(*entry("ann"))


def test_a_full_disk_leaves_no_half_a_voice(
    registry: VoiceRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    registry.put(*entry("bob"))
    monkeypatch.setattr(store.os, "fsync", full)
    with pytest.raises(VoiceRegistryError, match="No space left on device"):
        registry.put(*entry("ann"))
    assert ids(registry) == ["bob"] and len(files(registry)) == 2


@pytest.mark.parametrize(
    ("changes", "field", "problem"),
    [
        ({"id": "a b"}, "id", "is no voice id"),
        ({"name": "x" * 101}, "name", "has 101 characters; the limit is 100"),
        ({"name": "a\0b"}, "name", r"has the character '\\x00' at 1"),
        ({"transcript": "x" * 1001}, "transcript", "has 1001 characters; the limit is 1000"),
        ({"language": "english"}, "language", "is 'english'; write it as en or zh-CN"),
        ({"consent": " "}, "consent", "is empty"),
        ({"licence": "x" * 501}, "licence", "the limit is 500"),
    ],
)
def test_what_is_said_of_a_voice_is_checked(
    changes: dict[str, str], field: str, problem: str
) -> None:
    with pytest.raises(InvalidRequest, match=problem) as caught:
        Details(**{"id": "ann", "consent": "hers", **changes}).check()
    assert caught.value.field == field


def test_a_record_survives_its_text() -> None:
    record, _ = entry("ann", name="Ann 安", notes=("one", "two"), snr_db=31.5)
    assert VoiceRecord.of_text(record.to_text()) == record

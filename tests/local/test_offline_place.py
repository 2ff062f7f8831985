"""Where the results of a corpus go, and who else writes there."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tritone.errors import EnvironmentProblem, InvalidRequest
from tritone.local.offline.marker import marked, take_over
from tritone.local.offline.place import Place, place_at


@pytest.fixture(params=["folder", "store"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """An empty one; the store is fsspec's own, in memory."""
    url = f"memory://{tmp_path.name}/corpus"
    return place_at(str(tmp_path / "new" / "out") if request.param == "folder" else url)


def test_a_place_keeps_whole_files(place: Place) -> None:
    assert place.sizes() == {}
    place.write("a.wav", b"abc")
    place.write("a.wav", b"abcd")
    place.write("b", b"")
    assert place.sizes() == {"a.wav": 4, "b": 0}
    assert place.read("a.wav") == b"abcd"
    place.remove("b")
    assert place.sizes() == {"a.wav": 4}
    with pytest.raises(FileNotFoundError):
        place.read("b")


@pytest.mark.parametrize("out", ["nowhere://x", "sftp://host/x", "http://host/x"])
def test_a_store_that_may_show_half_a_file_is_refused(out: str) -> None:
    with pytest.raises(InvalidRequest, match=f"out: {out} is no folder, and of none of .* s3"):
        place_at(out)


def test_a_store_without_its_package_says_which(monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("ossfs", "fsspec.implementations.oss"):
        monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(EnvironmentProblem, match=r"oss://x cannot be opened: .*ossfs"):
        place_at("oss://x")


def test_a_fault_of_a_store_is_none_of_an_item(monkeypatch: pytest.MonkeyPatch) -> None:
    place = place_at("memory://of/faults")

    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("no credentials")

    monkeypatch.setattr("fsspec.implementations.memory.MemoryFileSystem.pipe_file", refuse)
    with pytest.raises(OSError, match="memory://of/faults: RuntimeError: no credentials"):
        place.write("a", b"a")


def test_two_writers_of_one_file_do_not_meet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, written, write = place_at(str(tmp_path)), [], Path.write_bytes

    def interleaved(path: Path, data: bytes) -> int:
        written.append(path)
        count = write(path, data)
        if data == b"first":
            place.write("a.wav", b"second")
        return count

    monkeypatch.setattr(Path, "write_bytes", interleaved)
    place.write("a.wav", b"first")
    assert len(set(written)) == 2
    assert place.sizes() == {"a.wav": 5} and place.read("a.wav") == b"first"


def test_what_cannot_be_written_leaves_no_draft(tmp_path: Path) -> None:
    (tmp_path / "a.wav").mkdir()
    with pytest.raises(OSError):
        place_at(str(tmp_path)).write("a.wav", b"abc")
    assert os.listdir(tmp_path) == ["a.wav"]


def take_over_at(place: Place, own: str = "") -> tuple[bool, list[object]]:
    told: list[object] = []
    return take_over(place, place.sizes(), own, told.append), told


def marker(host: str, pid: int, born: float = 1.0) -> bytes:
    return json.dumps({"host": host, "pid": pid, "born": born}).encode()


def test_a_run_is_marked_while_it_lasts(place: Place) -> None:
    with marked(place) as name:
        assert list(place.sizes()) == [name]
        assert take_over_at(place, name) == (True, [])
        with pytest.raises(EnvironmentProblem, match=rf"another run \(process {os.getpid()}\)"):
            take_over_at(place, "another")
    assert place.sizes() == {}


def test_what_a_killed_run_left_is_removed(tmp_path: Path) -> None:
    place = place_at(str(tmp_path))
    code = (
        "import os, sys; from tritone.local.offline import marker, place\n"
        "with marker.marked(place.place_at(sys.argv[1])): os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)
    place.write(".running-torn", b"{")
    (tmp_path / ".a.wav.1234.part").write_bytes(b"half")
    place.write("a.wav", b"whole")
    assert len(os.listdir(tmp_path)) == 4
    assert take_over_at(place) == (True, [])
    assert os.listdir(tmp_path) == ["a.wav"]


def test_a_process_that_took_over_the_number_of_a_killed_run_is_not_the_run(place: Place) -> None:
    with marked(place) as name:
        run = json.loads(place.read(name))
        place.write(name, marker(run["host"], run["pid"], run["born"] - 100))
        assert take_over_at(place) == (True, [])
        assert place.sizes() == {}
        place.write(name, b"")  # which the end removes


def test_of_a_run_on_another_machine_nobody_knows(tmp_path: Path) -> None:
    place = place_at(str(tmp_path))
    place.write(".running-1-ab", marker("elsewhere", 1))
    (tmp_path / ".a.wav.1234.part").write_bytes(b"its own")
    alone, (line,) = take_over_at(place)
    assert not alone and "elsewhere" in str(line) and ".running-1-ab" in str(line)
    assert len(os.listdir(tmp_path)) == 2

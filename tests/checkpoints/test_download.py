"""Filling a directory with a release: hubs that fail, files that are wrong, runs that stop."""

import logging
import shutil
from pathlib import Path

import pytest
from download_fakes import (
    COMMIT,
    DATA,
    POINTER,
    RELEASE,
    FakeHub,
    Usage,
    content,
    empty_caches,
    fill,
    nothing,
    run,
    two_hubs,
)

from tritone.checkpoints.disk import STAGING, writing
from tritone.checkpoints.fetch import Download, unusable
from tritone.checkpoints.hub import HubFailed
from tritone.checkpoints.release import RECORD_NAME, HubName, ReleaseFile, read_record
from tritone.errors import EnvironmentProblem


@pytest.fixture(autouse=True)
def no_caches(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    empty_caches(monkeypatch, tmp_path)


@pytest.fixture
def hubs() -> dict[HubName, FakeHub]:
    return two_hubs()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "models" / "Tiny-0.5B"


def test_an_empty_directory_is_filled_from_modelscope(
    folder: Path, hubs: dict[HubName, FakeHub]
) -> None:
    assert run(folder, hubs) == RELEASE.files
    found = content(folder)
    assert found.pop(RECORD_NAME)
    assert found == DATA  # and no staging
    assert hubs["modelscope"].names() == list(DATA) and not hubs["huggingface"].fetched
    record = read_record(folder)
    assert record and record.release == "Tiny-0.5B" and record.revision is None
    assert {f.origin for f in record.files.values()} == {"ModelScope iic/Tiny-0.5B master"}
    assert unusable(folder, RELEASE.files) == []


def test_right_files_are_kept_and_wrong_ones_fetched_again(
    folder: Path, hubs: dict[HubName, FakeHub]
) -> None:
    fill(folder, {**DATA, "tiny.yaml": b"yolo", "base/config.json": POINTER})
    before = (folder / "llm.pt").stat()
    run(folder, hubs)
    assert hubs["modelscope"].names() == ["tiny.yaml", "base/config.json"]
    assert (folder / "llm.pt").stat().st_mtime_ns == before.st_mtime_ns
    assert {name: content(folder)[name] for name in DATA} == DATA
    record = read_record(folder)
    assert record and record.files["llm.pt"].origin == "found in the directory"


def test_a_whole_directory_needs_no_hub(folder: Path, hubs: dict[HubName, FakeHub]) -> None:
    run(folder, hubs)
    before = content(folder)
    assert Download(RELEASE, folder, hub=nothing).run() == RELEASE.files
    assert Download(RELEASE, folder, hub=nothing, offline=True).run() == RELEASE.files
    assert content(folder) == before


def test_hugging_face_takes_over_and_the_reason_is_said(
    folder: Path, hubs: dict[HubName, FakeHub], caplog: pytest.LogCaptureFixture
) -> None:
    hubs["modelscope"].error = HubFailed("ModelScope: no answer")
    with caplog.at_level(logging.WARNING):
        run(folder, hubs)
    assert caplog.messages == ["ModelScope: no answer\ntrying huggingface instead"]
    assert hubs["huggingface"].fetched == [(name, COMMIT, 0) for name in DATA]
    record = read_record(folder)
    assert record and record.files["llm.pt"].origin == f"Hugging Face Fun/Tiny-0.5B {COMMIT}"


def test_what_the_first_hub_gave_is_not_fetched_twice(
    folder: Path, hubs: dict[HubName, FakeHub]
) -> None:
    hubs["modelscope"].breaks = HubFailed("ModelScope: gone")
    run(folder, hubs)
    assert hubs["huggingface"].names() == ["llm.pt"]
    assert {name: content(folder)[name] for name in DATA} == DATA


def test_no_hub_at_all(folder: Path, hubs: dict[HubName, FakeHub]) -> None:
    for hub in hubs.values():
        hub.error = HubFailed(f"{hub.title}: no answer")
    with pytest.raises(HubFailed, match=r"^ModelScope: no answer\nHugging Face: no answer$"):
        run(folder, hubs)


@pytest.mark.parametrize("source", ["modelscope", "huggingface"])
def test_the_source_that_is_named_is_the_only_one(
    folder: Path, hubs: dict[HubName, FakeHub], source: HubName
) -> None:
    hubs[source].error = HubFailed("no answer")
    with pytest.raises(HubFailed, match=r"^no answer$"):
        run(folder, hubs, source=source)
    hubs[source].error = None
    run(folder, hubs, source=source)
    assert [name for name, hub in hubs.items() if hub.fetched] == [source]


@pytest.mark.parametrize("change", ["lacks", "size", "digest"])
def test_another_file_in_the_repository_is_refused_before_the_first_byte(
    folder: Path, hubs: dict[HubName, FakeHub], change: str
) -> None:
    hub = hubs["modelscope"]
    *others, llm = hub.listed
    if change == "lacks":
        hub.listed, said = tuple(others), "ModelScope: iic/Tiny-0.5B at master has no llm.pt"
    else:
        size, sha256 = (llm.size + 1, None) if change == "size" else (llm.size, "0" * 64)
        hub.listed = (*others, ReleaseFile("llm.pt", size, sha256))
        said = f"master now has another llm.pt than the release \\({size} bytes, SHA-256 {sha256};"
    with pytest.raises(HubFailed, match=said):
        run(folder, hubs, source="modelscope")
    assert not hub.fetched
    run(folder, hubs)  # auto goes to the other hub
    assert hubs["huggingface"].names() == list(DATA)


def test_a_file_that_arrives_damaged_never_gets_its_name(
    folder: Path, hubs: dict[HubName, FakeHub]
) -> None:
    fill(folder, {"llm.pt": b"old"})
    hubs["modelscope"].data["llm.pt"] = DATA["llm.pt"][::-1]
    with pytest.raises(HubFailed, match=r"llm.pt arrived damaged: it has the wrong content"):
        run(folder, hubs, source="modelscope")
    assert (folder / "llm.pt").read_bytes() == b"old"
    assert not list((folder / STAGING).rglob("llm.pt*"))
    run(folder, hubs)
    assert (folder / "llm.pt").read_bytes() == DATA["llm.pt"]


def test_a_full_disk_is_found_before_the_first_byte(
    folder: Path, hubs: dict[HubName, FakeHub], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**12, 10**12, 268_000_000))
    with pytest.raises(EnvironmentProblem) as raised:
        run(folder, hubs)
    assert str(raised.value) == (
        f"{folder}: 0.27 GB are needed and 0.27 GB are free on its disk; free some or choose "
        "another directory with --dir"
    )
    assert not any(hub.fetched for hub in hubs.values())


def test_room_is_looked_for_again_before_another_hub(
    folder: Path, hubs: dict[HubName, FakeHub], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the first hub left unfinished is of no use to the second."""
    fill(folder / STAGING / "modelscope", {"llm.pt.partial": DATA["llm.pt"][:5500]})
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**12, 0, (256 << 20) + 600))
    hubs["modelscope"].error = HubFailed("ModelScope: gone")
    with pytest.raises(EnvironmentProblem, match="GB are needed"):
        run(folder, hubs)
    assert not hubs["huggingface"].fetched


def test_what_is_already_staged_needs_no_room_again(
    folder: Path, hubs: dict[HubName, FakeHub], monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(folder / STAGING / "modelscope", {"llm.pt.partial": DATA["llm.pt"][:5500]})
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**12, 0, (256 << 20) + 600))
    run(folder, hubs)
    assert ("llm.pt", "master", 5500) in hubs["modelscope"].fetched


def test_an_interrupted_run_goes_on(folder: Path, hubs: dict[HubName, FakeHub]) -> None:
    hubs["modelscope"].breaks = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        run(folder, hubs)
    assert set(content(folder)) == {
        "tiny.yaml",
        "base/config.json",
        f"{STAGING}/lock",
        f"{STAGING}/modelscope/llm.pt.partial",
    }
    run(folder, hubs)
    assert hubs["modelscope"].fetched[3:] == [("llm.pt", "master", 1000)]
    assert set(content(folder)) == {*DATA, RECORD_NAME}


def test_a_run_stopped_while_it_verified_fetches_nothing_again(
    folder: Path, hubs: dict[HubName, FakeHub]
) -> None:
    fill(folder / STAGING / "modelscope", {"llm.pt": DATA["llm.pt"]})
    run(folder, hubs)
    assert "llm.pt" not in hubs["modelscope"].names()


def test_two_runs_at_once(folder: Path, hubs: dict[HubName, FakeHub]) -> None:
    with writing(folder), pytest.raises(EnvironmentProblem, match="another download is filling"):
        run(folder, hubs)
    run(folder, hubs)


def test_a_directory_that_cannot_be_made(tmp_path: Path, hubs: dict[HubName, FakeHub]) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(EnvironmentProblem, match=r"file.*: Not a directory; choose a directory"):
        run(tmp_path / "file" / "models", hubs)

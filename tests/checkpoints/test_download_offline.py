"""What a download takes from this machine, offline mode, other revisions, and the command."""

import hashlib
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from download_fakes import (
    COMMIT,
    DATA,
    POINTER,
    RELEASE,
    FakeHub,
    Usage,
    content,
    described,
    empty_caches,
    fill,
    nothing,
    run,
    two_hubs,
)

from tritone.checkpoints.fetch import Download, unusable
from tritone.checkpoints.hub import HubFailed
from tritone.checkpoints.release import (
    RECORD_NAME,
    HubName,
    ReleaseFile,
    read_record,
)
from tritone.cli import main
from tritone.cli.download import RELEASES
from tritone.errors import EnvironmentProblem, InvalidRequest, ModelDirectoryError


@pytest.fixture(autouse=True)
def no_caches(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    empty_caches(monkeypatch, tmp_path)


@pytest.fixture
def hubs() -> dict[HubName, FakeHub]:
    return two_hubs()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "models" / "Tiny-0.5B"


@pytest.mark.parametrize(
    "layout",
    [
        f"hf-cache/models--Fun--Tiny-0.5B/snapshots/{COMMIT}",
        "ms-cache/models/iic--Tiny-0.5B/snapshots/master",
        "ms-cache/models/iic/Tiny-0___5B",
        "ms-cache/hub/models/iic/Tiny-0___5B",
        "ms-cache/hub/iic/Tiny-0___5B",
    ],
)
def test_a_cached_file_is_linked_and_not_fetched(
    folder: Path, tmp_path: Path, hubs: dict[HubName, FakeHub], layout: str
) -> None:
    fill(tmp_path / layout, {"tiny.yaml": b"yolo", "base/config.json": DATA["base/config.json"]})
    blob = tmp_path / "blob"
    blob.write_bytes(DATA["llm.pt"])
    (tmp_path / layout / "llm.pt").symlink_to(blob)
    run(folder, hubs)
    assert hubs["modelscope"].names() == ["tiny.yaml"]  # the cached one is another file
    assert not (folder / "llm.pt").is_symlink() and (folder / "llm.pt").samefile(blob)
    record = read_record(folder)
    assert record and record.files["llm.pt"].origin.endswith(" cache")


def test_a_cached_file_is_copied_where_it_cannot_be_linked(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path / "ms-cache/models/iic--Tiny-0.5B/snapshots/master", DATA)

    def other_disk(*_: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", other_disk)
    Download(RELEASE, folder, hub=nothing, offline=True).run()
    assert {name: content(folder)[name] for name in DATA} == DATA
    shutil.rmtree(folder)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10, 10, 0))
    with pytest.raises(EnvironmentProblem, match=r"GB are needed and 0\.00 GB are free"):
        Download(RELEASE, folder, hub=nothing, offline=True).run()


def test_offline_says_what_is_wrong_and_where_it_looked(folder: Path, tmp_path: Path) -> None:
    cache = tmp_path / "hf-cache/models--Fun--Tiny-0.5B/snapshots" / COMMIT
    fill(cache, {"llm.pt": DATA["llm.pt"][:5]})
    fill(folder, {"tiny.yaml": b"yolo", "llm.pt": POINTER})
    with pytest.raises(ModelDirectoryError) as raised:
        Download(RELEASE, folder, hub=nothing, offline=True).run()
    digest = hashlib.sha256(b"yolo").hexdigest()
    assert str(raised.value).splitlines() == [
        "3 of the 3 files of Tiny-0.5B cannot be used, and offline mode downloads nothing:",
        f"  {folder}/tiny.yaml has the wrong content: its SHA-256 is {digest}, the release has "
        f"{RELEASE.files[0].sha256}",
        f"  {folder}/base/config.json is missing",
        f"  {folder}/llm.pt is a Git LFS pointer of {len(POINTER)} bytes, not the file itself",
        f"    {cache}/llm.pt is truncated: it has 5 of 6000 bytes",
        f"looked in {folder} (--dir)",
        f"looked in {tmp_path}/ms-cache (ModelScope cache; MODELSCOPE_CACHE moves it)",
        f"looked in {tmp_path}/hf-cache (Hugging Face cache; HF_HUB_CACHE or HF_HOME moves it)",
        f"run again without --offline to fetch them, or copy them into {folder}",
    ]
    assert set(content(folder)) == {"tiny.yaml", "llm.pt"}


def test_offline_creates_nothing(folder: Path) -> None:
    with pytest.raises(ModelDirectoryError, match=r"llm\.pt is missing"):
        Download(RELEASE, folder, hub=nothing, offline=True).run()
    assert not folder.exists()


def test_a_revision_belongs_to_one_hub(folder: Path) -> None:
    with pytest.raises(InvalidRequest, match=r"^revision: 'main' belongs to one hub"):
        Download(RELEASE, folder, revision="main")


def test_another_revision_is_verified_by_what_the_hub_states(
    folder: Path, hubs: dict[HubName, FakeHub]
) -> None:
    newer = {**DATA, "tiny.yaml": b"newer", "llm.pt": b"newer" * 500, "demo.wav": b"demo"}
    hub = hubs["huggingface"]
    hub.data, hub.commit = newer, "c0ffee"
    # Hugging Face states no SHA-256 for a file that is not in Git LFS.
    hub.listed = tuple(
        f if f.name == "llm.pt" else ReleaseFile(f.name, f.size, None) for f in described(newer)
    )
    run(folder, hubs, source="huggingface", revision="main")
    assert hub.fetched == [(name, "c0ffee", 0) for name in DATA]  # no demo.wav, not the branch
    expected = tuple(f for f in described(newer) if f.name in DATA)
    record = read_record(folder)
    assert record and record.release_files() == expected and unusable(folder, expected) == []
    offline = {"source": "huggingface", "revision": "main", "offline": True}
    assert run(folder, hubs, **offline) == expected
    (folder / "tiny.yaml").write_bytes(b"older")
    with pytest.raises(ModelDirectoryError, match=r"tiny.yaml has the wrong content"):
        run(folder, hubs, **offline)
    with pytest.raises(ModelDirectoryError, match="has no record of revision v2, so offline"):
        run(folder, hubs, source="huggingface", revision="v2", offline=True)


def test_another_revision_with_the_same_files_is_recorded(
    folder: Path, hubs: dict[HubName, FakeHub]
) -> None:
    run(folder, hubs)
    other = {"source": "huggingface", "revision": "main"}
    assert run(folder, hubs, **other) == RELEASE.files
    assert not hubs["huggingface"].fetched
    assert run(folder, hubs, **other, offline=True) == RELEASE.files
    record = read_record(folder)
    assert record and record.files["llm.pt"].origin == "ModelScope iic/Tiny-0.5B master"


def test_a_revision_without_a_file_of_the_release(
    folder: Path, hubs: dict[HubName, FakeHub]
) -> None:
    hubs["modelscope"].listed = described({"tiny.yaml": b"yaml"})
    with pytest.raises(HubFailed, match=r"at v0 has no base/config.json; check --revision"):
        run(folder, hubs, source="modelscope", revision="v0")


def test_a_release_without_digests_is_what_it_was_at_the_first_download(
    folder: Path, hubs: dict[HubName, FakeHub]
) -> None:
    unknown = tuple(ReleaseFile(name, 0, None) for name in DATA)
    release = replace(RELEASE, files=unknown, pinned=False)

    def fetch(**options: Any) -> tuple[ReleaseFile, ...]:
        return Download(release, folder, hub=lambda name: hubs[name], **options).run()

    with pytest.raises(ModelDirectoryError, match=r"has no record of Tiny-0\.5B, so offline"):
        fetch(offline=True)
    hubs["modelscope"].error = HubFailed("ModelScope is away")
    assert fetch() == described(DATA), "as the other hub lists them"
    record = read_record(folder)
    assert record and record.release_files() == described(DATA)
    (folder / "llm.pt").write_bytes(b"other")
    hubs["huggingface"].listed = described({**DATA, "llm.pt": b"other"})
    with pytest.raises(HubFailed, match=r"now has another llm\.pt than the release"):
        fetch()
    with pytest.raises(ModelDirectoryError, match=r"llm\.pt is truncated: it has 5 of 6000"):
        fetch(offline=True)


@pytest.mark.parametrize("text", [b"{", b'{"release": "x"}', b"\xff"])
def test_a_damaged_record(folder: Path, text: bytes) -> None:
    fill(folder, {RECORD_NAME: text})
    with pytest.raises(ModelDirectoryError, match=r"download.json is damaged .*: delete it"):
        read_record(folder)


def script(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """The exit status of tritone download, run in this process for the tiny release."""
    monkeypatch.setitem(RELEASES, RELEASE.name, RELEASE)
    return main(["download", "--release", RELEASE.name, *arguments])


def test_the_command_names_the_next_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    fill(tmp_path / "models" / RELEASE.name, DATA)
    assert script(monkeypatch) == 0
    assert capsys.readouterr().out == (
        "models/Tiny-0.5B is complete: 3 files, 0.00 GB, verified\n"
        "next: tritone convert models/Tiny-0.5B models/Tiny-0.5B-model\n"
    )


@pytest.mark.parametrize("variable", ["HF_HUB_OFFLINE", "MODELSCOPE_OFFLINE"])
def test_the_environment_can_forbid_downloads(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    variable: str,
) -> None:
    monkeypatch.setenv(variable, "1")
    assert script(monkeypatch, "--dir", str(folder)) == 1
    message = capsys.readouterr().err
    assert message.startswith("error: 3 of the 3 files") and f"unset {variable} and run" in message


def test_ctrl_c_is_no_traceback(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Download, "run", interrupt)
    assert script(monkeypatch, "--dir", str(folder)) == 130
    assert capsys.readouterr().err.strip() == "stopped; run the same command again to go on " + (
        "from here"
    )

"""A release that several repositories make up, and what is known of IndexTTS2's."""

import re
from pathlib import Path
from typing import Any

import pytest
from download_fakes import FakeHub, content, described, empty_caches, fill, nothing

from tritone.checkpoints.disk import STAGING
from tritone.checkpoints.fetch import Download
from tritone.checkpoints.hub import HubFailed, Listing
from tritone.checkpoints.release import (
    RECORD_NAME,
    HubName,
    RecordedFile,
    Release,
    ReleaseFile,
    Repository,
    read_record,
    write_record,
)
from tritone.cli import main
from tritone.cli.download import LICENCES, RELEASES
from tritone.errors import InvalidRequest, ModelDirectoryError
from tritone.families.indextts2.release import INDEXTTS2, NAME
from tritone.families.indextts2.release_folder import AUXILIARY, RELEASED
from tritone.families.indextts2.released_files import NEEDED

# By repository: what it has. Two have a file of the same name.
THERE = {
    "Index/Tiny": {"config.json": b"{}", "gpt.pth": b"speech" * 1000, "notes": b"not wanted"},
    "meta/Bert": {"config.json": b"[]"},
    "nvidia/Gan": {"config.json": b'"gan"', "deep/gan.pt": b"wave" * 1000},
}
COMMITS = {repo: number * 40 for repo, number in zip(THERE, "123", strict=True)}
WANTED = {
    "config.json": ("Index/Tiny", "config.json"),
    "gpt.pth": ("Index/Tiny", "gpt.pth"),
    "hf_cache/bert/config.json": ("meta/Bert", "config.json"),
    "hf_cache/gan.json": ("nvidia/Gan", "config.json"),
    "hf_cache/gan.pt": ("nvidia/Gan", "deep/gan.pt"),
}
DATA = {name: THERE[repo][remote] for name, (repo, remote) in WANTED.items()}


def released() -> Release:
    """The digests of gpt.pth and of the size of gan.pt are known, of others nothing."""
    known = {file.name: file for file in described(DATA)}
    size, digest = known["hf_cache/gan.pt"].size, known["gpt.pth"].sha256
    numbers = {"gpt.pth": (known["gpt.pth"].size, digest), "hf_cache/gan.pt": (size, None)}
    files = (
        ReleaseFile(name, *numbers.get(name, (0, None)), part, "" if name == remote else remote)
        for name, (part, remote) in WANTED.items()
    )
    repositories = [Repository("modelscope", "Index/Tiny", "master", "Index/Tiny")]
    repositories += [Repository("huggingface", r, commit, r) for r, commit in COMMITS.items()]
    return Release("Tiny", tuple(files), tuple(repositories), pinned=False)


class PartsHub(FakeHub):
    """As its real one: it has repositories, and knows neither other ones nor other revisions."""

    def __init__(self, title: str, revisions: dict[str, str]) -> None:
        super().__init__(title, {})
        self.revisions = revisions
        self.there = {repo: dict(THERE[repo]) for repo in revisions}

    def _open(self, repo_id: str, revision: str) -> dict[str, bytes]:
        if self.error:
            raise self.error
        if self.revisions.get(repo_id) != revision:
            raise HubFailed(f"{self.title}: {repo_id} at {revision}: HTTP 404; no such repository")
        return self.there[repo_id]

    def list_files(self, repo_id: str, revision: str) -> Listing:
        found = described(self._open(repo_id, revision))
        return Listing(None, {file.name: file for file in found})

    def fetch(self, repo_id: str, revision: str, file: ReleaseFile, folder: Path) -> None:
        self.data = self._open(repo_id, revision)
        if file.name not in self.data:
            raise HubFailed(f"{self.title}: {repo_id} has no {file.name}: HTTP 404")
        super().fetch(repo_id, revision, file, folder)


Hubs = dict[HubName, PartsHub]


@pytest.fixture
def hubs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Hubs:
    empty_caches(monkeypatch, tmp_path)
    return {
        "modelscope": PartsHub("ModelScope", {"Index/Tiny": "master"}),
        "huggingface": PartsHub("Hugging Face", COMMITS),
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "models" / "Tiny"


def run(folder: Path, hubs: Hubs, **options: Any) -> tuple[ReleaseFile, ...]:
    return Download(released(), folder, hub=lambda name: hubs[name], **options).run()


def test_every_part_comes_from_its_repository_and_gets_its_place(folder: Path, hubs: Hubs) -> None:
    files = run(folder, hubs)
    found = content(folder)
    assert found.pop(RECORD_NAME) and found == DATA
    assert [file.name for file in files] == list(DATA)
    record = read_record(folder)
    assert record and record.files["gpt.pth"].origin == "ModelScope Index/Tiny master"
    assert record.files["hf_cache/gan.json"].origin == f"Hugging Face nvidia/Gan {'3' * 40}"
    run(folder, hubs, offline=True)
    assert Download(released(), folder, hub=nothing).run() == files


def test_a_part_that_a_hub_does_not_give_comes_from_the_other(folder: Path, hubs: Hubs) -> None:
    hubs["modelscope"].error = HubFailed("ModelScope: no answer")
    run(folder, hubs)
    assert not hubs["modelscope"].fetched and len(hubs["huggingface"].fetched) == len(DATA)


def test_what_is_known_of_a_file_is_held_against_what_is_listed(folder: Path, hubs: Hubs) -> None:
    for hub in hubs.values():
        hub.there["Index/Tiny"]["gpt.pth"] = DATA["gpt.pth"][::-1]
    with pytest.raises(HubFailed, match=r"now has another gpt\.pth than the release"):
        run(folder, hubs)
    assert not any(hub.fetched for hub in hubs.values())
    hubs["modelscope"].there["Index/Tiny"]["gpt.pth"] = DATA["gpt.pth"]
    hubs["huggingface"].there["nvidia/Gan"]["deep/gan.pt"] += b"more"
    with pytest.raises(HubFailed, match=r"now has another hf_cache/gan\.pt than the release"):
        run(folder, hubs)


def test_what_was_recorded_holds(folder: Path, hubs: Hubs) -> None:
    run(folder, hubs)
    (folder / "hf_cache" / "bert" / "config.json").unlink()
    hubs["huggingface"].there["meta/Bert"]["config.json"] = b"()"
    with pytest.raises(HubFailed, match=r"now has another hf_cache/bert/config\.json"):
        run(folder, hubs)


def test_what_the_release_states_holds_against_a_record(folder: Path, hubs: Hubs) -> None:
    run(folder, hubs)
    record = read_record(folder)
    assert record
    wrong = described({"gpt.pth": b"another"})[0]
    told = RecordedFile(size=wrong.size, sha256=str(wrong.sha256), origin="elsewhere")
    write_record(folder, record.model_copy(update={"files": {**record.files, "gpt.pth": told}}))
    fill(folder, {"gpt.pth": b"another"})
    run(folder, hubs)
    assert content(folder)["gpt.pth"] == DATA["gpt.pth"] and read_record(folder) == record


def test_a_record_that_lacks_a_file_is_not_the_whole_release(folder: Path, hubs: Hubs) -> None:
    files = run(folder, hubs)
    record, lost = read_record(folder), "hf_cache/bert/config.json"
    assert record
    (folder / lost).unlink()
    fewer = {name: file for name, file in record.files.items() if name != lost}
    write_record(folder, record.model_copy(update={"files": fewer}))
    with pytest.raises(ModelDirectoryError, match=f"has no record of {lost} of Tiny, so"):
        run(folder, hubs, offline=True)
    assert run(folder, hubs) == files
    assert read_record(folder) == record and content(folder)[lost] == DATA[lost]


def test_a_renamed_file_goes_on_where_it_was(folder: Path, hubs: Hubs) -> None:
    place = f"{STAGING}/huggingface/hf_cache/gan.pt.from/deep/gan.pt"
    fill(folder, {f"{place}.partial": DATA["hf_cache/gan.pt"][:1500]})
    run(folder, hubs)
    assert ("deep/gan.pt", "3" * 40, 1500) in hubs["huggingface"].fetched
    assert {name: content(folder)[name] for name in DATA} == DATA


def test_a_cache_has_the_parts_under_their_own_names(
    folder: Path, hubs: Hubs, tmp_path: Path
) -> None:
    cache = tmp_path / "hf-cache" / "models--nvidia--Gan" / "snapshots" / "main"
    fill(cache, THERE["nvidia/Gan"])
    other = tmp_path / "hf-cache" / "models--meta--Bert" / "snapshots" / "main"
    fill(other, {"config.json": b"of another time"})
    run(folder, hubs)
    record = read_record(folder)
    assert record and record.files["hf_cache/gan.pt"].origin == "Hugging Face cache"
    assert "config.json" in hubs["huggingface"].names()
    assert {name: content(folder)[name] for name in DATA} == DATA


def test_what_cannot_be_asked_for(folder: Path, hubs: Hubs) -> None:
    with pytest.raises(HubFailed, match=r"modelscope has no meta/Bert, a part of Tiny"):
        run(folder, hubs, source="modelscope")
    with pytest.raises(InvalidRequest, match=r"'v1' is of one repository, and Tiny is made of 3"):
        run(folder, hubs, source="huggingface", revision="v1")
    with pytest.raises(ModelDirectoryError, match=r"has no record of Tiny, so offline mode"):
        run(folder, hubs, offline=True)
    assert not any(hub.fetched for hub in hubs.values())


class TestIndexTTS2:
    def test_all_that_is_read_is_fetched_each_from_a_repository_with_a_commit(self) -> None:
        names = {file.name for file in INDEXTTS2.files}
        assert names >= {*NEEDED, *(part.file for part in (*RELEASED, *AUXILIARY))}
        assert len(INDEXTTS2.parts) == 5
        for part in INDEXTTS2.parts:
            *_, last = INDEXTTS2.repositories_of(part)
            assert last.hub == "huggingface" and re.fullmatch("[0-9a-f]{40}", last.revision)
        large = [file for file in INDEXTTS2.files if file.size > 20_000_000]
        assert len(large) == 7 and all(re.fullmatch("[0-9a-f]{64}", f.sha256 or "") for f in large)

    def test_the_licences_are_accepted_before_anything_is_asked(
        self, folder: Path, hubs: Hubs, capsys: pytest.CaptureFixture[str], monkeypatch
    ) -> None:
        command = ["download", "--release", NAME, "--dir", str(folder), "--offline"]
        assert main(command) == 1
        refused = capsys.readouterr().err
        assert "--accept-licence bilibili-model-use --accept-licence CC-BY-NC-4.0" in refused
        assert main([*command, "--accept-licence", "GPL"]) == 1
        assert "'GPL' has not to be accepted" in capsys.readouterr().err
        accepted = ["--accept-licence", "bilibili-model-use", "--accept-licence", "CC-BY-NC-4.0"]
        assert main([*command, *accepted]) == 1
        assert f"has no record of {NAME}" in capsys.readouterr().err
        run(folder, hubs)
        monkeypatch.setitem(RELEASES, "Tiny", released())
        monkeypatch.setitem(LICENCES, "Tiny", LICENCES[NAME])
        assert main(["download", "--release", "Tiny", *command[3:], *accepted]) == 0
        assert capsys.readouterr().out.endswith(
            f"next: tritone convert {folder} {folder}-model {' '.join(accepted)}\n"
        )

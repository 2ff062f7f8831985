"""API keys: shown once, hashed in the file, looked up again when it changes."""

import json
import stat
from pathlib import Path

import pytest

from tritone import cli
from tritone.errors import EnvironmentProblem
from tritone.gateway.keys import KeyFile, new_key, read_keys, write_keys


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys.json"


def add(path: Path, name: str, *more: str) -> str:
    assert cli.main(["keys", "add", name, "--keys", str(path), *more]) == 0
    return name


def test_a_key_is_shown_once_and_nothing_in_the_file_is_it(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    add(path, "phone", "--requests-per-minute", "30", "--streams", "2")
    key = capsys.readouterr().out.strip()
    secret = key.rpartition("-")[2]
    text = path.read_text()
    assert key not in text and secret not in text
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    record = KeyFile(path).match(key)
    assert record and (record.name, record.requests_per_minute, record.streams) == ("phone", 30, 2)
    assert cli.main(["keys", "--keys", str(path)]) == 0
    listed = capsys.readouterr().out
    assert "phone" in listed and "30 requests a minute" in listed and secret not in listed


def test_two_keys_share_no_salt(path: Path) -> None:
    (one, first), (two, second) = new_key("a", 0, 0), new_key("b", 0, 0)
    assert one != two and first.salt != second.salt
    write_keys(path, [first, second])
    file = KeyFile(path)
    assert file.match(one) == first and file.match(two) == second


@pytest.mark.parametrize("change", [str.upper, lambda k: k[:-1], lambda k: f"{k} ", lambda _: ""])
def test_a_changed_key_is_none(path: Path, change) -> None:
    key, record = new_key("a", 0, 0)
    write_keys(path, [record])
    file = KeyFile(path)
    assert file.match(change(key)) is None
    other = new_key("b", 0, 0)[0].rpartition("-")[2]
    assert file.match(f"tritone-{record.id}-{other[:43]}") is None


def test_the_file_is_read_again_when_it_changes(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    key, record = new_key("a", 0, 0)
    later, added = new_key("b", 0, 0)
    write_keys(path, [record])
    file = KeyFile(path)
    write_keys(path, [record, added])
    assert file.match(later) == added
    path.write_text("{")
    assert file.match(key) is None and file.match(key) is None
    assert caplog.text.count("nobody is let in") == 1
    write_keys(path, [record])
    assert file.match(key) == record
    path.unlink()
    assert file.match(key) is None


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "No such file or directory; `tritone keys add NAME"),
        ("no json", "is no key file"),
        ('{"keys": [{"id": "x"}]}', "is no key file"),
        ('{"kees": []}', "is no key file"),
    ],
)
def test_what_is_no_key_file_is_refused(path: Path, content: str | None, said: str) -> None:
    if content is not None:
        path.write_text(content)
    with pytest.raises(EnvironmentProblem, match=said):
        KeyFile(path)


def test_keys_are_removed_by_name(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    add(path, "a")
    add(path, "b")
    assert cli.main(["keys", "remove", "a", "--keys", str(path)]) == 0
    assert [record.name for record in read_keys(path)] == ["b"]
    assert cli.main(["keys", "remove", "c", "--keys", str(path)]) == 2
    assert "no key is named 'c'; there are b" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["add", "a"], "--keys FILE is needed"),
        (["add", "b", "--keys", "FILE"], "no key has yet"),
        (["add", "a b", "--keys", "FILE"], "a name of 1 to 64"),
        (["add", "c", "--keys", "FILE", "--streams", "-1"], "at least 0"),
        (["list", "--keys", "/nowhere/keys.json"], "No such file"),
        (["add", "c", "--keys", "/nowhere/keys.json"], "cannot be written"),
    ],
)
def test_what_is_wrong_is_said(
    path: Path,
    words: list[str],
    said: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("TRITONE_KEYS", raising=False)
    add(path, "b")
    before = path.read_text()
    words = [str(path) if word == "FILE" else word for word in words]
    assert cli.main(["keys", *words]) == 2
    assert said in capsys.readouterr().err and path.read_text() == before
    assert json.loads(before)["keys"][0]["name"] == "b"

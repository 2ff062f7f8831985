"""`tritone voices`: what people type, and what they are told."""

import json
import re
from pathlib import Path

import pytest
import soundfile
from paths import GOLDEN
from sound_files import SPOKEN, noisy, spoken, wav_file

from tritone import cli

HEART = str(SPOKEN["heart"])


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TRITONE_VOICES", str(tmp_path / "voices"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def voices(*words: str) -> int:
    return cli.main(["voices", *words])


def add(voice_id: str, *words: str) -> int:
    return voices("add", voice_id, HEART, "--consent", "given", *words)


def test_add_list_and_remove(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert add("ann", "--language", "en", "--voices", str(folder / "other")) == 0
    told = capsys.readouterr().out
    assert "added ann" in told and re.search(r"[\d.]+ s, of these [\d.]+ s in the encoders", told)
    assert voices("list") == 0 and "ann" not in capsys.readouterr().out
    assert voices("--voices", str(folder / "other")) == 0
    *own, added = capsys.readouterr().out.splitlines()
    assert len(own) == 2 and added.split()[:2] == ["+", "ann"]
    assert voices("--json", "--voices", str(folder / "other")) == 0
    (record,) = json.loads(capsys.readouterr().out)
    assert record["id"] == "ann" and record["language"] == "en" and record["consent"] == "given"
    assert voices("remove", "ann", "--voices", str(folder / "other")) == 0
    assert voices("remove", "ann", "--voices", str(folder / "other")) == 2
    assert "'ann' is not in the registry" in capsys.readouterr().err


def test_a_refusal_says_everything(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "poor.wav").write_bytes(wav_file(noisy(spoken("joe")[:12000], 3)))
    assert voices("add", "ann", "poor.wav", "--consent", "given") == 2
    said = capsys.readouterr().err
    assert "1 s or more is needed" in said and "10 dB or more is needed" in said
    assert voices("add", "ann", "none.wav", "--consent", "given") == 2
    assert "none.wav is no file" in capsys.readouterr().err
    assert voices("sing") == 2
    assert "it has list, add, remove" in capsys.readouterr().err


def test_what_is_no_voice_is_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "voices").mkdir()
    (folder / "voices" / "ann.json").write_text("{}")
    assert voices("list") == 1
    assert "skipped: ann.json" in capsys.readouterr().err


def test_a_pack_there_and_back(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert add("ann") == 0 and voices("export", "ann") == 0
    said = re.search(r"ann\.voice: \d+ bytes, SHA-256 ([0-9a-f]{64})", capsys.readouterr().out)
    assert said
    assert voices("import", "ann.voice", "--id", "anna", "--sha256", "0" * 64) == 2
    assert "has another SHA-256" in capsys.readouterr().err
    assert voices("import", "ann.voice", "--id", "anna", "--sha256", said[1]) == 0
    assert voices("import", "ann.voice") == 2
    assert "'ann' is in the registry already" in capsys.readouterr().err
    tampered = (folder / "ann.voice").read_bytes().replace(b"given", b"taken")
    (folder / "tampered.voice").write_bytes(tampered)
    assert voices("import", "tampered.voice", "--id", "eve") == 2
    assert "pack: is damaged" in capsys.readouterr().err


def test_a_file_of_upstream(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = GOLDEN / "llm_frontend" / "spk2info_async.pt"
    assert voices("import", str(file), "--licence", "Apache-2.0") == 0
    assert "added 001" in capsys.readouterr().out
    assert voices("import", str(file), "--id", "x") == 2


@pytest.mark.slow
def test_listen(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert add("ann") == 0
    assert voices("listen", "ann", "Hello there.", "--voices", str(folder / "voices")) == 0
    wave, rate = soundfile.read(folder / "ann.wav")
    assert rate == 24000 and len(wave) > rate / 4 and wave.std() > 0.01
    assert voices("listen", "nobody", "Hello there.") == 2
    assert "'nobody' is not registered" in capsys.readouterr().err

"""The word that a server says in registered voices before it is called ready."""

import logging
from dataclasses import replace
from pathlib import Path

import pytest
from paths import EMBEDDED
from serving import RATE

from tritone.cli.serve import prepared
from tritone.config import CONFIG_NAME
from tritone.errors import ModelDirectoryError
from tritone.families import open_model
from tritone.frontend.voices import VOICES_FOLDER
from tritone.launcher import TritonServer
from tritone.launcher.golden import Sample
from tritone.launcher.speaker import speaker
from tritone.launcher.warm_up import MOST_VOICES, voices_to_warm, warm_up


def model_with(folder: Path, voices: list[str], default: str | None) -> Path:
    config = open_model(EMBEDDED).config.model_copy(update={"default_voice": default})
    (folder / CONFIG_NAME).write_text(config.model_dump_json(), encoding="utf-8")
    (folder / VOICES_FOLDER).mkdir()
    for name in voices:
        (folder / VOICES_FOLDER / f"{name}.safetensors").touch()
    return folder


@pytest.mark.parametrize(
    "voices, default, chosen",
    [
        (["ann", "bob"], "ann", ["bob", "ann"]),
        (["ann", "bob"], None, ["ann", "bob"]),
        (["a", "b", "c", "d", "e", "f"], "f", ["a", "b", "c", "f"]),
        (["a", "b", "c", "d", "e", "f"], None, ["a", "b", "c", "d"]),
        (["ann"], "gone", ["ann"]),
        ([], None, []),
    ],
)
def test_the_default_voice_is_the_last_of_some(
    tmp_path: Path, voices: list[str], default: str | None, chosen: list[str]
) -> None:
    assert voices_to_warm(model_with(tmp_path, voices, default)) == chosen
    assert len(chosen) <= MOST_VOICES


def test_a_folder_without_a_model_has_no_voices(tmp_path: Path) -> None:
    assert voices_to_warm(tmp_path) == []


@pytest.mark.server
def test_a_voice_that_fails_is_named_and_the_others_are_warm(
    server: TritonServer, caplog: pytest.LogCaptureFixture
) -> None:
    speak = speaker(server.urls.http, server.settings.public, RATE)
    with caplog.at_level(logging.WARNING):
        warm, seconds = warm_up(speak, ["stranger", "joe"])
    assert warm == ["joe"]
    assert seconds > 0
    (record,) = caplog.records
    assert "a word in the voice stranger failed" in record.message
    assert "'stranger' is not registered" in record.message


@pytest.mark.server
def test_the_golden_sample_is_heard_after_the_warm_up(
    server: TritonServer, capsys: pytest.CaptureFixture[str]
) -> None:
    sample = Sample.of(EMBEDDED, None)
    assert sample is not None
    speak = speaker(server.urls.http, "cosyvoice2", RATE)
    assert prepared(speak, ["joe"], sample) > 0
    warm, heard = capsys.readouterr().out.splitlines()
    assert warm.startswith("warmed up in ") and warm.endswith(": joe")
    assert heard == "heard the golden sample, in the voice heart"
    with pytest.raises(ModelDirectoryError, match="INVALID_ARGUMENT: voice: 'stranger' is not reg"):
        prepared(speak, [], replace(sample, voice="stranger"))
    assert prepared(speak, [], None) >= 0 and not capsys.readouterr().out


def test_a_server_that_has_gone_is_one_warning(caplog: pytest.LogCaptureFixture) -> None:
    speak = speaker("http://127.0.0.1:1", "cosyvoice2", RATE)
    with caplog.at_level(logging.WARNING):
        assert warm_up(speak, ["joe", "heart"])[0] == []
    (record,) = caplog.records
    assert "the voice joe failed: no answer from http://127.0.0.1:1/" in record.message

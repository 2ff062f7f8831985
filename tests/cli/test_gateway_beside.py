"""What `tritone serve` gives to the gateway beside it."""

from pathlib import Path

import pytest
from command_line import options_of
from paths import EMBEDDED

from tritone.cli.gateway import gateway
from tritone.cli.gateway_beside import Beside
from tritone.launcher import ServerSettings
from tritone.launcher.ports import free_ports
from tritone.resources import model_repository, triton_folder


def options(model: Path, voices: Path | None) -> dict[str, object]:
    """Those of the gateway beside a server of this model directory and registry."""
    settings = ServerSettings(
        model_repository(), triton_folder(), model_dir=model, voices_dir=voices
    )
    beside = Beside(port=free_ports()[0]).of(settings)
    assert beside.process is not None
    words = beside.process._command
    return options_of(gateway, words[words.index("gateway") + 1 :])


def test_its_model_directory_and_its_registry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = options(EMBEDDED, tmp_path / "voices")
    assert (named["voices"], named["voices_model"]) == (tmp_path / "voices", EMBEDDED)
    monkeypatch.setenv("TRITONE_VOICES", str(tmp_path / "other"))
    assert options(EMBEDDED, None)["voices"] == tmp_path / "other"


def test_a_model_directory_that_makes_no_voices(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TRITONE_VOICES", raising=False)
    assert options(tmp_path, tmp_path / "voices")["voices"] is None

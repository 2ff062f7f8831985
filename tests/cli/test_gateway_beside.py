"""What `tritone serve` gives to the gateway beside it."""

import re
from pathlib import Path
from typing import Any

import pytest
from command_line import options_of
from paths import EMBEDDED
from toy_server import free_ports

from tritone.cli.gateway import gateway
from tritone.cli.gateway_beside import Beside
from tritone.errors import EnvironmentProblem
from tritone.gateway.settings import GatewaySettings
from tritone.launcher import ServerSettings
from tritone.resources import model_repository, triton_folder


def options(model: Path, voices: Path | None, **asked: Any) -> dict[str, object]:
    """Those of the gateway beside a server of this model directory and registry."""
    settings = ServerSettings(
        model_repository(), triton_folder(), model_dir=model, voices_dir=voices
    )
    beside = Beside(**{"gateway_port": free_ports()["http_port"], **asked}).of(settings)
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


def test_what_is_asked_for_is_passed_on() -> None:
    port = free_ports()["http_port"]
    given = options(
        EMBEDDED,
        None,
        gateway_port=port,
        voice_alias=["alloy=heart", "nova=joe"],
        gateway_max_connections=7,
        gateway_idle_seconds=1.5,
        gateway_stall_seconds=20.0,
    )
    assert (given["address"], given["port"]) == ("127.0.0.1", port)
    assert given["voice_alias"] == ["alloy=heart", "nova=joe"]
    assert (given["max_connections"], given["idle_seconds"], given["stall_seconds"]) == (7, 1.5, 20)
    usual = options(EMBEDDED, None)
    assert not usual["voice_alias"] and usual["idle_seconds"] == GatewaySettings.idle_seconds


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"voice_alias": ["alloy"]}, "--voice-alias alloy: NAME=VOICE is needed"),
        ({"gateway_max_connections": 0}, "--gateway-max-connections is 0; it must be at least 1"),
        ({"gateway_idle_seconds": -1.0}, "--gateway-idle-seconds is -1; it must be above 0"),
        ({"gateway_stall_seconds": float("nan")}, "--gateway-stall-seconds is nan; it must be"),
        ({"gateway_address": "0.0.0.0"}, "--gateway-address 0.0.0.0 is open to other machines"),
    ],
)
def test_what_cannot_be_run_is_refused(asked: dict[str, Any], said: str) -> None:
    with pytest.raises(EnvironmentProblem, match=re.escape(said)):
        options(EMBEDDED, None, **asked)

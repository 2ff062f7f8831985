"""What of an error is logged: no text of a client, unless the operator wants it."""

import json
import sys
from types import ModuleType, SimpleNamespace

import pytest

from tritone.errors import (
    InvalidRequest,
    ModelDirectoryError,
    NothingToSay,
    Overloaded,
    StageFailed,
    TritoneError,
)
from tritone.serving import log_text
from tritone.serving.log_text import LEFT_OUT, loggable, loggable_stack
from tritone.synthesis.timing import Timing

SECRET = "a word of the text"


@pytest.mark.parametrize(
    "error, logged",
    [
        (InvalidRequest("target_text", SECRET), f"InvalidRequest: target_text: {LEFT_OUT}"),
        (NothingToSay("target_text", SECRET), f"NothingToSay: target_text: {LEFT_OUT}"),
        (InvalidRequest("emotion_text", SECRET), f"InvalidRequest: emotion_text: {LEFT_OUT}"),
        (InvalidRequest("speed", "is 3"), "InvalidRequest: speed: is 3"),
        (StageFailed("frontend", SECRET), f"StageFailed: frontend: {LEFT_OUT}"),
        (StageFailed("cosyvoice2", SECRET), f"StageFailed: cosyvoice2: {LEFT_OUT}"),
        (StageFailed("vocoder", "no memory"), "StageFailed: vocoder: no memory"),
        (ValueError(SECRET), f"ValueError: {LEFT_OUT}"),
        (Overloaded("16 streams are running"), "Overloaded: 16 streams are running"),
        (ModelDirectoryError("no file"), "ModelDirectoryError: no file"),
    ],
)
def test_messages(error: Exception, logged: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert loggable(error) == logged
    monkeypatch.setattr(log_text, "LOGS_TEXT", True)
    assert loggable(error) == f"{type(error).__name__}: {error}"


def raised() -> ValueError:
    """With a cause that quotes too."""
    try:
        try:
            raise KeyError(SECRET)
        except KeyError as cause:
            raise ValueError(SECRET) from cause
    except ValueError as error:
        return error


def test_stacks(monkeypatch: pytest.MonkeyPatch) -> None:
    hidden = loggable_stack(raised(), "frontend")
    assert "in raised" in hidden and hidden.endswith(f"ValueError: {LEFT_OUT}")
    assert f'"{SECRET}"' not in hidden and f"'{SECRET}'" not in hidden
    assert SECRET in loggable_stack(raised(), "vocoder")  # it sees numbers alone
    monkeypatch.setattr(log_text, "LOGS_TEXT", True)
    assert SECRET in loggable_stack(raised(), "frontend")


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.setitem(sys.modules, "triton_python_backend_utils", ModuleType("pb_utils"))
    from tritone.serving import account

    return account


@pytest.mark.parametrize("logs_text", [False, True])
def test_the_line_of_a_request(
    account: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path, logs_text: bool
) -> None:
    monkeypatch.setattr(log_text, "LOGS_TEXT", logs_text)
    monkeypatch.setattr(account, "LOGS_TEXT", logs_text)
    metrics = SimpleNamespace(update=lambda *_: None, ended=lambda *_: None)
    with (tmp_path / "out").open("wb") as out:
        monkeypatch.setattr(account, "_STDOUT", out.fileno())
        kept = account.Account(Timing(24000), metrics)
        kept.name("r1")
        with pytest.raises(TritoneError), kept.noting():
            raise NothingToSay("target_text", SECRET)
        assert SECRET in kept.record()["error"], "the client is told"
        kept.close()
    line = json.loads((tmp_path / "out").read_text())
    assert (SECRET in line["error"], "notes" in line) == (logs_text, logs_text)
    assert (line["id"], line["outcome"]) == ("r1", "refused")

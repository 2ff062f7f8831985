"""The key that the models of one server show each other."""

import json
import sys
from types import ModuleType, SimpleNamespace

import pytest

from tritone.errors import InvalidRequest


@pytest.fixture
def messages(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.setitem(sys.modules, "triton_python_backend_utils", ModuleType("pb_utils"))
    from tritone.serving import messages

    return messages


def request(**parameters: object) -> SimpleNamespace:
    """As Triton gives it: no parameters at all are an empty text."""
    return SimpleNamespace(parameters=lambda: json.dumps(parameters) if parameters else "")


def test_a_request_of_this_server_is_taken(
    messages: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(messages, "_INNER_KEY", "secret")
    messages.inner_inputs(request(**messages.inner_parameters(), other=1))


@pytest.mark.parametrize("parameters", [{}, {"other": 1}, {"tritone_inner_key": "é"}])
@pytest.mark.parametrize("value", ["", "secre", "secrets", None, 0])
def test_any_other_is_refused(
    messages: ModuleType, monkeypatch: pytest.MonkeyPatch, parameters: dict, value: object
) -> None:
    monkeypatch.setattr(messages, "_INNER_KEY", "secret")
    with pytest.raises(InvalidRequest, match="takes no requests of clients") as caught:
        messages.inner_inputs(request(**{"tritone_inner_key": value, **parameters}))
    assert caught.value.field == "model_name" and "secret" not in str(caught.value)


def test_without_a_key_everybody_may_ask(
    messages: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(messages, "_INNER_KEY", "")
    assert messages.inner_parameters() == {}
    messages.inner_inputs(request())

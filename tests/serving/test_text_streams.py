"""The end of a speech that further requests may belong to."""

import json
from types import SimpleNamespace
from typing import Any

import pytest
from backend_fakes import backend

from tritone.synthesis.timing import Timing

NAME = "of-sixteen-and-more"


class Request:
    """Of the public model, with parameters alone."""

    def __init__(self, **parameters: Any) -> None:
        self._parameters = parameters

    def parameters(self) -> str:
        return json.dumps(self._parameters)


def test_an_id_is_free_before_the_last_response_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever reads that response may use the id again at once, and cancels nothing with it."""
    request = Request(text_stream=NAME, text_start=True, text_end=True)
    with backend(monkeypatch, "messages", "account", "text_streams", "open_streams") as modules:
        texts = modules.text_streams.TextStreams("cosyvoice2", longest=100, idle_s=1)
        text = texts.begin(request)
        seen = []

        def leave(*_: Any, flags: int) -> None:
            again = texts.begin(request)
            seen.append((flags, again.refusal))

        account = modules.account.Account(Timing(24000), SimpleNamespace())
        sender = SimpleNamespace(send=leave, is_cancelled=lambda: False)
        stream = modules.open_streams.OpenStream(sender, account, SimpleNamespace(), text=text)
        assert texts.begin(request).refusal
        stream.send(flags=1)
        assert seen == [(1, None)]
        assert texts.begin(request).refusal, "the one that follows keeps it"
        assert text.report()["sent"]["samples"] == 0

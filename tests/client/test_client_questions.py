"""What both clients ask of servers before they speak: of those that are there, silent or gone."""

import asyncio
import re
import threading
from collections.abc import Callable
from typing import Any

import pytest
from fake_server import MODEL, FakeServer
from shaky_server import Asked
from tritonclient.grpc import service_pb2
from waiting import HANG_S

from tritone_client import AsyncSpeechClient, SpeechClient, SpeechError, Utterance
from tritone_client.say import main

SAID = Utterance("one two")


def test_questions_go_to_whoever_answers(serve: Callable, nobody: str) -> None:
    urls = f"{nobody},{serve(Asked())}"
    with SpeechClient(urls) as client:
        assert client.is_ready() and (client.model, client.sample_rate) == (MODEL, 24000)

    async def ask() -> tuple[bool, int]:
        async with AsyncSpeechClient(urls) as client:
            return await client.is_ready(), await client.sample_rate()

    assert asyncio.run(ask()) == (True, 24000)


class Silent(FakeServer):
    """Answers no question."""

    def ModelStatistics(self, _: Any, context: Any) -> service_pb2.ModelStatisticsResponse:
        self._say_nothing(context)
        return service_pb2.ModelStatisticsResponse()

    def ServerReady(self, _: Any, context: Any) -> service_pb2.ServerReadyResponse:
        self._say_nothing(context)
        return service_pb2.ServerReadyResponse()

    @staticmethod
    def _say_nothing(context: Any) -> None:
        gone = threading.Event()
        context.add_callback(gone.set)
        gone.wait(HANG_S)


def test_the_deadline_is_that_of_the_question_for_the_model_too(serve: Callable) -> None:
    url = serve(Silent())
    with (
        SpeechClient(url) as client,
        pytest.raises(SpeechError, match="DEADLINE_EXCEEDED"),
    ):
        client.speak(SAID, timeout=0.2)

    async def speak() -> None:
        async with AsyncSpeechClient(url) as client:
            await client.speak(SAID, timeout=0.2)

    with pytest.raises(SpeechError, match="DEADLINE_EXCEEDED"):
        asyncio.run(speak())


def test_a_silent_server_does_not_stop_a_question(
    serve: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tritone_client.attempts.ASK_TIMEOUT", 0.2)
    with SpeechClient([serve(Silent()), serve(Asked())]) as client:
        assert client.model == MODEL


def test_nor_one_whether_it_is_ready(serve: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    url = serve(Silent())
    monkeypatch.setattr("tritone_client.attempts.ASK_TIMEOUT", 0.2)
    limits = []

    async def ask() -> bool:
        async with AsyncSpeechClient(url) as client:
            return await client.is_ready()

    with SpeechClient(url) as client:
        (stub,) = client._stubs
        ask_it = stub.ServerReady
        stub.ServerReady = lambda asked, timeout: limits.append(timeout) or ask_it(asked, timeout)
        assert not client.is_ready() and limits == [0.2]
    assert not asyncio.run(ask())


def test_the_command_asks_again_and_tells(
    serve: Callable, nobody: str, capsys: pytest.CaptureFixture, tmp_path: Any
) -> None:
    urls = f"{nobody},{serve(Asked(2))}"
    more = ["--seed", "7", "--retries", "9", "--resume", "-o", str(tmp_path / "a.wav")]
    assert main(["one", "--url", urls, *more]) == 0
    assert re.search(r"asked again \d times", capsys.readouterr().err)
    with pytest.raises(SystemExit):
        main(["one", "--retries", "-1"])

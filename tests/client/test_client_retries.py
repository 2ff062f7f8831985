"""Both clients before servers that refuse, break off and are not there."""

import asyncio
import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import grpc
import numpy as np
import pytest
from fake_server import MODEL, FakeServer, answer, listening
from tritonclient.grpc import service_pb2
from waiting import HANG_S

from tritone_client import AsyncSpeechClient, SpeechClient, SpeechError, StreamMeter, Utterance
from tritone_client.say import main

SAID = Utterance("one two")
SAID_SEEDED = Utterance("one two", seed=7)
REFUSED = "UNAVAILABLE: 1 streams are running, the limit; retry after 0.01 s"
PACKET, PACKETS = 1000, 5


def wave(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(PACKET * PACKETS).astype("<f4")


class Shaky(FakeServer):
    """Speaks noise of the request's seed. faults: of its streams, in order: what it refuses them
    with, or packets after which it breaks off. asked: seeds of all requests so far."""

    def __init__(self, *faults: str | int) -> None:
        super().__init__()
        self._faults, self.asked = list(faults), list[int]()

    def ModelStreamInfer(self, requests: Iterator[Any], context: Any) -> Iterator[Any]:
        first = next(requests)
        seed = next(
            int.from_bytes(contents, "little")
            for tensor, contents in zip(first.inputs, first.raw_input_contents, strict=True)
            if tensor.name == "seed"
        )
        self.asked.append(seed)
        fault = self._faults.pop(0) if self._faults else None
        if isinstance(fault, str):
            yield answer(first, final=True, error=fault)
            return
        for number in range(PACKETS if fault is None else fault):
            message = answer(first, PACKET)
            part = wave(seed)[number * PACKET :][:PACKET]
            message.infer_response.raw_output_contents[0] = part.tobytes()
            yield message
        if fault is not None:
            context.abort(grpc.StatusCode.UNAVAILABLE, "Socket closed")
        yield answer(first, final=True)


def blocking(
    urls: list[str], meter: StreamMeter, timeout: float = HANG_S, **patience: Any
) -> np.ndarray:
    with SpeechClient(urls, MODEL, **patience) as client:
        stream = client.stream(SAID_SEEDED, timeout=timeout, on_retry=meter.retry)
        return np.concatenate(list(stream))


def awaited(
    urls: list[str], meter: StreamMeter, timeout: float = HANG_S, **patience: Any
) -> np.ndarray:
    async def speak() -> np.ndarray:
        async with AsyncSpeechClient(urls, MODEL, **patience) as client:
            stream = client.stream(SAID_SEEDED, timeout=timeout, on_retry=meter.retry)
            return np.concatenate([part async for part in stream])

    return asyncio.run(speak())


BOTH = pytest.mark.parametrize("speak", [blocking, awaited])
Speak = Callable[..., np.ndarray]


@pytest.fixture
def nobody() -> Iterator[str]:
    """An address at which nothing listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{taken.getsockname()[1]}"


@pytest.fixture
def serve() -> Iterator[Callable[[FakeServer], str]]:
    with ExitStack() as stack:
        yield lambda server: stack.enter_context(listening(server))


@pytest.fixture
def meter() -> StreamMeter:
    return StreamMeter(24000)


@BOTH
def test_the_next_server_speaks_where_one_is_not_there_or_refuses(
    speak: Speak, serve: Callable, nobody: str, meter: StreamMeter
) -> None:
    full, good = Shaky(REFUSED), Shaky()
    heard = speak([nobody, serve(full), serve(good)], meter)
    np.testing.assert_array_equal(heard, wave(7))
    assert (full.asked, good.asked) == ([7], [7])
    assert meter.finish().retries == 2


@BOTH
def test_one_server_is_asked_until_it_takes_the_request(
    speak: Speak, serve: Callable, meter: StreamMeter
) -> None:
    server = Shaky(REFUSED, "INTERNAL: flow: its process ended; say it again in a few seconds", 0)
    np.testing.assert_array_equal(speak([serve(server)], meter, retries=3), wave(7))
    assert len(server.asked) == 4 and meter.finish().retries == 3


@BOTH
@pytest.mark.parametrize("patience", [{}, {"retries": 1}])
def test_a_refusal_is_raised_when_patience_is_over(
    speak: Speak, serve: Callable, meter: StreamMeter, patience: dict
) -> None:
    server = Shaky(*[REFUSED] * 9)
    with pytest.raises(SpeechError, match="the limit; retry after"):
        speak([serve(server)], meter, **patience)
    assert len(server.asked) == 1 + patience.get("retries", 0)


@BOTH
def test_a_bad_request_goes_to_no_other_server(
    speak: Speak, serve: Callable, meter: StreamMeter
) -> None:
    first, second = Shaky("INVALID_ARGUMENT: speed: is 9.0"), Shaky()
    with pytest.raises(SpeechError, match="speed: is"):
        speak([serve(first), serve(second)], meter, retries=5, resume=True)
    assert second.asked == []


@BOTH
def test_what_was_heard_is_not_said_again(
    speak: Speak, serve: Callable, meter: StreamMeter
) -> None:
    first, second = Shaky(2), Shaky()
    with pytest.raises(SpeechError, match="UNAVAILABLE: Socket closed"):
        speak([serve(first), serve(second)], meter, retries=5)
    assert second.asked == []


@BOTH
@pytest.mark.parametrize("faults", [(2,), (4, 3, 1), (1, 0, REFUSED, 5)])
def test_a_lost_speech_goes_on_where_it_was(
    speak: Speak, serve: Callable, meter: StreamMeter, faults: tuple
) -> None:
    """Also where what goes on is lost before it comes to that place."""
    server = Shaky(*faults)
    heard = speak([serve(server)], meter, retries=3, resume=True)
    np.testing.assert_array_equal(heard, wave(7))
    assert meter.finish().retries == len(faults)


def test_a_speech_without_a_seed_has_one_when_it_is_to_go_on(serve: Callable) -> None:
    server = Shaky(3)
    with SpeechClient(serve(server), MODEL, retries=1, resume=True) as client:
        heard = client.speak(SAID, timeout=HANG_S)
    first, second = server.asked
    assert first == second
    np.testing.assert_array_equal(heard, wave(first))


@BOTH
def test_the_deadline_is_that_of_all_attempts(
    speak: Speak, serve: Callable, meter: StreamMeter
) -> None:
    full = Shaky("UNAVAILABLE: full; retry after 0.1 s")
    with pytest.raises(SpeechError, match=r"DEADLINE_EXCEEDED: .* within 0\.5 s"):
        speak([serve(full), serve(FakeServer())], meter, timeout=0.5)
    assert full.asked == [7]
    with pytest.raises(SpeechError, match="retry after 1000 s"):  # for which nobody waits
        speak([serve(Shaky("UNAVAILABLE: full; retry after 1000 s"))], meter, retries=1)


FOR_LONG = "UNAVAILABLE: full; retry after 1000 s"


def test_who_closes_the_client_ends_its_pauses(serve: Callable) -> None:
    client = SpeechClient(serve(Shaky(FOR_LONG)), MODEL, retries=9)
    pausing = threading.Event()
    told: list[str] = []

    def speak() -> None:
        with pytest.raises(SpeechError) as error:
            list(client.stream(SAID_SEEDED, timeout=None, on_retry=lambda _: pausing.set()))
        told.append(error.value.status)

    waiting = threading.Thread(target=speak)
    waiting.start()
    assert pausing.wait(HANG_S)
    client.close()
    waiting.join(HANG_S)
    assert told == ["CANCELLED"]


@pytest.mark.parametrize("way", ["close", "cancel"])
def test_a_pause_of_a_task_ends_by_a_close_and_by_a_cancel(serve: Callable, way: str) -> None:
    url = serve(Shaky(FOR_LONG))

    async def speak() -> BaseException:
        async with AsyncSpeechClient(url, MODEL, retries=9) as client:
            pausing = asyncio.Event()

            async def read() -> None:
                retried = client.stream(SAID_SEEDED, timeout=None, on_retry=lambda _: pausing.set())
                async for _ in retried:
                    pass

            reading = asyncio.create_task(read())
            await asyncio.wait_for(pausing.wait(), HANG_S)
            if way == "close":
                await client.close()
            else:
                reading.cancel()
            (ended,) = await asyncio.wait_for(
                asyncio.gather(reading, return_exceptions=True), HANG_S
            )
            assert isinstance(ended, BaseException)
            return ended

    ended = asyncio.run(speak())
    if way == "close":
        assert isinstance(ended, SpeechError) and ended.status == "CANCELLED"
    else:
        assert isinstance(ended, asyncio.CancelledError)


def test_what_is_begun_once_the_client_is_closed_is_cancelled(serve: Callable) -> None:
    client = SpeechClient(serve(FakeServer()), MODEL)
    client.close()
    with pytest.raises(SpeechError, match="CANCELLED"):
        client.begin(SAID)


def test_pieces_begin_at_the_next_good_server(
    serve: Callable, nobody: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tritone_client.servers.FIRST_PAUSE_S", HANG_S)
    monkeypatch.setattr("tritone_client.servers.LONGEST_PAUSE_S", HANG_S)
    with SpeechClient([nobody, serve(FakeServer())], MODEL) as client:
        with pytest.raises(SpeechError, match="UNAVAILABLE"):
            list(client.begin(SAID).packets())  # that the text is whole is not known
        for _ in range(3):
            with client.begin(SAID) as speech:
                assert next(speech.packets()).samples.size == 3


class Asked(Shaky):
    """Tells what models it has."""

    def ModelStatistics(self, *_: Any) -> service_pb2.ModelStatisticsResponse:
        return service_pb2.ModelStatisticsResponse(model_stats=[{"name": MODEL}])

    def ModelConfig(self, *_: Any) -> service_pb2.ModelConfigResponse:
        parameters = {"sample_rate": {"string_value": "24000"}}
        return service_pb2.ModelConfigResponse(config={"name": MODEL, "parameters": parameters})

    def ServerReady(self, *_: Any) -> service_pb2.ServerReadyResponse:
        return service_pb2.ServerReadyResponse(ready=True)


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
        gone = threading.Event()
        context.add_callback(gone.set)
        gone.wait(HANG_S)
        return service_pb2.ModelStatisticsResponse()


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


def test_the_command_asks_again_and_tells(
    serve: Callable, nobody: str, capsys: pytest.CaptureFixture, tmp_path: Any
) -> None:
    urls = f"{nobody},{serve(Asked(2))}"
    more = ["--seed", "7", "--retries", "9", "--resume", "-o", str(tmp_path / "a.wav")]
    assert main(["one", "--url", urls, *more]) == 0
    assert re.search(r"asked again \d times", capsys.readouterr().err)
    with pytest.raises(SystemExit):
        main(["one", "--retries", "-1"])

"""Both clients before servers that refuse, break off and are not there."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from fake_server import MODEL, FakeServer
from shaky_server import REFUSED, Shaky, wave
from waiting import HANG_S

from tritone_client import AsyncSpeechClient, SpeechClient, SpeechError, StreamMeter, Utterance

SAID = Utterance("one two")
SAID_SEEDED = Utterance("one two", seed=7)


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

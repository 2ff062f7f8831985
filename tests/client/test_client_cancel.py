"""How the clients leave speeches that go on: by a request, and by a cancel where none is heard."""

import asyncio
import signal
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import aclosing, closing

import pytest
from fake_server import MODEL, FakeServer, listening
from waiting import HANG_S

from tritone_client import (
    AsyncSpeechClient,
    Cancellation,
    SpeechClient,
    SpeechError,
    Utterance,
    aio_live,
    live,
)

SAID = Utterance("one two")
SHORT_S = 0.2  # a deadline that is over before a speech without end is


def left(client: SpeechClient) -> None:
    for _ in client.stream(SAID):
        break


def left_as_pieces(client: SpeechClient) -> None:
    with client.begin(SAID) as speech:
        next(speech.packets())
    with pytest.raises(SpeechError, match="CANCELLED: the speech was closed"):
        list(speech.packets())


def cancelled(client: SpeechClient) -> None:
    speech = client.begin(SAID)
    packets = speech.packets()
    next(packets)
    speech.cancel()
    assert list(packets) == [] and speech.cancellation == Cancellation(3, 0)


def late(client: SpeechClient) -> None:
    with pytest.raises(SpeechError, match=f"DEADLINE_EXCEEDED: .* within {SHORT_S} s"):
        client.speak(SAID, timeout=SHORT_S)


def interrupted(client: SpeechClient) -> None:
    """By Ctrl-C, while the next packet is waited for."""
    with closing(client.stream(SAID)) as stream:
        next(stream)
        main = threading.main_thread().ident
        with pytest.raises(KeyboardInterrupt):
            threading.Timer(0.05, signal.pthread_kill, (main, signal.SIGINT)).start()
            next(stream)


def closed_by_another(client: SpeechClient) -> None:
    with closing(client.stream(SAID)) as stream:
        next(stream)
        client.close()
        with pytest.raises(SpeechError, match="CANCELLED: the speech was closed"):
            next(stream)


async def aio_left(client: AsyncSpeechClient) -> None:
    async with aclosing(client.stream(SAID)) as stream:
        async for _ in stream:
            break


async def aio_cancelled(client: AsyncSpeechClient) -> None:
    speech = await client.begin(SAID)
    packets = speech.packets()
    await anext(packets)
    await speech.cancel()
    assert [packet async for packet in packets] == []
    assert speech.cancellation == Cancellation(3, 0)


async def aio_late(client: AsyncSpeechClient) -> None:
    with pytest.raises(SpeechError, match=f"DEADLINE_EXCEEDED: .* within {SHORT_S} s"):
        await client.speak(SAID, timeout=SHORT_S)


async def aio_task_cancelled(client: AsyncSpeechClient) -> None:
    heard = asyncio.Event()

    async def listen() -> None:
        async for _ in client.stream(SAID):
            heard.set()

    task = asyncio.create_task(listen())
    await heard.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def aio_task_cancelled_at_once(client: AsyncSpeechClient) -> None:
    task = asyncio.create_task(client.speak(SAID))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def aio_closed_by_another(client: AsyncSpeechClient) -> None:
    async with aclosing(client.stream(SAID)) as stream:
        await anext(stream)
        await client.close()
        with pytest.raises(SpeechError, match="CANCELLED: the speech was closed"):
            await anext(stream)


async def aio_failing_pieces(client: AsyncSpeechClient) -> None:
    async def pieces():
        yield "Hello."
        raise KeyError("x")

    with pytest.raises(KeyError):
        async for _ in client.stream_text(pieces()):
            pass


def failing_pieces(client: SpeechClient) -> None:
    def pieces() -> Iterator[str]:
        yield "Hello."
        raise KeyError("x")

    with pytest.raises(KeyError):
        list(client.stream_text(pieces()))


BLOCKING = (
    left,
    left_as_pieces,
    cancelled,
    late,
    interrupted,
    closed_by_another,
    failing_pieces,
)
ASYNCIO = (
    aio_left,
    aio_cancelled,
    aio_late,
    aio_task_cancelled,
    aio_task_cancelled_at_once,
    aio_closed_by_another,
    aio_failing_pieces,
)


def blocking_end(leave: Callable[[SpeechClient], None], server: FakeServer) -> str:
    with listening(server) as url, SpeechClient(url, MODEL) as client:
        leave(client)
        return server.ends.get(timeout=HANG_S)


def asyncio_end(leave: Callable[[AsyncSpeechClient], Awaitable[None]], server: FakeServer) -> str:
    async def run(url: str) -> None:
        async with AsyncSpeechClient(url, MODEL) as client:
            await leave(client)

    with listening(server) as url:
        asyncio.run(run(url))
        return server.ends.get(timeout=HANG_S)


@pytest.mark.parametrize("leave", BLOCKING)
def test_a_speech_is_left_by_a_request(leave: Callable[[SpeechClient], None]) -> None:
    assert blocking_end(leave, FakeServer()) == "closed"


@pytest.mark.parametrize("leave", ASYNCIO)
def test_a_speech_is_left_by_a_request_with_asyncio(
    leave: Callable[[AsyncSpeechClient], Awaitable[None]],
) -> None:
    assert asyncio_end(leave, FakeServer()) == "closed"


def test_many_packets_that_nobody_takes_hold_up_no_end() -> None:
    assert blocking_end(left, FakeServer(packets=1000)) == "closed"
    assert asyncio_end(aio_left, FakeServer(packets=1000)) == "closed"


@pytest.mark.parametrize("leave", [left, interrupted])
def test_a_server_that_does_not_answer_is_left_by_a_cancel(
    leave: Callable[[SpeechClient], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "GRACE_S", 0.1)
    assert blocking_end(leave, FakeServer(deaf=True)) == "cancelled"


@pytest.mark.parametrize("leave", [aio_left, aio_task_cancelled])
def test_so_is_one_with_asyncio(
    leave: Callable[[AsyncSpeechClient], Awaitable[None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aio_live, "GRACE_S", 0.1)
    assert asyncio_end(leave, FakeServer(deaf=True)) == "cancelled"


def test_a_process_that_ends_waits_for_nobody() -> None:
    """Its stream is still held, by a global; the threads that would read it are gone."""
    code = (
        "import sys; from tritone_client import SpeechClient, Utterance; "
        f"stream = SpeechClient(sys.argv[1], '{MODEL}').stream(Utterance('one')); next(stream); "
        "raise SystemExit(3)"
    )
    with listening(FakeServer()) as url:
        assert subprocess.run([sys.executable, "-c", code, url], timeout=HANG_S).returncode == 3

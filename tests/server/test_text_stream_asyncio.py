"""Text that comes in pieces, by the asyncio client, before the real server."""

import asyncio
from collections.abc import AsyncIterator

import numpy as np
import pytest
from serving import LONG, RATE, SHORT, cancelled, gauges, is_speech, wait_until_free
from waiting import HANG_S, wait_until

from tritone.launcher import TritonServer
from tritone_client import (
    FLUSH,
    AsyncSpeechClient,
    Cancellation,
    Packet,
    SpeechError,
    Utterance,
)

pytestmark = pytest.mark.server
TEXT = "Hello there, Dr. Smith. I paid 3.14 euros!\n\nIs it true?"


def test_a_text_in_pieces(server: TritonServer) -> None:
    async def spoken() -> tuple[np.ndarray, str]:
        async def pieces() -> AsyncIterator[str]:
            for piece in TEXT:
                yield piece

        async def failing() -> AsyncIterator[str]:
            yield "Hello there. And"
            raise KeyError("x")

        async with AsyncSpeechClient(server.urls.grpc) as client:
            heard = [samples async for samples in client.stream_text(pieces())]
            try:
                heard += [samples async for samples in client.stream_text(failing())]
            except KeyError:
                return np.concatenate(heard), "KeyError"
        return np.concatenate(heard), ""

    before = cancelled(server)
    samples, error = asyncio.run(spoken())
    assert is_speech(samples) and error == "KeyError"
    wait_until(lambda: cancelled(server) == before + 1)


def test_it_hears_of_an_error_while_the_text_goes_on(server: TritonServer) -> None:
    async def spoken(*pieces: str) -> None:
        async def open_ended() -> AsyncIterator[str]:
            for piece in pieces:
                yield piece
            await asyncio.Event().wait()

        async with AsyncSpeechClient(server.urls.grpc) as client:
            async for _ in client.text_packets(open_ended(), timeout=HANG_S):
                pass

    with pytest.raises(SpeechError, match="has a NUL character"):
        asyncio.run(spoken("\0", *"more"))


def test_it_has_records(server: TritonServer) -> None:
    async def spoken() -> list[Packet]:
        async def pieces() -> AsyncIterator[str]:
            yield "there."
            yield FLUSH
            yield " Goodbye."

        async with AsyncSpeechClient(server.urls.grpc) as client:
            packets = client.text_packets(pieces(), Utterance("Hello ", seed=1), timing=True)
            return [packet async for packet in packets]

    packets = asyncio.run(spoken())
    assert all(packet.timing for packet in packets)
    spans = packets[-1].timing["spans"]
    assert spans[-1]["text"][1] == len("Hello there. Goodbye.")
    assert spans[-1]["samples"][1] == sum(len(packet.samples) for packet in packets)


def test_a_cancel_says_what_was_sent(server: TritonServer) -> None:
    """While another task goes on to write."""

    async def spoken() -> tuple[Cancellation | None, int]:
        async with (
            AsyncSpeechClient(server.urls.grpc) as client,
            await client.begin(Utterance(f"{SHORT} ")) as speech,
        ):

            async def write() -> None:
                while not speech.over:
                    await speech.say("And so on ")
                    await asyncio.sleep(0.01)

            await speech.say(LONG)
            writing, heard = asyncio.create_task(write()), 0
            async for packet in speech.packets():
                heard += len(packet.samples)
                if heard > RATE:
                    await speech.cancel()
            await writing
            return speech.cancellation, heard

    before = cancelled(server)
    sent, heard = asyncio.run(spoken())
    assert sent and sent.samples >= heard > RATE
    assert sent.under_way is None or sent.under_way[0] >= sent.text_end
    wait_until_free(server)
    wait_until(lambda: cancelled(server) == before + 1)


def test_a_cancel_while_the_text_is_waited_for(server: TritonServer) -> None:
    async def spoken() -> Cancellation | None:
        async with (
            AsyncSpeechClient(server.urls.grpc) as client,
            await client.begin(Utterance("Unfinished")) as speech,
        ):
            await asyncio.to_thread(wait_until, lambda: gauges(server)["tritone_streams"] == 1)
            await speech.cancel()
            assert [packet async for packet in speech.packets()] == []
            return speech.cancellation

    assert asyncio.run(spoken()) == Cancellation(0, 0, None)
    wait_until_free(server)


def test_what_comes_after_the_end_goes_nowhere(server: TritonServer) -> None:
    async def spoken() -> tuple[Cancellation | None, int]:
        async with (
            AsyncSpeechClient(server.urls.grpc) as client,
            await client.begin(Utterance("Hello.")) as speech,
        ):
            await speech.end()
            packets = [packet async for packet in speech.packets()]
            assert speech.over
            await speech.say("More.")
            await speech.cancel()
            return speech.cancellation, sum(len(packet.samples) for packet in packets)

    cancellation, heard = asyncio.run(spoken())
    assert cancellation is None and heard > 0
    wait_until_free(server)


def test_leaving_it_ends_the_speech(server: TritonServer) -> None:
    async def left() -> None:
        async with AsyncSpeechClient(server.urls.grpc) as client:
            async with await client.begin() as speech:
                await speech.say("Unfinished")
                await asyncio.to_thread(wait_until, lambda: gauges(server)["tritone_streams"] == 1)
            assert speech.over

    before = cancelled(server)
    asyncio.run(left())
    wait_until_free(server)
    wait_until(lambda: cancelled(server) == before + 1)

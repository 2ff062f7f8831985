"""WebSockets of the gateway before the real server: a text in pieces, cancelled, cut off."""

import asyncio
import base64
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import numpy as np
import pytest
import stream_caller
from gateways import RunningGateway
from metrics_scrape import Scrape
from openai import AsyncOpenAI
from serving import LONGEST, RATE, SENTENCE, SHORT, gauges, is_speech, wait_until_free
from stream_caller import say
from waiting import HANG_S, wait_until
from websockets.asyncio.client import ClientConnection, connect

from tritone.launcher import TritonServer

pytestmark = pytest.mark.server

START = {"type": "start", "model": "tts-1", "voice": "joe", "seed": 7}


def conversation(gateway: RunningGateway, talk: Callable[[ClientConnection], Awaitable]) -> Any:
    async def run() -> Any:
        url = gateway.api.replace("http", "ws") + "/audio/stream"
        async with connect(url, max_size=None) as caller:
            return await asyncio.wait_for(talk(caller), HANG_S)

    return asyncio.run(run())


async def heard(caller: ClientConnection, last: str) -> tuple[list[dict[str, Any]], np.ndarray]:
    """All messages up to the first of this type, and the samples among them."""
    told, sound = await stream_caller.heard(caller, last, errors=False)
    return told, np.frombuffer(sound, "<i2") / np.float32(32767)


def test_a_text_that_is_whole_sounds_as_over_http(gateway: RunningGateway) -> None:
    body = {"model": "tts-1", "voice": "joe", "seed": 7, "input": SENTENCE}
    body |= {"response_format": "pcm"}
    posted = httpx.post(gateway.speech, json=body, timeout=HANG_S).content

    async def talk(caller: ClientConnection) -> list[tuple[list[dict[str, Any]], np.ndarray]]:
        await say(caller, {**START, "input": SENTENCE})
        once = await heard(caller, "done")
        await say(caller, {**START, "input": SENTENCE})  # on the same connection
        return [once, await heard(caller, "done")]

    for told, samples in conversation(gateway, talk):
        assert (np.frombuffer(posted, "<i2") / np.float32(32767) == samples).all()
        assert told[-1]["samples"] == len(samples)
        assert told[-1]["usage"]["input_tokens"] == len(SENTENCE)
        assert told[-2]["text"][1] == len(SENTENCE) and told[-2]["samples"][1] == len(samples)


def test_token_by_token(gateway: RunningGateway) -> None:
    async def talk(caller: ClientConnection) -> tuple[list[dict[str, Any]], np.ndarray]:
        tokens = [f" {word}" for word in SENTENCE.split()]
        await say(caller, START, *({"type": "text", "text": token} for token in tokens))
        await say(caller, {"type": "text", "text": " And"})  # a sentence ends where one begins
        first = b""
        while not isinstance(first, bytes) or not first:
            first = await caller.recv()
        await say(caller, {"type": "text", "text": " more"}, {"type": "flush"})
        told, rest = await heard(caller, "segment")
        await say(caller, {"type": "text", "text": " at last."}, {"type": "end"})
        more, last = await heard(caller, "done")
        count = len(first) // 2 + len(rest) + len(last)
        assert count == more[-1]["samples"]
        return [m for m in told + more if m["type"] == "segment"], rest

    segments, samples = conversation(gateway, talk)
    assert is_speech(samples)
    ends = [0, *(segment["text"][1] for segment in segments)]
    assert [segment["text"][0] for segment in segments] == ends[:-1]
    assert ends[-1] == len(f" {SENTENCE} And more at last.")


def test_a_sentence_is_heard_while_it_is_written(gateway: RunningGateway) -> None:
    begun, rest = "The birch canoe slid on the smooth planks of the ", "old harbour"

    async def talk(caller: ClientConnection) -> list[dict[str, Any]]:
        await say(caller, {**START, "text_mode": "interleaved"}, {"type": "text", "text": begun})
        sound = await caller.recv()
        while not isinstance(sound, bytes) or not sound:
            sound = await caller.recv()
        await say(caller, {"type": "text", "text": rest}, {"type": "end"})
        told, more = await heard(caller, "done")
        assert told[-1]["samples"] == len(sound) // 2 + len(more)
        return [message for message in told if message["type"] == "segment"]

    (segment,) = conversation(gateway, talk)
    assert segment["text"] == [0, len(begun + rest)]


def test_a_cancel_says_what_was_sent(gateway: RunningGateway, server: TritonServer) -> None:
    async def talk(caller: ClientConnection) -> tuple[dict[str, Any], int]:
        await say(caller, {**START, "audio": "binary"}, {"type": "text", "text": LONGEST})
        count = 0
        while count < 2 * RATE:
            message = await caller.recv()
            count += len(message) // 2 if isinstance(message, bytes) else 0
        await say(caller, {"type": "cancel"})
        told, rest = await heard(caller, "cancelled")
        return told[-1], count + len(rest)

    cancelled, count = conversation(gateway, talk)
    assert cancelled["samples"] == count
    end = cancelled["text"][1]
    assert 0 <= end < len(LONGEST)
    assert cancelled["under_way"] is None or cancelled["under_way"]["text"] == end
    wait_until_free(server)


def test_a_caller_that_goes_frees_the_stream(gateway: RunningGateway, server: TritonServer) -> None:
    """While it is spoken, and while the text is waited for."""
    for text in (LONGEST, "Unfinished"):

        async def talk(caller: ClientConnection, text: str = text) -> None:
            await say(caller, START, {"type": "text", "text": text})
            await heard(caller, "started")
            await asyncio.to_thread(wait_until, lambda: gauges(server)["tritone_streams"] == 1)
            caller.transport.abort()

        conversation(gateway, talk)
        wait_until_free(server)
        wait_until(lambda: page(gateway)["tritone_gateway_streams"] == 0)
    wait_until(lambda: page(gateway)["tritone_gateway_connections"] == 0)


@pytest.mark.parametrize("dialect", ["beta", "later"])
def test_openai_s_package_hears_what_a_post_gives(gateway: RunningGateway, dialect: str) -> None:
    body = {"model": "tts-1", "voice": "joe", "seed": 7, "input": SENTENCE}
    posted = httpx.post(gateway.speech, json={**body, "response_format": "pcm"}, timeout=HANG_S)

    async def run() -> tuple[bytes, str]:
        url = gateway.api.replace("http:", "ws:")
        openai = AsyncOpenAI(api_key="none", base_url=gateway.api, websocket_base_url=url)
        realtime = openai.beta.realtime if dialect == "beta" else openai.realtime
        content = [{"type": "input_text", "text": SENTENCE}]
        item = {"type": "message", "role": "user", "content": content}
        async with realtime.connect(model="tts-1") as connection:
            await connection.session.update(session={"seed": 7, "voice": "joe"})
            await connection.conversation.item.create(item=item)
            await connection.response.create()
            sound, said = b"", ""
            async for event in connection:
                assert event.type != "error", event
                if event.type.endswith("audio.delta"):
                    sound += base64.b64decode(event.delta)
                if event.type.endswith("audio_transcript.delta"):
                    said += event.delta
                if event.type == "response.done":
                    assert event.response.status == "completed"
                    return sound, said
        raise AssertionError("the connection ended")

    assert asyncio.run(run()) == (posted.content, SENTENCE)


def page(gateway: RunningGateway) -> Scrape:
    return Scrape(httpx.get(f"{gateway.url}/metrics", timeout=HANG_S).text)


@pytest.mark.parametrize(
    ("start", "text", "code", "param"),
    [
        ({"voice": "nobody"}, "Hello.", "voice_not_found", "voice"),
        ({}, "\0", "invalid_value", "input"),
        ({}, "😀", "nothing_to_say", "input"),
        ({}, "x" * 20_001, "invalid_value", "input"),
    ],
)
def test_what_the_server_refuses(
    gateway: RunningGateway, start: dict[str, str], text: str, code: str, param: str
) -> None:
    async def talk(caller: ClientConnection) -> dict[str, Any]:
        await say(caller, {**START, **start}, {"type": "text", "text": text}, {"type": "end"})
        told, _ = await heard(caller, "error")
        await say(caller, {**START, "input": SHORT})
        await heard(caller, "done")
        return told[-1]

    refused = conversation(gateway, talk)
    assert (refused["error"]["code"], refused["error"]["param"]) == (code, param)
    assert refused["id"]

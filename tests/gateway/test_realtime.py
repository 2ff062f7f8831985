"""/v1/realtime before a server that speaks without one, to OpenAI's package as it is."""

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest
from fake_speech import RATE, WORD, Served, served
from openai import AsyncOpenAI
from websockets.asyncio.client import ClientConnection, connect

DIALECTS = ("beta", "later")


def connecting(dialect: str, there: Served, model: str = "tts-1") -> AbstractAsyncContextManager:
    """As the package's users do it."""
    openai = AsyncOpenAI(
        api_key="none", base_url=there.url.replace("ws:", "http:"), websocket_base_url=there.url
    )
    realtime = openai.beta.realtime if dialect == "beta" else openai.realtime
    return realtime.connect(model=model)


def conversation(dialect: str, talk: Callable[[Served, Any], Awaitable[None]]) -> None:
    async def run() -> None:
        async with served() as there, connecting(dialect, there) as connection:
            assert (await connection.recv()).type == "session.created"
            await talk(there, connection)

    asyncio.run(run())


def session(dialect: str, **output: Any) -> dict[str, Any]:
    """An update as this dialect has it."""
    if dialect == "beta":
        return {**output, "output_audio_format": "pcm16", "turn_detection": None, "tools": []}
    output["format"] = {"type": "audio/pcm", "rate": 24000}
    return {"type": "realtime", "audio": {"output": output}, "output_modalities": ["audio"]}


def item(text: str, **more: Any) -> dict[str, Any]:
    content = [{"type": "input_text", "text": text}]
    return {"type": "message", "role": "user", "content": content, **more}


async def until(connection: Any, last: str) -> list[Any]:
    """Events, up to the first of this type."""
    events = [await connection.recv()]
    while events[-1].type != last:
        events.append(await connection.recv())
    return events


@pytest.mark.parametrize("dialect", DIALECTS)
def test_an_item_is_spoken(dialect: str) -> None:
    audio = "response.audio" if dialect == "beta" else "response.output_audio"
    there_is = "created" if dialect == "beta" else "added"

    async def talk(there: Served, connection: Any) -> None:
        await connection.session.update(session=session(dialect, voice="heart", speed=1.25))
        updated = (await until(connection, "session.updated"))[-1].session
        said = updated if dialect == "beta" else updated.audio.output
        assert (said.voice, said.speed) == ("heart", 1.25)
        await connection.conversation.item.create(item=item("One two. Three.", id="mine"))
        created = await until(connection, f"conversation.item.{there_is}")
        assert created[-1].item.id == "mine" and created[-1].item.content[0].text
        if dialect != "beta":
            assert (await connection.recv()).type == "conversation.item.done"
        await connection.response.create(response={"instructions": "Softly."})
        events = await until(connection, "response.done")
        delta, told = f"{audio}.delta", f"{audio}_transcript.delta"
        extra = [] if dialect == "beta" else ["conversation.item.done"]
        assert [event.type for event in events] == [
            "response.created",
            "response.output_item.added",
            f"conversation.item.{there_is}",
            "response.content_part.added",
            *(delta, delta, told, delta, told),
            *(f"{audio}.done", f"{audio}_transcript.done"),
            *("response.content_part.done", "response.output_item.done", *extra),
            "response.done",
        ]
        sound = b"".join(base64.b64decode(e.delta) for e in events if e.type == delta)
        assert len(sound) == 2 * 3 * WORD and RATE == 24000
        response = events[-1].response
        assert response.status == "completed"
        assert response.output[0].content[0].transcript == "One two. Three."
        assert (response.usage.input_tokens, response.usage.output_tokens) == (15, 3)
        asked = there.speech.asked[-1]
        assert (asked.text, asked.voice) == ("One two. Three.", "heart")
        assert (asked.instruct_text, asked.speed) == ("Softly.", 1.25)

    conversation(dialect, talk)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_cancel(dialect: str) -> None:
    async def talk(there: Served, connection: Any) -> None:
        await connection.conversation.item.create(item=item("One. Two wait three."))
        await connection.response.create()
        kind = "audio" if dialect == "beta" else "output_audio"
        name = (await until(connection, "response.created"))[-1].response.id
        await until(connection, f"response.{kind}_transcript.delta")
        await connection.recv()  # the sound of "Two"
        await connection.response.create()
        assert "is being spoken" in (await connection.recv()).error.message
        await connection.response.cancel(response_id="resp_x")
        assert (await connection.recv()).error.param == "response_id"
        await connection.response.cancel(response_id=name)
        response = (await until(connection, "response.done"))[-1].response
        assert response.status == "cancelled"
        assert response.status_details.reason == "client_cancelled"
        assert response.output[0].content[0].transcript == "One."
        assert there.speech.running == 0
        await connection.response.cancel()
        assert "nothing is being spoken" in (await connection.recv()).error.message
        there_is = {"type": "message", "role": "assistant"}
        there_is["content"] = [{"type": "output_text", "text": "Again."}]
        await connection.response.create(response={"conversation": "none", "input": [there_is]})
        assert (await until(connection, "response.done"))[-1].response.status == "completed"
        assert there.speech.asked[-1].text == "Again."

    conversation(dialect, talk)


def test_a_cancel_before_any_sound() -> None:
    async def talk(there: Served, connection: Any) -> None:
        await connection.conversation.item.create(item=item("wait"))
        await connection.response.create()
        await connection.response.cancel()
        response = (await until(connection, "response.done"))[-1].response
        assert response.status == "cancelled"

    conversation("later", talk)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_response_that_fails(dialect: str) -> None:
    async def talk(there: Served, connection: Any) -> None:
        await connection.session.update(session=session(dialect, voice="nobody"))
        await connection.conversation.item.create(item=item("One."))
        await connection.response.create()
        *_, error = await until(connection, "error")
        assert error.error.code == "voice_not_found" and "'nobody'" in error.error.message
        response = (await until(connection, "response.done"))[-1].response
        assert response.status == "failed"
        assert response.status_details.error.code == "voice_not_found"

    conversation(dialect, talk)


@pytest.mark.parametrize(
    ("event", "param", "said"),
    [
        ({"type": "input_audio_buffer.append", "audio": "AAAA"}, "type", "is not supported here"),
        ({"type": "conversation.item.truncate", "item_id": "a"}, "type", "is not supported here"),
        ({"type": "session.update"}, "session", "Field required"),
        ({"type": "session.update", "session": {"tools": [{"type": "x"}]}}, "session.tools", ""),
        ({"type": "session.update", "session": {"model": "x"}}, "session.model", "stays"),
        ({"type": "session.update", "session": {"speed": 3}}, "speed", "the limits are"),
        (
            {"type": "session.update", "session": {"output_audio_format": "g711_ulaw"}},
            "session.output_audio_format",
            "Input should be 'pcm16'",
        ),
        (
            {"type": "session.update", "session": {"modalities": ["text"]}},
            "session.modalities",
            "audio must be among them",
        ),
        (
            {"type": "conversation.item.create", "item": {**item("a"), "role": "system"}},
            "item.role",
            "'user' or 'assistant'",
        ),
        ({"type": "response.create"}, "response", "there is no item"),
        ({"type": "response.cancel"}, "type", "nothing is being spoken"),
    ],
)
def test_what_is_not_supported_is_told(event: dict[str, Any], param: str, said: str) -> None:
    async def talk(there: Served, connection: Any) -> None:
        await connection.send({"event_id": "mine", **event})
        told = await connection.recv()
        assert told.type == "error" and told.error.code
        assert told.error.event_id == "mine"
        assert told.error.param == param and said in told.error.message

    conversation("later", talk)


def test_what_is_no_event_and_what_is_too_much() -> None:
    async def run() -> None:
        path = "/realtime?model=gpt-realtime"
        async with (
            served(max_request_bytes=4000) as there,
            connect(there.url + path, subprotocols=["realtime", "openai-beta.realtime-v1"]) as it,
        ):
            assert it.subprotocol == "realtime"
            assert "output_audio_format" in (await told(it))["session"], "a page's beta"
            deep: Any = {}
            for _ in range(300):
                deep = {"a": deep}
            for wrong in ("{", b"\0", json.dumps({"type": "session.update", "session": deep})):
                await it.send(wrong)
                assert (await told(it))["error"]["code"] == "invalid_value"
            create = {"type": "conversation.item.create", "item": item("a" * 3000)}
            await it.send(json.dumps(create))
            assert (await told(it))["type"] == "conversation.item.created"
            await it.send(json.dumps(create))
            assert (await told(it))["error"]["code"] == "request_too_large"

    asyncio.run(run())


async def told(caller: ClientConnection) -> dict[str, Any]:
    return json.loads(await caller.recv())


@pytest.mark.parametrize(
    ("query", "code"), [("?model=nobody", "model_not_found"), ("", "invalid_value")]
)
def test_a_model_that_is_not_there(query: str, code: str) -> None:
    async def run() -> None:
        async with served() as there, connect(f"{there.url}/realtime{query}") as caller:
            assert (await told(caller))["error"]["code"] == code
            await caller.wait_closed()
            assert caller.close_code == 1008

    asyncio.run(run())

"""Talking over /v1/audio/stream."""

import json
from typing import Any

from websockets.asyncio.client import ClientConnection

START = {"type": "start", "model": "tts-1"}
PATH = "/audio/stream"


async def say(caller: ClientConnection, *messages: dict[str, Any]) -> None:
    for message in messages:
        await caller.send(json.dumps(message))


async def heard(
    caller: ClientConnection, last: str, *, errors: bool = True
) -> tuple[list[dict[str, Any]], bytes]:
    """All messages up to the first of this type, and the sound among them. errors: whether others
    may come before it."""
    told, sound = [], b""
    while not told or told[-1]["type"] != last:
        message = await caller.recv()
        if isinstance(message, bytes):
            sound += message
        else:
            told.append(json.loads(message))
            assert errors or last == "error" or told[-1]["type"] != "error", told[-1]
    return told, sound


async def error(caller: ClientConnection) -> dict[str, Any]:
    """The next message, which is one."""
    told = json.loads(await caller.recv())
    assert told["type"] == "error", told
    assert set(told["error"]) == {"message", "type", "param", "code"}
    return told

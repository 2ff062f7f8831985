"""Utterances that a caller begins faster than they are spoken."""

import asyncio
import json
from typing import Any

import pytest
from fake_speech import WORD, served, until
from stream_caller import PATH, START, heard, say
from websockets.asyncio.client import connect

from tritone.gateway.conversation import _MOST_TOLD, Conversation
from tritone.gateway.errors import ApiError
from tritone.gateway.limits import Caller
from tritone.gateway.live import Text
from tritone.gateway.speech import SpeechOptions

WAITS = {**START, "input": "wait."}


def test_many_starts_at_once() -> None:
    """One is spoken, and each of the others is told so."""

    async def run() -> None:
        async with served() as there, connect(there.url + PATH) as caller:
            await say(caller, *[WAITS] * 50)
            told = [json.loads(await caller.recv()) for _ in range(50)]
            refused = [message for message in told if message["type"] == "error"]
            assert len(refused) == 49 and {message["id"] for message in refused} == {None}
            assert "wait for its done or cancel" in refused[0]["error"]["message"]
            assert there.speech.running == len(there.speech.asked) == 1
            there.speech.gate.set()
            assert len((await heard(caller, "done", errors=False))[1]) == 2 * WORD
            await say(caller, WAITS)
            await heard(caller, "done", errors=False)
            assert len(there.speech.asked) == 2

    asyncio.run(run())


def test_a_start_may_follow_a_cancel_at_once() -> None:
    async def run() -> None:
        async with served() as there, connect(there.url + PATH) as caller:
            await say(caller, WAITS, {"type": "cancel"}, WAITS, {"type": "cancel"})
            await say(caller, {**START, "input": "Again."})
            told, sound = await heard(caller, "done", errors=False)
            ends = [m["type"] for m in told if m["type"] in ("cancelled", "done")]
            assert ends == ["cancelled", "cancelled", "done"] and len(sound) == 2 * WORD
            assert told[-1]["id"] not in {m["id"] for m in told if m["type"] == "cancelled"}

    asyncio.run(run())


class Impatient(Conversation):
    """Begins and cancels; nothing comes over its socket."""

    async def greet(self) -> None: ...

    async def take(self, content: dict[str, Any]) -> None: ...

    async def refuse(self, error: ApiError, content: dict[str, Any]) -> None: ...


class Deaf:
    """A listener who takes the end of a speech when `reads` is set."""

    def __init__(self) -> None:
        self.reads, self.ends = asyncio.Event(), 0

    async def cancelled(self, progress: object) -> None:
        await self.reads.wait()
        self.ends += 1

    async def other(self, *_: object) -> None: ...

    started = sound = segment = done = failed = other


def test_ends_that_nobody_takes_are_bounded() -> None:
    async def run() -> None:
        async with served() as there:
            listener = Deaf()
            impatient = Impatient(there.gateway, Caller(), None)  # type: ignore[arg-type]

            def begin() -> None:
                options = SpeechOptions(model="tts-1")
                impatient.begin(options, Text("wait.", whole=True), listener)
                assert impatient.speech and not impatient.may_begin
                impatient.speech.cancel()

            for _ in range(_MOST_TOLD):
                begin()
            with pytest.raises(ApiError, match=f"{_MOST_TOLD} utterances are not told yet") as told:
                begin()
            assert (told.value.status, told.value.code) == (429, "overloaded")
            listener.reads.set()
            await until(lambda: listener.ends == _MOST_TOLD)
            await until(lambda: impatient.speech is None)
            begin()
            await until(lambda: listener.ends == _MOST_TOLD + 1)

    asyncio.run(run())

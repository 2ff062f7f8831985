"""/v1/audio/stream before a server that speaks without one: what it says, and when it ends."""

import asyncio
import base64
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
import pytest
from fake_speech import LONGEST, WORD, Served, served, until
from stream_caller import PATH, START, error, heard, say
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed


def conversation(talk: Callable[[Served, ClientConnection], Awaitable[None]], **changes: Any):
    """Have one, over a connection of its own."""

    async def run() -> None:
        async with served(**changes) as there, connect(there.url + PATH) as caller:
            await talk(there, caller)

    asyncio.run(run())


def test_a_sentence_is_heard_before_the_next_one_is_written() -> None:
    async def talk(there: Served, caller: ClientConnection) -> None:
        await say(caller, START, *({"type": "text", "text": t} for t in ("One ", "two", ".")))
        told, sound = await heard(caller, "segment")
        assert [m["type"] for m in told] == ["started", "segment"]
        assert told[0]["sample_rate"] == 24000 and told[0]["response_format"] == "pcm"
        assert (told[1]["text"], told[1]["samples"]) == ([0, 8], [0, 2 * WORD])
        await say(caller, {"type": "text", "text": " Three."}, {"type": "end"})
        more, rest = await heard(caller, "done")
        assert more[0]["text"] == [8, 15] and len(sound + rest) == 2 * 3 * WORD
        assert more[-1]["samples"] == 3 * WORD
        assert more[-1]["usage"] == {"input_tokens": 15, "output_tokens": 3, "total_tokens": 18}
        assert len({m["id"] for m in told + more}) == 1

    conversation(talk)


def test_flush_speaks_what_there_is() -> None:
    async def talk(there: Served, caller: ClientConnection) -> None:
        await say(caller, START, {"type": "text", "text": "Well"}, {"type": "flush"})
        told, sound = await heard(caller, "segment")
        assert len(sound) == 2 * WORD and told[-1]["text"] == [0, 4]

    conversation(talk)


def test_a_cancel_says_what_was_sent_and_another_utterance_may_begin() -> None:
    async def talk(there: Served, caller: ClientConnection) -> None:
        await say(caller, START, {"type": "text", "text": "One two. Three wait four. Five."})
        sound = b""
        while len(sound) < 2 * 3 * WORD:
            sound += (await heard(caller, "segment"))[1] if not sound else await caller.recv()
        await say(caller, {"type": "cancel"})
        told, rest = await heard(caller, "cancelled")
        assert not rest and told[-1]["samples"] == 3 * WORD and told[-1]["text"] == [0, 8]
        assert told[-1]["under_way"] == {"text": 8, "sample": 2 * WORD}
        assert there.speech.running == 0
        await say(caller, {**START, "input": "Again."})
        told, sound = await heard(caller, "done")
        assert len(sound) == 2 * WORD

    conversation(talk)


def test_a_cancel_before_any_sound() -> None:
    async def talk(there: Served, caller: ClientConnection) -> None:
        await say(caller, {**START, "input": "wait"}, {"type": "cancel"})
        told, sound = await heard(caller, "cancelled")
        assert not sound
        assert (told[-1]["samples"], told[-1]["text"], told[-1]["under_way"]) == (0, [0, 0], None)
        await say(caller, START)
        await heard(caller, "started")
        await say(caller, {"type": "cancel"})
        assert (await heard(caller, "cancelled"))[0][-1]["samples"] == 0

    conversation(talk)


def test_formats_rates_and_options() -> None:
    async def talk(there: Served, caller: ClientConnection) -> None:
        for form, rate in (("wav", 48000), ("mp3", None), ("opus", None), ("flac", 16000)):
            options = {"response_format": form, "sample_rate": rate, "input": "One two."}
            await say(caller, {**START, **options})
            told, sound = await heard(caller, "done")
            assert told[0]["sample_rate"] == rate or 24000
            assert told[-1]["samples"] == 2 * WORD * told[0]["sample_rate"] // 24000
            assert told[1]["samples"] == [0, told[-1]["samples"]]
            assert sound[:4] in (b"RIFF", b"OggS", b"fLaC") or form == "mp3"
        options = {"voice": {"id": "heart"}, "instructions": "Softly.", "speed": 1.5, "seed": 3}
        await say(caller, {**START, **options, "input": "One.", "audio": "base64"})
        told, sound = await heard(caller, "done")
        assert not sound and [m["type"] for m in told] == ["started", "audio", "segment", "done"]
        samples = np.frombuffer(base64.b64decode(told[1]["audio"]), "<i2")
        assert len(samples) == WORD and samples[0] == round(0.25 * 32767)
        asked = there.speech.asked[-1]
        assert (asked.voice, asked.instruct_text, asked.speed, asked.seed) == (
            "heart", "Softly.", 1.5, 3,
        )  # fmt: skip

    conversation(talk)


@pytest.mark.parametrize(
    ("message", "param", "said"),
    [
        ("{", None, "a message is no JSON"),
        ("[" * 5000, None, "a message is no JSON"),
        (b"\0", None, "a message is binary"),
        ("[]", "type", "a message must be a JSON object with a type"),
        ('{"type": 3}', "type", "a message must be a JSON object with a type"),
        ('{"type": "stop"}', "type", "'stop'; it must be one of start, text, flush, end, cancel"),
        ('{"type": "text", "text": 3}', "text", "is 3; Input should be a valid string"),
        ('{"type": "text", "text": "\\ud800"}', "text", "half of a surrogate pair"),
        ('{"type": "end", "text": "a"}', "text", "Extra inputs are not permitted"),
        ('{"type": "text", "text": "a"}', "type", "there is no utterance, send start first"),
        ('{"type": "cancel"}', "type", "there is no utterance, send start first"),
        ('{"type": "start"}', "model", "Field required"),
        ('{"type": "start", "model": "tts-1", "speed": 9}', "speed", "the limits are 0.5 and 2.0"),
        ('{"type": "start", "model": "tts-1", "speed": NaN}', "speed", "the limits are"),
    ],
)
def test_a_bad_message_is_told_and_the_next_one_is_taken(
    message: str | bytes, param: str | None, said: str
) -> None:
    async def talk(there: Served, caller: ClientConnection) -> None:
        await caller.send(message)
        told = await error(caller)
        assert told["error"]["code"] == "invalid_value" and told["id"] is None
        assert told["error"]["param"] == param and said in told["error"]["message"]
        await say(caller, {**START, "input": "One."})
        await heard(caller, "done")

    conversation(talk)


def test_a_bad_message_does_not_end_what_is_spoken() -> None:
    async def talk(there: Served, caller: ClientConnection) -> None:
        await say(caller, {**START, "input": "wait."})
        await heard(caller, "started")
        for message in (START, {"type": "text", "text": "a"}, {"type": "flush"}):
            await say(caller, message)
            assert (await error(caller))["id"] is None
        there.speech.gate.set()
        assert len((await heard(caller, "done"))[1]) == 2 * WORD

    conversation(talk)


@pytest.mark.parametrize(
    ("start", "status", "code"),
    [
        ({"model": "nobody", "input": "a"}, 404, "model_not_found"),
        ({"voice": "nobody", "input": "a"}, 404, "voice_not_found"),
        ({"input": ""}, 400, "nothing_to_say"),
        ({"response_format": "opus", "sample_rate": 22050}, 400, "invalid_value"),
        ({"input": "one fail"}, 500, "internal_error"),
    ],
)
def test_an_utterance_that_fails(start: dict[str, Any], status: int, code: str) -> None:
    async def talk(there: Served, caller: ClientConnection) -> None:
        await say(caller, {**START, **start})
        told, _ = await heard(caller, "error")
        assert told[-1]["error"]["code"] == code and told[-1]["id"]
        assert there.speech.running == 0
        await say(caller, {**START, "input": "One."})
        await heard(caller, "done")

    conversation(talk)


def test_a_text_that_is_too_long_ends_the_utterance() -> None:
    async def talk(there: Served, caller: ClientConnection) -> None:
        await say(caller, START, {"type": "text", "text": "a" * (LONGEST + 1)})
        told, _ = await heard(caller, "error")
        assert f"input: has {LONGEST + 1} characters" in told[-1]["error"]["message"]

    conversation(talk)


def test_pieces_that_nobody_takes_are_bounded() -> None:
    async def talk(there: Served, caller: ClientConnection) -> None:
        await say(caller, START, {"type": "text", "text": "One wait two."})
        await say(caller, *[{"type": "text", "text": ""}] * 1001)
        told, _ = await heard(caller, "error")
        assert told[-1]["error"]["code"] == "overloaded"
        there.speech.gate.set()
        await say(caller, {"type": "end"})
        await heard(caller, "done")

    conversation(talk)


@pytest.mark.parametrize("text", ["One.", "wait"])
def test_a_caller_that_goes_ends_the_work(text: str) -> None:
    async def talk(there: Served, caller: ClientConnection) -> None:
        await say(caller, START, {"type": "text", "text": text})
        await until(lambda: there.speech.running)
        caller.transport.abort()
        await until(lambda: not there.speech.running)
        await until(lambda: not there.gateway.places.taken and not there.gateway.sockets.taken)

    conversation(talk)


@pytest.mark.slow
def test_one_who_reads_nothing_is_let_go_and_nobody_else_minds() -> None:
    async def talk(there: Served, caller: ClientConnection) -> None:
        there.speech.size = 24000  # enough to fill what the kernel keeps
        slow = socket.create_connection(("127.0.0.1", int(there.url.split(":")[2][:-3])))
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sound = {**START, "input": "a " * 480}
        async with connect(there.url + PATH, sock=slow) as other:
            await say(other, sound)
            await other.recv()
            other.transport.pause_reading()
            await until(lambda: there.gateway.places.taken == 1)
            await say(caller, {**START, "input": "One."})
            assert len((await heard(caller, "done"))[1]) == 2 * 24000
            await until(lambda: not there.speech.running)
            other.transport.abort()
        await until(lambda: there.gateway.sockets.taken == 1)

    conversation(talk, stall_seconds=5.0)


@pytest.mark.slow
def test_one_who_says_nothing_is_let_go() -> None:
    async def talk(there: Served, caller: ClientConnection) -> None:
        await say(caller, {**START, "input": "wait."})
        await heard(caller, "started")
        await asyncio.sleep(6.0)  # silence while something is spoken is none
        there.speech.gate.set()
        await heard(caller, "done")
        assert (await error(caller))["error"]["code"] == "request_timeout"
        with pytest.raises(ConnectionClosed):
            await caller.recv()
        assert caller.close_code == 1008

    conversation(talk, idle_seconds=5.0)


def test_a_message_that_is_too_large() -> None:
    async def talk(there: Served, caller: ClientConnection) -> None:
        await say(caller, {"type": "text", "text": "x" * 1000})
        with pytest.raises(ConnectionClosed):
            await caller.recv()
        assert caller.close_code == 1009

    conversation(talk, max_request_bytes=1000)

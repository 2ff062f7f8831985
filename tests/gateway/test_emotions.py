"""Emotions of a request: what no model takes is refused at once, the rest goes to the server."""

import asyncio
import base64
import json
from typing import Any

import httpx
import numpy as np
import pytest
from fake_speech import Served, served
from gateway_answers import answers
from sound_files import RATE, spoken, wav_file
from stream_caller import PATH, START, error, heard, say
from waiting import HANG_S
from websockets.asyncio.client import connect

from tritone.gateway.settings import Address, GatewaySettings
from tritone_client import Emotion

SPEECH = "/v1/audio/speech"
NOBODY = GatewaySettings((Address("127.0.0.1:1"),))


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


@pytest.mark.parametrize(
    ("fields", "param", "said"),
    [
        ({"emotion_vector": [0.5, 1.3]}, "emotion_vector", "is 1.3; Input should be less than or"),
        ({"emotion_vector": [-0.1]}, "emotion_vector", "is -0.1; Input should be greater than or"),
        ({"emotion_vector": []}, "emotion_vector", "is []; List should have at least 1 item"),
        ({"emotion_vector": [0.1] * 65}, "emotion_vector", "at most 64 items"),
        ({"emotion_vector": "sad"}, "emotion_vector", "is 'sad'; Input should be a valid list"),
        ({"emotion_vector": ["1"]}, "emotion_vector", "is '1'; Input should be a valid number"),
        ({"emotion_weight": 1.5, "emotion_text": "a"}, "emotion_weight", "is 1.5; Input should be"),
        ({"emotion_weight": 0.5}, "emotion_weight", "needs emotion_vector, emotion_audio or emo"),
        ({"emotion_vector": [1], "emotion_text": "a"}, "emotion_vector", "cannot be combined with"),
        ({"emotion_audio": "a", "emotion_text": "a"}, "emotion_audio", "no base64 of a sound file"),
        ({"emotion_audio": "é"}, "emotion_audio", "no base64 of a sound file"),
        ({"emotion_audio": encoded(b"no sound")}, "emotion_audio", "cannot be read as sound"),
        ({"emotion_audio": ""}, "emotion_audio", "has 0 bytes; send a sound file"),
        (
            {"emotion_audio": encoded(wav_file(np.zeros(31 * 8000), 8000))},
            "emotion_audio",
            "lasts longer than 30 s",
        ),
    ],
)
def test_what_no_model_takes_is_named(fields: dict[str, Any], param: str, said: str) -> None:
    """Before any server is asked: there is none."""
    body = {"model": "tts-1", "input": "a", **fields}
    (answer,) = answers(NOBODY, {"method": "POST", "url": SPEECH, "json": body})
    told = answer.json()["error"]
    assert (answer.status_code, told["param"]) == (400, param), told
    assert told["message"].startswith(f"{param}: ") and said in told["message"]


def spoken_with(there: Served, **fields: Any) -> Any:
    async def talk() -> tuple[dict[str, Any], Emotion | None]:
        async with connect(there.url + PATH) as caller:
            await say(caller, {**START, "input": "One.", **fields})
            if there.speech.moods:
                await heard(caller, "done", errors=False)
                return {}, there.speech.asked[-1].emotion
            await heard(caller, "started")
            return (await error(caller))["error"], None

    return talk()


def test_the_server_is_asked_for_it() -> None:
    async def run() -> None:
        async with served() as there:
            there.speech.moods = 2
            _, asked = await spoken_with(there, emotion_vector=[0.5, 1.2], emotion_weight=0.25)
            assert asked == Emotion(vector=[0.5, 1.2], weight=0.25)
            _, asked = await spoken_with(there, emotion_text="So sad.")
            assert asked == Emotion(text="So sad.")
            sound = wav_file(spoken("joe"))
            _, asked = await spoken_with(there, emotion_audio=encoded(sound), emotion_weight=0)
            assert (asked.rate, asked.weight) == (RATE, 0)
            np.testing.assert_allclose(asked.wav, spoken("joe"), atol=1e-4)

    asyncio.run(run())


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"emotion_vector": [1.0]}, "emotion_vector"),
        ({"emotion_text": "So sad."}, "emotion_text"),
        ({"emotion_audio": encoded(wav_file(np.ones(RATE)))}, "emotion_audio"),
    ],
)
def test_a_model_without_emotions_refuses_it_by_name(fields: dict[str, Any], param: str) -> None:
    async def run() -> None:
        async with served() as there:
            told, _ = await spoken_with(there, **fields)
            assert told["param"] == param and told["message"].startswith(f"{param}: is no input")

    asyncio.run(run())


async def until_told(caller: Any, kind: str) -> dict[str, Any]:
    """The first event of this type, with no error before it."""
    while (told := json.loads(await caller.recv()))["type"] != kind:
        assert told["type"] != "error", told
    return told


def test_a_response_has_its_own_or_the_sessions() -> None:
    """Over /v1/realtime."""

    async def run() -> None:
        async with served() as there, connect(f"{there.url}/realtime?model=tts-1") as caller:
            there.speech.moods = 2

            async def emotion(**fields: Any) -> Emotion | None:
                said = {"type": "message", "role": "user"}
                said["content"] = [{"type": "input_text", "text": "One."}]
                response = {"input": [said], **fields}
                await say(caller, {"type": "response.create", "response": response})
                ended = await until_told(caller, "response.done")
                assert ended["response"]["status"] == "completed"
                return there.speech.asked[-1].emotion

            assert await emotion() is None
            session = {"emotion_vector": [0.5, 1], "emotion_weight": 0.25}
            await say(caller, {"type": "session.update", "session": session})
            assert await emotion() == Emotion(vector=[0.5, 1], weight=0.25)
            assert await emotion(emotion_weight=0.75) == Emotion(vector=[0.5, 1], weight=0.75)
            assert await emotion(emotion_text="So sad.") == Emotion(text="So sad.")
            assert await emotion() == Emotion(vector=[0.5, 1], weight=0.25)
            wrong = {**session, "emotion_text": "a"}
            await say(caller, {"type": "session.update", "session": wrong})
            told = await until_error(caller)
            assert told["param"] == "emotion_vector" and "cannot be combined" in told["message"]
            await say(caller, {"type": "session.update", "session": {"emotion_vector": [2]}})
            assert (await until_error(caller))["param"] == "session.emotion_vector"

    asyncio.run(run())


async def until_error(caller: Any) -> dict[str, Any]:
    while (told := json.loads(await caller.recv()))["type"] != "error":
        pass
    error: dict[str, Any] = told["error"]
    return error


def test_the_models_tell_the_names() -> None:
    async def run() -> None:
        async with served() as there, httpx.AsyncClient(timeout=HANG_S) as caller:
            there.speech.moods = 2
            url = there.url.replace("ws:", "http:") + "/models"
            told = (await caller.get(url)).json()["data"]
            assert {card["id"] for card in told} > {"fake", "tts-1"}
            one = (await caller.get(f"{url}/tts-1")).json()
            for card in (*told, one):
                assert card["emotions"] == ["mood 0", "mood 1"]

    asyncio.run(run())

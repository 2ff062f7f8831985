"""Emotions of a request: what no model takes is refused at once, the rest goes to the server."""

import asyncio
import base64
from typing import Any

import numpy as np
import pytest
from fake_speech import Served, served
from gateway_answers import answers
from sound_files import RATE, spoken, wav_file
from stream_caller import PATH, START, error, heard, say
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
            if there.speech.emotions:
                await heard(caller, "done", errors=False)
                return {}, there.speech.asked[-1].emotion
            await heard(caller, "started")
            return (await error(caller))["error"], None

    return talk()


def test_the_server_is_asked_for_it() -> None:
    async def run() -> None:
        async with served() as there:
            there.speech.emotions = 2
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

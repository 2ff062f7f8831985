"""Voices made over HTTP while the real server runs, by OpenAI's own client and by others."""

import asyncio
from pathlib import Path

import httpx
import pytest
from decoding import decoded
from gateways import RunningGateway, gateway_before
from openai import ConflictError, OpenAI
from paths import EMBEDDED
from recordings import SENTENCE, read
from serving import RATE, SHORT, is_speech
from sound_files import SPOKEN, coded, noisy, spoken, wav_file
from waiting import HANG_S

from tritone.launcher import TritonServer

pytestmark = pytest.mark.server

GIVEN = {"consent": "by letter, May 2025"}


def add(gateway: RunningGateway, name: str, sound: bytes, **texts: str) -> httpx.Response:
    return httpx.post(
        f"{gateway.api}/audio/voices",
        data={"name": name, **GIVEN, **texts},
        files={"file": ("a recording", sound)},
        timeout=HANG_S,
    )


def speak(gateway: RunningGateway, voice: str) -> httpx.Response:
    body = {"model": "tts-1", "voice": voice, "input": SHORT, "response_format": "wav", "seed": 7}
    return httpx.post(gateway.speech, json=body, timeout=HANG_S)


def of(gateway: RunningGateway, voice: str) -> str:
    return f"{gateway.api}/audio/voices/{voice}"


def told(answer: httpx.Response) -> tuple[int, str, str | None]:
    error = answer.json()["error"]
    return answer.status_code, error["code"], error["param"]


def test_a_voice_comes_speaks_and_goes(adding: RunningGateway) -> None:
    made = add(adding, "Ann's", coded(read("joe", SENTENCE), "ipod", "aac"), transcript=SENTENCE)
    assert made.status_code == 200, made.text
    voice = made.json()
    assert (voice["id"], voice["name"], voice["type"]) == ("ann-s", "Ann's", "audio_sample")
    assert voice["consent"] == GIVEN["consent"] and voice["transcript"].startswith("The small boat")
    assert "encoders;dur=" in made.headers["Server-Timing"]
    try:
        said = speak(adding, "ann-s")
        assert said.headers["X-Tritone-Voice"] == "ann-s" and is_speech(decoded(said.content, RATE))
        assert httpx.get(of(adding, "ann-s"), timeout=HANG_S).json() == voice
        listed = httpx.get(f"{adding.api}/audio/voices", timeout=HANG_S).json()["voices"]
        assert [card["id"] for card in listed] == ["heart", "joe", "ann-s"]
        again = add(adding, "Ann's", wav_file(spoken("joe")))
        assert told(again) == (409, "voice_exists", "name")
    finally:
        gone = httpx.delete(of(adding, "ann-s"), timeout=HANG_S)
    assert gone.json() == {"id": "ann-s", "object": "audio.voice.deleted", "deleted": True}
    assert told(httpx.delete(of(adding, "ann-s"), timeout=HANG_S)) == (404, "voice_not_found", "id")
    assert told(httpx.get(of(adding, "ann-s"), timeout=HANG_S)) == (404, "voice_not_found", "id")
    assert told(speak(adding, "ann-s")) == (404, "voice_not_found", "voice")


def test_openai_s_own_client(adding: RunningGateway) -> None:
    with OpenAI(base_url=adding.api, api_key="none", max_retries=0) as openai:
        sample = ("heart.ogg", SPOKEN["heart"].read_bytes())
        voice = openai.audio.voices.create(name="bea", audio_sample=sample, consent="hers")
        try:
            assert (voice.id, voice.object, voice.type) == ("bea", "audio.voice", "audio_sample")
            sound = openai.audio.speech.create(model="tts-1", voice="bea", input=SHORT).content
            assert is_speech(decoded(sound, RATE))
            with pytest.raises(ConflictError):
                openai.audio.voices.create(name="heart", audio_sample=sample, consent="hers")
        finally:
            httpx.delete(of(adding, "bea"), timeout=HANG_S)


@pytest.mark.parametrize(
    ("container", "codec"), [("mp3", "libmp3lame"), ("ogg", "libopus"), ("webm", "libopus")]
)
def test_what_people_record_with(adding: RunningGateway, container: str, codec: str) -> None:
    quiet = 0.05 * spoken("joe")[: 4 * RATE]
    made = add(adding, container, coded(quiet, container, codec), language="en")
    assert made.status_code == 200, made.text
    httpx.delete(of(adding, container), timeout=HANG_S)
    assert any("dBFS" in note for note in made.json()["notes"])


def test_everything_that_is_wrong_is_told(adding: RunningGateway) -> None:
    poor = add(adding, "poor", wav_file(noisy(spoken("joe")[:12000], 3)))
    assert told(poor) == (400, "invalid_value", "audio_sample")
    said = poor.json()["error"]["message"]
    assert said.startswith("audio_sample: ")
    assert "1 s or more is needed" in said and "10 dB or more is needed" in said
    short = add(adding, "poor", wav_file(spoken("joe")[: 4 * RATE]), transcript="word " * 100)
    assert told(short) == (400, "invalid_value", "transcript")
    assert told(add(adding, "poor", b"no sound")) == (400, "invalid_value", "audio_sample")
    assert told(add(adding, "poor", b"x", model="nobody")) == (404, "model_not_found", "model")
    assert told(httpx.get(of(adding, "poor"), timeout=HANG_S)) == (404, "voice_not_found", "id")


def test_names_of_openai_s_and_aliases(adding: RunningGateway) -> None:
    used = {name: speak(adding, name) for name in ("alloy", "nova", "joe")}
    voices = {name: answer.headers["X-Tritone-Voice"] for name, answer in used.items()}
    assert voices == {"alloy": "heart", "nova": "joe", "joe": "joe"}
    assert used["nova"].content == used["joe"].content
    unknown = speak(adding, "alloyed")
    assert told(unknown) == (404, "voice_not_found", "voice")
    assert "heart, joe" in unknown.json()["error"]["message"]
    assert httpx.get(of(adding, "joe"), timeout=HANG_S).json()["origin"] == "model"
    assert told(httpx.delete(of(adding, "joe"), timeout=HANG_S)) == (404, "voice_not_found", "id")


def test_a_server_of_another_registry_is_found_out(server: TritonServer, tmp_path: Path) -> None:
    more = ("--voices", str(tmp_path / "other"), "--voices-model", str(EMBEDDED))
    with gateway_before(tmp_path, server.urls.grpc, more=more) as gateway:
        made = add(gateway, "lost", wav_file(spoken("joe")[: 4 * RATE]))
        assert told(made) == (501, "not_configured", None)
        assert "--voices" in made.json()["error"]["message"]
        assert told(httpx.get(of(gateway, "lost"), timeout=HANG_S)) == (
            404,
            "voice_not_found",
            "id",
        )


def test_adding_does_not_hold_up_what_is_spoken(adding: RunningGateway) -> None:
    """The event loop answers while encoders work: other answers come before the voice does."""

    async def both() -> tuple[int, int]:
        async with httpx.AsyncClient(timeout=HANG_S) as client:
            making = asyncio.ensure_future(
                client.post(
                    f"{adding.api}/audio/voices",
                    data={"name": "cy", **GIVEN},
                    files={"file": wav_file(spoken("joe"))},
                )
            )
            answers = 0
            while not making.done():
                answer = await client.get(f"{adding.url}/health/live")
                answers += answer.is_success and not making.done()
            await client.delete(of(adding, "cy"))
            return answers, making.result().status_code

    answers, status = asyncio.run(both())
    assert answers >= 1 and status == 200

"""The gateway in front of the real server, called by OpenAI's own client as its users have it."""

import asyncio
import base64
import io
import json
import wave
from collections.abc import Iterator
from contextlib import suppress

import httpx
import numpy as np
import pytest
import schemathesis
from decoding import decoded, likeness
from gateways import RunningGateway
from hypothesis import HealthCheck, settings
from openai import APIStatusError, AsyncOpenAI, NotFoundError, OpenAI
from serving import LONGEST, RATE, SENTENCE, SHORT, is_speech, wait_until_free
from waiting import HANG_S, wait_until

from tritone.frontend.audio.sketch import Sketch
from tritone.gateway.app import create_app
from tritone.gateway.settings import GatewaySettings
from tritone.launcher import TritonServer
from tritone_client import SpeechClient, Utterance

pytestmark = pytest.mark.server

VOICES = ("heart", "joe")

FORMATS = ("mp3", "opus", "aac", "flac", "wav", "pcm")
EXACT = ("flac", "wav", "pcm")
ROUNDING = 1 / 32767
SEED = 7


@pytest.fixture(scope="module")
def openai(gateway: RunningGateway) -> Iterator[OpenAI]:
    with OpenAI(base_url=gateway.api, api_key="none", max_retries=0) as client:
        yield client


@pytest.fixture(scope="module")
def said(client: SpeechClient) -> np.ndarray:
    """What gRPC gives for the request that all formats are asked with."""
    return client.speak(Utterance(SENTENCE, voice="joe", seed=SEED, speed=1.25))


def streamed(openai: OpenAI, form: str, stream_format: str = "audio") -> list[bytes]:
    """That request's answer, piece by piece."""
    with openai.audio.speech.with_streaming_response.create(
        model="tts-1",
        voice="joe",
        input=SENTENCE,
        speed=1.25,
        response_format=form,
        stream_format=stream_format,
        extra_body={"seed": SEED},
    ) as response:
        if stream_format == "audio":
            return list(response.iter_bytes())
        return [line.encode() for line in response.iter_lines() if line]


def samples_of(form: str, data: bytes) -> np.ndarray:
    if form == "pcm":
        return np.frombuffer(data, "<i2") / np.float32(32767)
    return decoded(data, RATE)


def check(form: str, data: bytes, said: np.ndarray) -> None:
    heard = samples_of(form, data)
    if form in EXACT:
        assert heard.shape == said.shape
        assert np.abs(heard - said).max() <= 2 * ROUNDING  # FFmpeg divides by 32768
    assert likeness(heard, said) > 0.95
    assert abs(len(heard) - len(said)) < 0.15 * RATE


@pytest.mark.parametrize("form", FORMATS)
def test_openai_s_client_streams_what_grpc_gives(
    openai: OpenAI, said: np.ndarray, form: str
) -> None:
    pieces = streamed(openai, form)
    assert len(pieces) > 1
    check(form, b"".join(pieces), said)


@pytest.mark.parametrize("form", FORMATS)
def test_events_carry_the_same(openai: OpenAI, said: np.ndarray, form: str) -> None:
    *lines, last = streamed(openai, form, "sse")
    assert last == b"data: [DONE]"
    events = [json.loads(line.removeprefix(b"data: ")) for line in lines]
    *deltas, done = events
    assert len(deltas) > 1
    assert {event["type"] for event in deltas} == {"speech.audio.delta"}
    check(form, b"".join(base64.b64decode(event["audio"]) for event in deltas), said)
    assert done["type"] == "speech.audio.done"
    usage = done["usage"]
    assert usage["input_tokens"] == len(SENTENCE)
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]
    seconds = len(said) * 1.25 / RATE
    assert usage["output_tokens"] == pytest.approx(25 * seconds, rel=0.2)


def test_another_rate_is_another_header(gateway: RunningGateway, said: np.ndarray) -> None:
    body = {"model": "tts-1", "input": SENTENCE, "voice": {"id": "joe"}, "speed": 1.25}
    body |= {"seed": SEED, "response_format": "wav", "sample_rate": 16000}
    answer = httpx.post(gateway.speech, json=body, timeout=HANG_S)
    with wave.open(io.BytesIO(answer.content)) as file:
        assert file.getframerate() == 16000
    assert likeness(decoded(answer.content, RATE), said) > 0.95
    assert answer.headers["x-request-id"].startswith("req_")
    pcm = httpx.post(gateway.speech, json={**body, "response_format": "pcm"}, timeout=HANG_S)
    assert pcm.headers["content-type"] == "audio/pcm; rate=16000; channels=1"
    assert len(pcm.content) == len(answer.content) - 44


def test_sixteen_at_once_each_hear_their_own(
    gateway: RunningGateway, client: SpeechClient, server: TritonServer
) -> None:
    forms = [FORMATS[number % len(FORMATS)] for number in range(16)]
    orders = [(text, voice) for text in (SHORT, "Warm bread, please.") for voice in VOICES]
    said = [client.speak(Utterance(text, voice=voice, seed=1)) for text, voice in orders]
    wait_until_free(server)

    async def speak(openai: AsyncOpenAI, number: int) -> bytes:
        text, voice = orders[number % 4]
        async with openai.audio.speech.with_streaming_response.create(
            model="cosyvoice2",
            voice=voice,
            input=text,
            response_format=forms[number],
            extra_body={"seed": 1},
        ) as response:
            return b"".join([piece async for piece in response.iter_bytes()])

    async def speak_all() -> list[bytes]:
        async with AsyncOpenAI(base_url=gateway.api, api_key="none", max_retries=0) as openai:
            return await asyncio.gather(*(speak(openai, number) for number in range(16)))

    # In bfloat16 the last bits depend on who is computed together, and move the phase of the voice.
    own = [Sketch.of(samples, RATE) for samples in said]
    for number, data in enumerate(asyncio.run(speak_all())):
        heard = Sketch.of(samples_of(forms[number], data), RATE)
        assert abs(heard.seconds - own[number % 4].seconds) < 0.15
        likeness = [heard.likeness(sketch) for sketch in own]
        assert likeness[number % 4] > 0.9 and np.argmax(likeness) == number % 4, likeness


def test_models_and_voices(openai: OpenAI, gateway: RunningGateway) -> None:
    assert [card.id for card in openai.models.list()][:2] == ["cosyvoice2", "tts-1"]
    assert openai.models.retrieve("tts-1").id == "tts-1"
    voices = httpx.get(
        f"{gateway.api}/audio/voices", params={"model": "tts-1"}, timeout=HANG_S
    ).json()["voices"]
    assert [(voice["id"], voice["name"]) for voice in voices] == [("heart",) * 2, ("joe",) * 2]
    with pytest.raises(NotFoundError):
        openai.models.retrieve("nobody")


@pytest.mark.parametrize(
    ("changed", "status", "code", "param"),
    [
        ({"model": "nobody"}, 404, "model_not_found", "model"),
        ({"voice": "nobody"}, 404, "voice_not_found", "voice"),
        ({"extra_body": {"emotion_vector": [1.0]}}, 400, "invalid_value", "emotion_vector"),
        ({"voice": "../joe"}, 400, "invalid_value", "voice"),
        ({"input": "🙂"}, 400, "nothing_to_say", "input"),
        ({"input": " "}, 400, "invalid_value", "input"),
        ({"input": "x" * 20001}, 400, "invalid_value", "input"),
        ({"input": "a\0b"}, 400, "invalid_value", "input"),
        ({"instructions": "whisper"}, 400, "invalid_value", "instructions"),
        ({"response_format": "opus", "extra_body": {"sample_rate": 22050}}, 400, None, None),
    ],
)
@pytest.mark.parametrize("stream_format", ["audio", "sse"])
def test_what_is_refused(
    openai: OpenAI,
    changed: dict[str, object],
    status: int,
    code: str | None,
    param: str | None,
    stream_format: str,
) -> None:
    usual = {"model": "tts-1", "voice": "joe", "input": SHORT, "stream_format": stream_format}
    with pytest.raises(APIStatusError) as refused:
        openai.audio.speech.create(**{**usual, **changed})
    error = refused.value
    assert (error.status_code, error.code) == (status, code or "invalid_value")
    assert error.param == (param or "sample_rate")
    assert error.type == "invalid_request_error" and "target_text" not in error.message


def test_one_too_many_is_told_when_to_come_back(
    gateway: RunningGateway, server: TritonServer
) -> None:
    """The server takes 16 streams; 20 ask for long ones, and all go when the first is refused."""
    body = {"model": "tts-1", "input": LONGEST, "response_format": "pcm"}

    async def ask(client: httpx.AsyncClient) -> httpx.Response:
        request = client.build_request("POST", gateway.speech, json=body)
        response = await client.send(request, stream=True)
        if response.status_code == 200:
            await asyncio.Event().wait()
        await response.aread()
        return response

    async def first_refusal() -> httpx.Response:
        async with httpx.AsyncClient(timeout=HANG_S) as client:
            asking = [asyncio.ensure_future(ask(client)) for _ in range(20)]
            done, others = await asyncio.wait(asking, return_when=asyncio.FIRST_COMPLETED)
            for other in others:
                other.cancel()
            with suppress(asyncio.CancelledError):
                await asyncio.gather(*others)
            return done.pop().result()

    refusal = asyncio.run(first_refusal())
    assert refusal.status_code == 429 and refusal.json()["error"]["code"] == "overloaded"
    assert int(refusal.headers["Retry-After"]) >= 1
    wait_until_free(server)


def test_it_counts_what_it_did(gateway: RunningGateway) -> None:
    httpx.post(
        gateway.speech,
        json={"model": "tts-1", "input": SHORT, "response_format": "aac"},
        timeout=HANG_S,
    )

    def told() -> str:  # it may count only when the caller has everything
        page = httpx.get(f"{gateway.url}/metrics", timeout=HANG_S).text
        counted = 'tritone_gateway_speeches_total{format="aac",outcome="ok"}' in page
        return page if counted and "tritone_gateway_streams 0.0" in page else ""

    page = wait_until(told)
    assert 'tritone_gateway_first_byte_seconds_count{format="aac"}' in page
    assert 'tritone_gateway_audio_seconds_total{format="aac"}' in page
    assert httpx.get(f"{gateway.url}/health/ready", timeout=HANG_S).json() == {
        "ready": True,
        "backends": [{"model": "cosyvoice2", "ready": True}],
    }


SCHEMA = schemathesis.openapi.from_dict(create_app(GatewaySettings()).openapi())


@SCHEMA.parametrize()
@settings(
    max_examples=12,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
def test_nothing_that_the_schema_allows_is_an_error_of_the_server(
    case: schemathesis.Case, gateway: RunningGateway
) -> None:
    if isinstance(case.body, dict) and isinstance(case.body.get("model"), str):
        case.body["model"] = "tts-1"  # else nothing would get as far as the speech
    response = case.call(base_url=gateway.url, timeout=HANG_S)
    assert response.status_code < 500, response.content
    if response.status_code >= 400:
        assert set(response.json()["error"]) == {"message", "type", "param", "code"}


def test_the_real_client_gets_speech_without_options(openai: OpenAI) -> None:
    data = openai.audio.speech.create(model="tts-1", voice="heart", input=SHORT).content
    assert is_speech(decoded(data, RATE))

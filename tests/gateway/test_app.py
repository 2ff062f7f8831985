"""The application without a server: who is let in, what is refused, and how."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from gateway_answers import answers
from waiting import Clock

from tritone import cli
from tritone.errors import EnvironmentProblem
from tritone.gateway.errors import from_server
from tritone.gateway.keys import new_key, write_keys
from tritone.gateway.run import run
from tritone.gateway.settings import Address, GatewaySettings
from tritone_client import SpeechError

NOBODY = (Address("127.0.0.1:1"),)
SPEECH = "/v1/audio/speech"


def post(**body: Any) -> dict[str, Any]:
    return {"method": "POST", "url": SPEECH, "json": {"model": "tts-1", "input": "a", **body}}


def get(url: str, key: str = "") -> dict[str, Any]:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    return {"method": "GET", "url": url, "headers": headers}


def code(answer: httpx.Response) -> tuple[int, str]:
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"} and error["message"]
    return answer.status_code, error["code"]


class TestWrong:
    """Found before any server is asked."""

    @pytest.mark.parametrize(
        ("body", "param", "said"),
        [
            ({"speed": 3}, "speed", "speed: is 3; the limits are 0.5 and 2.0"),
            ({"speed": 0.25}, "speed", "speed: is 0.25; the limits are 0.5 and 2.0"),
            ({"speed": "fast"}, "speed", "speed: is 'fast'; Input should be a valid number"),
            ({"response_format": "ogg"}, "response_format", "'mp3', 'opus', 'aac', 'flac', 'wav'"),
            ({"stream_format": "x"}, "stream_format", "'audio' or 'sse'"),
            ({"sample_rate": 7999}, "sample_rate", "is 7999; Input should be greater than or"),
            ({"seed": -1}, "seed", "is -1; Input should be greater than or equal to 0"),
            ({"voice": {"name": "x"}}, "voice", "voice: "),
            ({"inptu": "a"}, "inptu", "inptu: Extra inputs are not permitted"),
            ({"input": None}, "input", "input: is None; Input should be a valid string"),
            ({"input": "x" * 100, "seed": "y" * 100}, "seed", "yyy...; "),
            ({"input": "a\ud800"}, "input", "has half of a surrogate pair at 1"),
            ({"voice": "\ud800"}, "voice", "half of a surrogate pair"),
        ],
    )
    def test_a_field(self, body: dict[str, Any], param: str, said: str) -> None:
        content = json.dumps({"model": "tts-1", "input": "a", **body})
        headers = {"Content-Type": "application/json"}
        request = {"method": "POST", "url": SPEECH, "content": content, "headers": headers}
        (answer,) = answers(GatewaySettings(NOBODY), request)
        assert code(answer) == (400, "invalid_value")
        assert answer.json()["error"]["param"] == param
        assert said in answer.json()["error"]["message"]

    @pytest.mark.parametrize(
        "content", [b"{", b"[]", b"3", b"", b"\xff", b'"text"', b"[" * 5000, b'{"\\ud800": 1}']
    )
    def test_a_body(self, content: bytes) -> None:
        headers = {"Content-Type": "application/json"}
        request = {"method": "POST", "url": SPEECH, "content": content, "headers": headers}
        (answer,) = answers(GatewaySettings(NOBODY), request)
        assert code(answer) == (400, "invalid_value")

    def test_a_path_and_a_method(self) -> None:
        wrong = {"method": "GET", "url": SPEECH}
        missing, other = answers(GatewaySettings(NOBODY), get("/v2"), wrong)
        assert code(missing) == (404, "not_found") and code(other) == (405, "method_not_allowed")


class TestSize:
    settings = GatewaySettings(NOBODY, max_request_bytes=1000)

    def test_a_body_that_says_its_length(self) -> None:
        large, fits = answers(self.settings, post(input="x" * 1000), post(speed=9))
        assert code(large) == (413, "request_too_large")
        assert "the limit is 1000" in large.json()["error"]["message"]
        assert code(fits) == (400, "invalid_value")

    def test_a_body_that_does_not(self) -> None:
        async def pieces() -> AsyncIterator[bytes]:
            for _ in range(3):
                yield b"x" * 400

        headers = {"Content-Type": "application/json"}
        request = {"method": "POST", "url": SPEECH, "content": pieces(), "headers": headers}
        (answer,) = answers(self.settings, request)
        assert code(answer) == (413, "request_too_large")

    def test_a_body_that_does_not_come(self) -> None:
        async def nothing() -> AsyncIterator[bytes]:
            yield b"{"
            await asyncio.Event().wait()

        headers = {"Content-Type": "application/json"}
        request = {"method": "POST", "url": SPEECH, "content": nothing(), "headers": headers}
        (answer,) = answers(GatewaySettings(NOBODY, body_seconds=0.05), request)
        assert code(answer) == (408, "request_timeout")


class TestNobodyThere:
    def test_speech_is_unavailable(self) -> None:
        speech, model = answers(GatewaySettings(NOBODY), post(), post(model="other"))
        assert code(speech) == code(model) == (503, "unavailable")
        assert int(speech.headers["Retry-After"]) >= 1

    def test_it_lives_and_is_not_ready(self) -> None:
        live, ready, models = answers(
            GatewaySettings(NOBODY), get("/health/live"), get("/health/ready"), get("/v1/models")
        )
        assert live.status_code == 200
        assert ready.status_code == 503
        assert ready.json() == {"ready": False, "backends": [{"model": None, "ready": False}]}
        assert {card["id"] for card in models.json()["data"]} == {
            "tts-1",
            "tts-1-hd",
            "gpt-4o-mini-tts",
        }


class TestKeys:
    @pytest.fixture
    def known(self, tmp_path: Path) -> tuple[GatewaySettings, str]:
        key, record = new_key("a", requests_per_minute=2, streams=1)
        write_keys(tmp_path / "keys.json", [record])
        return GatewaySettings(NOBODY, keys=tmp_path / "keys.json"), key

    def test_what_needs_one(self, known: tuple[GatewaySettings, str]) -> None:
        settings, key = known
        protected = ("/v1/models", "/metrics")
        for url in protected:
            without, wrong, right = answers(
                settings, get(url), get(url, "tritone-nobody"), get(url, key)
            )
            assert code(without) == code(wrong) == (401, "invalid_api_key")
            assert without.headers["WWW-Authenticate"] == "Bearer"
            assert right.status_code == 200
        answer, schema = answers(settings, get("/health/live"), get("/openapi.json"))
        assert answer.status_code == schema.status_code == 200

    def test_nothing_is_read_of_a_stranger(self, known: tuple[GatewaySettings, str]) -> None:
        (answer,) = answers(known[0], {"method": "POST", "url": SPEECH, "content": b"{"})
        assert code(answer) == (401, "invalid_api_key")

    def test_its_requests_a_minute(self, known: tuple[GatewaySettings, str]) -> None:
        settings, key = known
        asked = [get("/v1/models", key)] * 3
        *fine, refused = answers(settings, *asked, clock=Clock())
        assert [answer.status_code for answer in fine] == [200, 200]
        assert code(refused) == (429, "rate_limit_exceeded")
        assert refused.headers["Retry-After"] == "30"


def test_pages_of_other_origins_need_leave() -> None:
    page = {"Origin": "https://page.example", "Access-Control-Request-Method": "POST"}
    asked = {"method": "OPTIONS", "url": SPEECH, "headers": page}
    (closed,) = answers(GatewaySettings(NOBODY), asked)
    (open_to,) = answers(GatewaySettings(NOBODY, cors_origins=("https://page.example",)), asked)
    assert closed.status_code == 400
    assert open_to.headers["access-control-allow-origin"] == "https://page.example"


@pytest.mark.parametrize(
    ("error", "status", "expected", "retry"),
    [
        (("UNAVAILABLE", "16 streams are running; retry after 2.3 s"), 429, "overloaded", "3"),
        (("UNAVAILABLE", "token2wav: 64 sequences are running; retry later"), 429, "overloaded", 1),
        (("UNAVAILABLE", "vocoder is being started again; retry in a few seconds"), 503, None, 3),
        (("UNAVAILABLE", "failed to connect to all addresses"), 503, "unavailable", 3),
        (("DEADLINE_EXCEEDED", "Deadline Exceeded"), 504, "deadline_exceeded", None),
        (("INTERNAL", "vocoder: it broke"), 500, "internal_error", None),
        (("INVALID_ARGUMENT", "target_text: has 9 characters; the limit is 8"), 400, None, None),
        (("INVALID_ARGUMENT", "target_text: nothing", "NOTHING_TO_SAY"), 400, "nothing_to_say", 0),
        (("INVALID_ARGUMENT", "voice: 'x' is not registered; ..."), 404, "voice_not_found", None),
    ],
)
def test_a_server_s_error_is_told_in_openai_s_words(
    error: tuple[str, ...], status: int, expected: str | None, retry: object
) -> None:
    told = from_server(SpeechError(*error))
    assert told.status == status and told.code == (expected or told.code)
    assert told.response().headers.get("Retry-After") == (str(retry) if retry else None)
    inner = ("failed to connect", "it broke", "Deadline")
    assert not any(words in told.detail.message for words in inner), "is the log's alone"
    if status == 400:
        assert told.detail.param == "input" and told.detail.message.startswith("input: ")


class TestSettings:
    def test_it_is_not_open_to_other_machines_without_keys(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("TRITONE_KEYS", raising=False)
        assert cli.main(["gateway", "--address", "0.0.0.0"]) == 2
        assert "there are no API keys" in capsys.readouterr().err
        GatewaySettings(address="0.0.0.0", open_to_all=True).check()
        GatewaySettings(address="::1").check()
        GatewaySettings(address="localhost").check()

    @pytest.mark.parametrize(
        ("options", "said"),
        [
            (["--backend", "nowhere"], "HOST:PORT or NAME=HOST:PORT"),
            (["--backend", "a:1", "--backend", "a:1"], "each must be there once"),
            (["--max-streams", "0"], "--max-streams is 0; it must be at least 1"),
            (["--max-connections", "0"], "--max-connections is 0; it must be at least 1"),
            (["--idle-seconds", "0"], "--idle-seconds is 0; it must be above 0"),
            (["--stall-seconds", "inf"], "--stall-seconds is inf; it must be above 0 and finite"),
            (["--keys", "/nowhere/keys"], "--keys /nowhere/keys: No such file"),
            (["--ca", "/nowhere/ca.pem"], "/nowhere/ca.pem"),
        ],
    )
    def test_what_cannot_be_run_is_refused(
        self, options: list[str], said: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert cli.main(["gateway", "--port", "0", *options]) == 2
        assert said in capsys.readouterr().err

    def test_a_port_that_is_taken(self) -> None:
        with pytest.raises(
            EnvironmentProblem, match=r"cannot listen on 192\.0\.2\.1:1 for gateway"
        ):
            run(GatewaySettings(NOBODY, address="192.0.2.1", port=1, open_to_all=True))

    def test_names_of_servers(self) -> None:
        assert Address.of("big=host:1") == Address("host:1", "big")
        assert Address.of("[::1]:8001") == Address("[::1]:8001")
        assert Address.of("big=a:1,b:1") == Address("a:1,b:1", "big")
        with pytest.raises(EnvironmentProblem, match="several with commas between"):
            Address.of("a:1,b")

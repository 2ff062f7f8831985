"""/v1/audio/voices without a server: who may, what is refused before any work, and what ends it."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from paths import EMBEDDED

from tritone import cli
from tritone.errors import (
    InvalidRequest,
    ModelDirectoryError,
    Overloaded,
    TritoneError,
    UnknownVoice,
    VoiceExists,
    VoiceRegistryError,
)
from tritone.gateway.app import create_app
from tritone.gateway.errors import from_registry
from tritone.gateway.keys import new_key, write_keys
from tritone.gateway.settings import Address, GatewaySettings

NOBODY = (Address("127.0.0.1:1"),)
VOICES = "/v1/audio/voices"


@pytest.fixture
def folder(tmp_path: Path) -> GatewaySettings:
    return GatewaySettings(NOBODY, voices=tmp_path / "voices", voices_model=EMBEDDED)


def ask(
    settings: GatewaySettings,
    *requests: dict[str, Any],
    host: str = "127.0.0.1",
) -> list[httpx.Response]:
    """Answers to these requests, one after the other, from a machine of this address."""
    app = create_app(settings)

    async def asking() -> list[httpx.Response]:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False, client=(host, 1))
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=transport, base_url="http://gateway") as http,
        ):
            return [await http.request(**request) for request in requests]

    return asyncio.run(asking())


def form(sound: bytes | None = b"x", headers: dict[str, str] | None = None, **texts: str):
    data = {"name": "ann", "consent": "given", **texts}
    files = {"audio_sample": sound} if sound is not None else {"": (None, b"")}
    if sound is None:
        files = {name: (None, text) for name, text in data.items()}
        data = {}
    return {"method": "POST", "url": VOICES, "data": data, "files": files, "headers": headers or {}}


def told(answer: httpx.Response) -> tuple[int, str, str]:
    error = answer.json()["error"]
    return answer.status_code, error["code"], error["message"]


class TestWho:
    def test_without_folders_nobody_can(self) -> None:
        answers = ask(
            GatewaySettings(NOBODY),
            form(),
            {"method": "GET", "url": f"{VOICES}/ann"},
            {"method": "DELETE", "url": f"{VOICES}/ann"},
        )
        for answer in answers:
            status, code, said = told(answer)
            assert (status, code) == (501, "not_configured") and "--voices DIR" in said

    def test_without_keys_this_machine_alone(self, folder: GatewaySettings) -> None:
        for host, expected in (("127.0.0.1", 404), ("::1", 404), ("10.0.0.2", 403)):
            (answer,) = ask(folder, {"method": "DELETE", "url": f"{VOICES}/ann"}, host=host)
            assert answer.status_code == expected
        assert told(answer)[1] == "permission_denied" and "10.0.0.2" in told(answer)[2]

    def test_without_keys_no_web_page(self, folder: GatewaySettings) -> None:
        """A form needs no leave of CORS, so a page that is open on this machine could send it."""
        page = form(headers={"Origin": "https://page.example"})
        (answer,) = ask(folder, page)
        assert told(answer)[:2] == (403, "permission_denied")
        known = GatewaySettings(
            NOBODY,
            voices=folder.voices,
            voices_model=EMBEDDED,
            cors_origins=("https://page.example",),
        )
        (answer,) = ask(known, page)
        assert told(answer)[0] == 400, "it comes as far as the recording"

    def test_the_gateway_s_own_page_may(self, folder: GatewaySettings) -> None:
        """By an address that no other site can have: a name may be made to lead to this machine."""
        port = folder.port
        for origin, expected in (
            (f"http://127.0.0.1:{port}", 400),
            (f"http://localhost:{port}", 400),
            (f"http://[::1]:{port}", 400),
            ("http://127.0.0.1:3000", 403),
            (f"http://rebound.example:{port}", 403),
            (f"https://127.0.0.1:{port}", 403),
            ("http://127.0.0.1:port", 403),
            ("null", 403),
        ):
            (answer,) = ask(folder, form(headers={"Origin": origin}))
            assert answer.status_code == expected, origin

    def test_a_key_needs_the_right(self, tmp_path: Path, capsys: Any) -> None:
        path = tmp_path / "keys.json"
        for name, more in (("may", ["--voices"]), ("may_not", [])):
            assert cli.main(["keys", "add", name, "--keys", str(path), *more]) == 0
        may, may_not = capsys.readouterr().out.split()
        assert cli.main(["keys", "--keys", str(path)]) == 0
        assert ["streams, voices" in line for line in capsys.readouterr().out.splitlines()] == [
            True,
            False,
        ]
        settings = GatewaySettings(
            NOBODY, keys=path, voices=tmp_path / "voices", voices_model=EMBEDDED
        )
        statuses = []
        for key in (may, may_not, "none"):
            request = form(headers={"Authorization": f"Bearer {key}"})
            (answer,) = ask(settings, request, host="10.0.0.2")
            statuses.append(answer.status_code)
        assert statuses == [400, 403, 401]

    def test_a_key_from_before_there_were_rights(self, tmp_path: Path) -> None:
        key, record = new_key("old", 0, 0)
        write_keys(tmp_path / "keys.json", [record])
        text = (tmp_path / "keys.json").read_text().replace(',"voices":false', "")
        (tmp_path / "keys.json").write_text(text)
        settings = GatewaySettings(
            NOBODY, keys=tmp_path / "keys.json", voices=tmp_path, voices_model=EMBEDDED
        )
        (answer,) = ask(settings, form(headers={"Authorization": f"Bearer {key}"}))
        assert answer.status_code == 403


@pytest.mark.parametrize(
    ("request_", "said", "param"),
    [
        (form(name=" "), "name: is missing", "name"),
        (form(consent=""), "consent: is missing; send who agreed to this use", "consent"),
        (form(None), "audio_sample: is missing", "audio_sample"),
        (form(type="prompt"), "type: is 'prompt'; the only one is audio_sample", "type"),
        (form(prompt="a deep voice"), "'prompt' is no field of this form", None),
        (form(language="English, please"), "language: is 'English, please'; write it", "language"),
        (form(transcript="x" * 1001), "transcript: has 1001 characters; the limit", "transcript"),
        (form(ref_text="a", transcript="b"), "transcript: is there twice", "transcript"),
        (form(b""), "audio_sample: has 0 bytes", "audio_sample"),
        (form(b"no sound"), "audio_sample: ", "audio_sample"),
    ],
)
def test_what_is_refused(
    folder: GatewaySettings, request_: dict[str, Any], said: str, param: str | None
) -> None:
    (answer,) = ask(folder, request_)
    assert told(answer)[:2] == (400, "invalid_value") and said in told(answer)[2]
    assert answer.json()["error"]["param"] == param


class TestSize:
    def test_this_route_takes_a_recording_and_others_do_not(self, folder: GatewaySettings) -> None:
        large = bytes(2 << 20)
        here, there = ask(
            folder, form(large), {"method": "POST", "url": "/v1/audio/speech", "content": large}
        )
        assert told(here)[0] == 400, "it is no sound"
        assert told(there)[:2] == (413, "request_too_large")

    def test_a_recording_that_is_too_large(self, folder: GatewaySettings) -> None:
        """Whether the request says its length, which is refused at once, or not."""
        sent = 0

        async def pieces() -> AsyncIterator[bytes]:
            nonlocal sent
            yield b'--b\r\nContent-Disposition: form-data; name="file"\r\n\r\n'
            for _ in range(100):
                sent += 1 << 20
                yield bytes(1 << 20)

        headers = {"Content-Type": "multipart/form-data; boundary=b"}
        endless = {"method": "POST", "url": VOICES, "content": pieces(), "headers": headers}
        (answer,) = ask(folder, endless)
        assert told(answer)[:2] == (413, "request_too_large")
        assert sent == 49 << 20, "what follows is not read"
        lying = {**headers, "Content-Length": str(60 << 20)}
        (answer,) = ask(folder, {"method": "POST", "url": VOICES, "content": b"", "headers": lying})
        assert told(answer)[:2] == (413, "request_too_large")


@pytest.mark.parametrize(
    ("error", "status", "code", "param"),
    [
        (VoiceExists("id", "'a' is there"), 409, "voice_exists", "name"),
        (UnknownVoice("voice", "'a' is not there"), 404, "voice_not_found", "id"),
        (InvalidRequest("recording", "is silent"), 400, "invalid_value", "audio_sample"),
        (Overloaded("/secret is being written"), 503, "unavailable", None),
        (VoiceRegistryError("/secret cannot be written"), 500, "internal_error", None),
        (ModelDirectoryError("/secret has no encoders"), 501, "not_configured", None),
    ],
)
def test_the_registry_s_errors(
    error: TritoneError, status: int, code: str, param: str | None
) -> None:
    told = from_registry(error)
    assert (told.status, told.code, told.detail.param) == (status, code, param)
    assert "/secret" not in told.detail.message, "is the log's alone"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--voices", "v", "--voices-model", "/nowhere"], "--voices-model /nowhere has no config"),
        (["--voice-alias", "alloy"], "NAME=VOICE is needed"),
    ],
)
def test_what_cannot_be_run_is_refused(
    options: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["gateway", "--port", "0", *options]) == 2
    assert said in capsys.readouterr().err

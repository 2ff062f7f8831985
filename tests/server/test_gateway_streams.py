"""Streams through the gateway while they run: on a server whose model waits at gates until a test
opens them, beside the real one."""

import base64
import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from pathlib import Path

import httpx
import pytest
from gateways import RunningGateway, gateway_before
from metrics_scrape import Scrape
from serving import SHORT
from toy_server import HELD, PACKET, Toy, launched, toy_settings
from waiting import HANG_S, is_running, wait_until

from tritone import cli
from tritone.gateway.formats import FORMATS
from tritone.launcher import TritonServer
from tritone.launcher.ports import free_ports, holder_of

pytestmark = pytest.mark.server

STREAM_FORMATS = ("audio", "sse")


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Toy]:
    folder = tmp_path_factory.mktemp("toy")
    notes = folder / "events.jsonl"
    model = folder / "model"
    model.mkdir()
    (model / "config.json").write_text("{}")
    settings = toy_settings(folder, model_dir=model, environment={"TOY_EVENTS": str(notes)})
    with TritonServer(settings) as server:
        server.wait_ready()
        yield Toy(server, notes)


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("keys") / "keys.json"


def new_key(keys: Path, name: str, capsys: pytest.CaptureFixture[str], *limits: str) -> str:
    assert cli.main(["keys", "add", name, "--keys", str(keys), *limits]) == 0
    return capsys.readouterr().out.strip()


@pytest.fixture(scope="module")
def two(toy: Toy, server: TritonServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator:
    """In front of the toy, which is called so, and the real server."""
    backends = (f"toy={toy.url}", server.urls.grpc)
    with gateway_before(tmp_path_factory.mktemp("two"), *backends) as running:
        yield running


def asked(text: str, form: str = "pcm", stream_format: str = "audio") -> dict[str, str]:
    return {"model": "toy", "input": text, "response_format": form, "stream_format": stream_format}


@contextmanager
def stream(gateway: RunningGateway, *words: str, key: str = "none") -> Iterator[Iterator[bytes]]:
    """The pieces of an answer, as they come."""
    headers = {"Authorization": f"Bearer {key}"}
    with (
        httpx.Client(timeout=HANG_S, headers=headers) as client,
        client.stream("POST", gateway.speech, json=asked(*words)) as response,
    ):
        assert response.status_code == 200, response.read()
        yield response.iter_raw()


def streams(gateway: RunningGateway) -> float:
    return Scrape(httpx.get(f"{gateway.url}/metrics", timeout=HANG_S).text)[
        "tritone_gateway_streams"
    ]


@pytest.mark.parametrize("stream_format", STREAM_FORMATS)
@pytest.mark.parametrize("form", FORMATS)
def test_sound_is_here_before_the_rest_is_spoken(
    two: RunningGateway, toy: Toy, form: str, stream_format: str
) -> None:
    gate = f"{form}-{stream_format}"
    with stream(two, f"one two wait:{gate} three", form, stream_format) as pieces:
        first = next(pieces)
        assert first
        toy.open(gate)
        assert b"".join(pieces)


def test_the_model_chooses_the_server(two: RunningGateway, toy: Toy) -> None:
    mark = toy.mark()
    body = asked(SHORT)
    for model in ("toy", "tts-1"):
        sound = httpx.post(two.speech, json={**body, "model": model}, timeout=HANG_S).content
        assert len(sound) == 2 * 2 * PACKET
    toy.wait_for("finished", mark, 2)
    speech = httpx.post(two.speech, json={**body, "model": "cosyvoice2"}, timeout=HANG_S).content
    assert len(speech) > 2 * len(sound)
    assert len([e for e in toy.events()[mark:] if e["event"] == "request"]) == 2
    cards = httpx.get(f"{two.api}/models", timeout=HANG_S).json()["data"]
    assert [card["id"] for card in cards][:2] == ["toy", "cosyvoice2"]
    voices = httpx.get(f"{two.api}/audio/voices", timeout=HANG_S).json()["voices"]
    assert [(v["id"], v["model"]) for v in voices] == [
        ("heart", "cosyvoice2"),
        ("joe", "cosyvoice2"),
    ]
    unknown = httpx.post(two.speech, json={**body, "model": "x"}, timeout=HANG_S).json()["error"][
        "message"
    ]
    assert unknown == (
        "model: 'x' is not known here; known are toy, cosyvoice2, tts-1, tts-1-hd, gpt-4o-mini-tts"
    )


@pytest.mark.parametrize("stream_format", STREAM_FORMATS)
def test_a_caller_that_goes_ends_its_work(
    two: RunningGateway, toy: Toy, stream_format: str
) -> None:
    mark = toy.mark()
    with stream(two, HELD, "mp3", stream_format) as pieces:
        next(pieces)
        wait_until(lambda: streams(two) == 1)  # one ends after its last byte
    toy.wait_for("cancelled", mark)
    wait_until(lambda: streams(two) == 0)


@pytest.mark.parametrize("stream_format", STREAM_FORMATS)
def test_a_caller_that_goes_before_the_first_sound_does_so_too(
    two: RunningGateway, toy: Toy, stream_format: str
) -> None:
    mark = toy.mark()
    body = json.dumps(asked("wait:never one", "opus", stream_format))
    with closing(HTTPConnection(two.url.removeprefix("http://"))) as caller:
        caller.request("POST", "/v1/audio/speech", body, {"Content-Type": "application/json"})
        toy.wait_for("waiting", mark)
    toy.wait_for("cancelled", mark)
    wait_until(lambda: streams(two) == 0)


def test_a_caller_that_goes_from_times_does_so_as_well(two: RunningGateway, toy: Toy) -> None:
    mark = toy.mark()
    with closing(HTTPConnection(two.url.removeprefix("http://"))) as caller:
        kind = {"Content-Type": "application/json"}
        caller.request("POST", "/v1/audio/speech/times", json.dumps(asked(HELD)), kind)
        toy.wait_for("waiting", mark)
        assert streams(two) == 1
    toy.wait_for("cancelled", mark)
    wait_until(lambda: streams(two) == 0)


def test_an_error_in_the_midst_is_no_good_end(two: RunningGateway) -> None:
    with stream(two, "one fail", "wav") as pieces, pytest.raises(httpx.RemoteProtocolError):
        list(pieces)
    with stream(two, "one fail", "wav", "sse") as pieces:
        lines = b"".join(pieces).decode().split("\n\n")
    events = [json.loads(line.removeprefix("data: ")) for line in lines if line]
    assert [event["type"] for event in events] == ["speech.audio.delta", "error"]
    assert len(base64.b64decode(events[0]["audio"])) == 44 + 2 * PACKET
    assert events[1]["error"]["code"] == "internal_error"
    wait_until(lambda: streams(two) == 0)


def test_a_key_s_streams_at_a_time_and_its_end(
    toy: Toy, keys: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And no key is in what the gateway writes, good or bad."""
    key, other = new_key(keys, "one", capsys, "--streams", "1"), new_key(keys, "other", capsys)
    wrong = f"{key[:-4]}abcd"
    options = ("--keys", str(keys))
    with gateway_before(tmp_path, f"toy={toy.url}", more=options) as gateway:
        with stream(gateway, HELD, key=key) as pieces:
            next(pieces)
            assert status(gateway, key) == (429, "too_many_streams")
            assert status(gateway, other) == (200, "")
        wait_until(lambda: status(gateway, key) == (200, ""))
        assert status(gateway, wrong) == (401, "invalid_api_key")
        assert cli.main(["keys", "remove", "one", "--keys", str(keys)]) == 0
        assert status(gateway, key) == (401, "invalid_api_key")
        assert status(gateway, other) == (200, "")
        with pytest.raises(httpx.RemoteProtocolError), stream(gateway, "one fail", key=other) as p:
            list(p)
    log = gateway.log.read_text()
    assert "broke off" in log, "it does write"
    secrets = [secret.rpartition("tritone-")[2][13:] for secret in (key, other, wrong)]
    assert not any(secret in log for secret in secrets)


def status(gateway: RunningGateway, key: str) -> tuple[int, str]:
    """Of a short speech with this key, and the code of the error."""
    headers = {"Authorization": f"Bearer {key}"}
    answer = httpx.post(gateway.speech, json=asked("one"), headers=headers, timeout=HANG_S)
    return answer.status_code, "" if answer.is_success else answer.json()["error"]["code"]


def test_serve_has_one_beside_the_server(tmp_path: Path) -> None:
    """It is started again when it dies, and ends with the server. Another one, elsewhere, is
    ready as long as the server is."""
    own = ("--gateway", f"--gateway-port={free_ports(1)[0]}", "--voice-alias=mine=joe")
    with (
        launched(tmp_path, *own) as (launcher, grpc_port),
        gateway_before(tmp_path, f"127.0.0.1:{grpc_port}") as other,
    ):
        try:
            port = port_said(launcher)
            beside = f"http://127.0.0.1:{port}/v1/audio/speech"
            assert len(spoken(beside)) == 2 * PACKET
            body = {**asked("one"), "model": "tts-1", "voice": "mine"}
            answer = httpx.post(beside, json=body, timeout=HANG_S)
            assert answer.headers["X-Tritone-Voice"] == "joe"
            first = holder_of(port)
            os.kill(first.pid, signal.SIGKILL)
            second = wait_until(lambda: (h := holder_of(port)) and h.pid != first.pid and h)
            assert len(spoken(beside)) == 2 * PACKET
            wait_until(lambda: ready(other))
            assert len(spoken(other.speech)) == 2 * PACKET
            launcher.terminate()
            assert launcher.wait(timeout=HANG_S) == 0
            assert not is_running(second.pid)
            wait_until(lambda: not ready(other))
        finally:
            launcher.kill()


def port_said(launcher: "subprocess.Popen[str]") -> int:
    """That of the gateway, once `tritone serve` has said that it is there."""
    for line in launcher.stdout:
        if line.startswith("OpenAI API "):
            return int(line.rpartition(":")[2].removesuffix("/v1\n"))
    raise AssertionError("it said nothing of a gateway")


def ready(gateway: RunningGateway) -> bool:
    return httpx.get(f"{gateway.url}/health/ready", timeout=HANG_S).is_success


def spoken(url: str) -> bytes:
    return httpx.post(url, json={**asked("one"), "model": "tts-1"}, timeout=HANG_S).content

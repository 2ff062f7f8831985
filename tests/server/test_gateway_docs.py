"""What docs/gateway.md shows runs, and says of options, formats, codes and metrics what is so."""

import inspect
import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from decoding import decoded
from gateways import RunningGateway
from paths import PROJECT
from recordings import read
from serving import RATE, is_speech
from sound_files import coded
from waiting import HANG_S

from tritone.cli.gateway import gateway as command
from tritone.cli.groups import flat
from tritone.gateway import errors, realtime_orders, stream, voices
from tritone.gateway.formats import FORMATS
from tritone.gateway.metrics import Metrics
from tritone.gateway.realtime import REALTIME_ALIASES
from tritone.gateway.times import TimesRequest

pytestmark = pytest.mark.server

PAGE = (PROJECT / "docs" / "gateway.md").read_text(encoding="utf-8")
ADDRESS = "http://127.0.0.1:8080"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def run(words: list[str] | str, folder: Path) -> str:
    done = subprocess.run(
        words, cwd=folder, shell=isinstance(words, str), capture_output=True, timeout=HANG_S
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is missing")
def test_the_lines_of_curl(gateway: RunningGateway, tmp_path: Path) -> None:
    lines = [line[2:] for block in blocks("console") for line in block.splitlines()]
    curls = [line.replace(ADDRESS, gateway.url) for line in lines if line.startswith("curl ")]
    _, events, voices, subtitles = (run(line, tmp_path) for line in curls[:4])
    assert is_speech(decoded((tmp_path / "hello.mp3").read_bytes(), RATE))
    assert events.startswith("data: {") and events.endswith("data: [DONE]\n\n")
    assert '"id":"heart"' in voices
    assert subtitles.startswith("WEBVTT\n\n1\n") and subtitles.endswith("\nHello there.\n")


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is missing")
def test_the_lines_of_curl_that_add_a_voice(adding: RunningGateway, tmp_path: Path) -> None:
    words = "The words that she says."
    (tmp_path / "ann.m4a").write_bytes(coded(read("joe", words), "ipod", "aac"))
    lines = [line[2:] for block in blocks("console") for line in block.splitlines()]
    curls = [line.replace(ADDRESS, adding.url) for line in lines if line.startswith("curl ")][4:]
    added, looked, removed = (json.loads(run(line, tmp_path)) for line in curls)
    assert added == looked and added["id"] == "ann" and added["transcript"] == words
    assert removed["deleted"] is True


def test_the_examples_of_python(gateway: RunningGateway, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    values: dict[str, object] = {}
    for example in blocks("python"):
        exec(compile(on(gateway, example), "gateway.md", "exec"), values)
    assert is_speech(decoded((tmp_path / "hello.wav").read_bytes(), RATE))
    assert is_speech(np.fromfile(tmp_path / "hello.pcm", "<i2") / np.float32(32767))
    values["client"].close()


@pytest.mark.skipif(shutil.which("node") is None, reason="node is missing")
@pytest.mark.parametrize("number", [0, 1])
def test_the_examples_of_javascript(gateway: RunningGateway, tmp_path: Path, number: int) -> None:
    example = tmp_path / "example.mjs"
    example.write_text(on(gateway, blocks("javascript")[number]))
    words = ["node", "--no-warnings"]
    if "WebSocket" in example.read_text() and run(["node", "-p", "typeof WebSocket"], tmp_path) != (
        "function\n"
    ):
        words.append("--experimental-websocket")  # before Node 22
    sizes = re.findall(r"(\d+) bytes", run([*words, str(example)], tmp_path))
    assert len(sizes) > 1 and sum(map(int, sizes)) > 0.5 * 2 * RATE


def on(gateway: RunningGateway, example: str) -> str:
    address = gateway.url.removeprefix("http://")
    return example.replace(ADDRESS.removeprefix("http://"), address)


def test_everything_is_named() -> None:
    options = {
        f"--{name.replace('_', '-')}" for name in inspect.signature(flat(command)).parameters
    }
    options = {option.replace("open-to-all", "open") for option in options}
    fields = {*TimesRequest.model_fields, *voices.FIELDS}
    codes = set(re.findall(r"\b[a-z]+(?:_[a-z]+)+\b|unavailable|overloaded", errors.__doc__ or ""))
    codes -= {"invalid_request_error", "authentication_error", "rate_limit_error", "server_error"}
    metrics = set(re.findall(rb"^# TYPE (\w+)", Metrics().page(), re.MULTILINE))
    named = {name.decode().removesuffix("_created") for name in metrics}
    messages = {*stream.MESSAGES, *realtime_orders.EVENTS, *stream.Start.model_fields}
    every = (*options, *fields, *FORMATS, *codes, *named, *messages, *REALTIME_ALIASES)
    missing = {name for name in every if name not in PAGE}
    assert len(codes) > 10 and not missing

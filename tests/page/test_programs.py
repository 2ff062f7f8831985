"""What the page has to copy runs as it is."""

import json
import os
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from decoding import decoded
from gateways import RunningGateway, gateway_before
from passing_text import PassingText
from playwright.sync_api import Page, expect
from serving import RATE, is_speech
from waiting import HANG_S

from tritone.gateway.keys import new_key, write_keys
from tritone.launcher import TritonServer

pytestmark = pytest.mark.server

TEXT = 'It\'s "quoted", \\ costs $5 `now`,\nnaïve 100%.'


def shown(page: Page, language: str) -> str:
    page.get_by_role("radio", name=language, exact=True).check()
    return page.locator("#snippet").inner_text()


@pytest.fixture
def settled(page: Page) -> Page:
    """With a setting of each kind."""
    page.get_by_role("textbox", name="Text", exact=True).fill(TEXT)
    page.get_by_role("combobox", name="Voice", exact=True).select_option("joe")
    page.get_by_text("How to speak").click()
    page.get_by_label("Speed").fill("1.5")
    page.get_by_label("Seed").fill("7")
    page.get_by_text("Copy as a program").click()
    return page


@pytest.fixture(scope="module")
def locked(
    server: TritonServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[RunningGateway, str]]:
    """A gateway that wants a key, and the key."""
    folder = tmp_path_factory.mktemp("locked")
    key, record = new_key("page", requests_per_minute=0, streams=0)
    write_keys(folder / "keys.json", [record])
    keys = ("--keys", str(folder / "keys.json"))
    with gateway_before(folder, server.urls.grpc, more=keys) as running:
        yield running, key


def test_curl(settled: Page, tmp_path: Path) -> None:
    program = shown(settled, "curl")
    run = subprocess.run(
        program, shell=True, cwd=tmp_path, capture_output=True, text=True, timeout=HANG_S
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert is_speech(decoded((tmp_path / "speech.mp3").read_bytes(), RATE))
    words = shlex.split(program.replace(" \\\n", " "))
    sent = json.loads(words[words.index("-d") + 1])
    assert sent["input"] == TEXT and (sent["speed"], sent["seed"]) == (1.5, 7)


def test_python(settled: Page, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    values: dict[str, object] = {}
    exec(compile(shown(settled, "Python"), "snippet", "exec"), values)
    values["client"].close()
    assert is_speech(decoded((tmp_path / "speech.wav").read_bytes(), RATE))


def test_javascript(settled: Page) -> None:
    program = shown(settled, "JavaScript").replace("console.log(", "sizes.push(")
    sizes = settled.evaluate(f"async () => {{ const sizes = []; {program}; return sizes; }}")
    assert sum(size for size in sizes if isinstance(size, int)) > 0.4 * 2 * RATE


def test_the_button_copies(settled: Page) -> None:
    program = shown(settled, "curl")
    labels = PassingText(settled, "#copy-snippet")
    settled.get_by_role("button", name="Copy", exact=True).click()
    labels.first("Copied")
    assert settled.evaluate("navigator.clipboard.readText()") == program


def test_a_key_is_asked_for_and_kept_to_itself(
    opened, locked: tuple[RunningGateway, str], tmp_path: Path
) -> None:
    gateway, key = locked
    page = opened(gateway.url)
    expect(page.get_by_role("alert")).to_contain_text("no API key")
    expect(page.get_by_label("API key")).to_be_focused()
    page.keyboard.type("tritone-nobody")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("this API key is not known here")
    page.get_by_label("API key").fill(key)
    page.get_by_role("button", name="Use it").click()
    expect(page.get_by_label("API key")).to_be_hidden()
    page.get_by_role("textbox", name="Text", exact=True).fill("Hello there.")
    page.get_by_role("button", name="Speak").click()
    expect(page.locator("#status")).to_contain_text("All has arrived")
    page.reload()
    expect(page.get_by_role("combobox", name="Voice", exact=True).locator("option")).to_have_count(
        3
    )
    assert page.evaluate("[localStorage.length, document.cookie]") == [0, ""]
    page.get_by_text("Copy as a program").click()
    for language in ("curl", "Python", "JavaScript"):
        assert key not in shown(page, language) and "TRITONE_KEY" in shown(page, language)
    run = subprocess.run(
        shown(page, "curl"), shell=True, cwd=tmp_path, env={**os.environ, "TRITONE_KEY": key}
    )
    assert run.returncode == 0

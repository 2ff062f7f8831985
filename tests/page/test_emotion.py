"""The page's settings for emotions, before a server whose models are played here."""

import base64
import json
import subprocess
import sys
from pathlib import Path

import pytest
from gateways import RunningGateway
from playwright.sync_api import Locator, Page, Request, Route, expect

pytestmark = pytest.mark.server

NAMES = ["happy", "sad"]
RECORDING = bytes(range(256)) * 800  # longer than an argument of a program may be


@pytest.fixture
def page(opened, gateway: RunningGateway) -> Page:
    """Its first model has emotions, the second none. What it asks for is answered with nothing."""
    page = opened(gateway.url)
    cards = [{"id": "moody", "emotions": NAMES}, {"id": "plain", "emotions": []}]
    page.route("**/v1/models", lambda route: route.fulfill(json={"data": cards}))
    page.route("**/v1/audio/voices*", lambda route: route.fulfill(json={"voices": []}))
    page.route("**/v1/audio/speech", answer)
    page.reload()
    expect(model(page).locator("option")).to_have_count(2)
    page.get_by_text("How to speak").click()
    return page


def model(page: Page) -> Locator:
    return page.get_by_role("combobox", name="Model", exact=True)


def answer(route: Route) -> None:
    done = 'data: {"type": "speech.audio.done", "usage": {}}\n\ndata: [DONE]\n\n'
    route.fulfill(body=done, content_type="text/event-stream")


def asked(page: Page) -> dict[str, object]:
    """The emotion that it asks for."""
    with page.expect_request("**/v1/audio/speech") as speech:
        page.get_by_role("button", name="Speak").click()
    request: Request = speech.value
    return {name: value for name, value in request.post_data_json.items() if "emotion" in name}


def choose(page: Page, kind: str) -> None:
    page.get_by_role("combobox", name="Emotion").select_option(kind)


def test_each_kind_is_asked_for(page: Page) -> None:
    assert asked(page) == {}
    choose(page, "by shares")
    page.get_by_label("sad").fill("0.6")
    page.get_by_label("How much of it").fill("0.5")
    assert asked(page) == {"emotion_vector": [0, 0.6], "emotion_weight": 0.5}
    page.get_by_label("How much of it").fill("1")
    choose(page, "read out of words")
    expect(page.get_by_label("sad")).to_be_hidden()
    assert asked(page) == {}
    page.get_by_label("Words that feel so").fill("So sad.")
    assert asked(page) == {"emotion_text": "So sad."}
    choose(page, "of a recording")
    file = {"name": "sad.wav", "mimeType": "audio/wav", "buffer": RECORDING}
    page.get_by_label("Recording that sounds so").set_input_files(file)
    page.get_by_text("Copy as a program").click()
    expect(page.locator("#snippet")).to_contain_text("sad.wav")
    assert asked(page) == {"emotion_audio": base64.b64encode(RECORDING).decode()}
    choose(page, "the voice's own")
    assert asked(page) == {}


def test_there_is_nothing_to_choose_without_emotions(page: Page) -> None:
    choose(page, "by shares")
    page.get_by_label("happy").fill("1")
    model(page).select_option("plain")
    expect(page.locator("select[name=emotion]")).to_be_hidden()
    assert asked(page) == {}
    model(page).select_option("moody")
    expect(page.get_by_role("combobox", name="Emotion")).to_be_visible()


def test_programs_read_the_recording(page: Page, tmp_path: Path) -> None:
    (tmp_path / "it's sad.wav").write_bytes(RECORDING)
    choose(page, "of a recording")
    page.get_by_label("Recording that sounds so").set_input_files(tmp_path / "it's sad.wav")
    page.get_by_text("Copy as a program").click()
    expect(page.locator("#snippet")).to_contain_text("sad.wav")
    encoded = base64.b64encode(RECORDING).decode()
    program = page.locator("#snippet").inner_text()
    sender, _, rest = program.partition("| curl")
    sent = subprocess.run(sender, shell=True, cwd=tmp_path, capture_output=True, check=True).stdout
    assert json.loads(sent)["emotion_audio"] == encoded and "-d @-" in rest
    page.get_by_role("radio", name="Python", exact=True).check()
    program = page.locator("#snippet").inner_text()
    (line,) = (line for line in program.splitlines() if "extra_body" in line)
    told = f"import base64\nprint(dict({line.strip()})['extra_body']['emotion_audio'])"
    words = [sys.executable, "-c", told]
    read = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert read.strip() == encoded
    page.get_by_role("radio", name="JavaScript", exact=True).check()
    expect(page.locator("#snippet")).to_contain_text('await readFile("it\'s sad.wav", "base64")')

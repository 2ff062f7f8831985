"""The dialog that adds a voice; the server's side of it is played here."""

import json
import re
from email import message_from_bytes
from pathlib import Path

import pytest
import soundfile
from playwright.sync_api import Page, Request, Route, expect
from serving import RATE, reference
from waiting import wait_until

pytestmark = pytest.mark.server

VOICES = re.compile(r"/v1/audio/voices(/[^?]*)?$")
KEEP_RECORDER = """const { start } = MediaRecorder.prototype;
MediaRecorder.prototype.start = function () { window.recorder = this; return start.call(this); };"""
RECORDED = """() => new Promise((done) => {
    recorder.addEventListener("dataavailable", ({ data }) => done(data.size), { once: true });
    recorder.requestData();
})"""  # bytes since it was asked last; the page gets them too
NEEDED = "consent: is empty; who agreed to this use of the voice must be said"


def form_of(request: Request) -> dict[str, bytes]:
    head = f"Content-Type: {request.headers['content-type']}\n\n".encode()
    parts = message_from_bytes(head + (request.post_data_buffer or b"")).get_payload()
    return {
        part.get_param("name", header="content-disposition"): part.get_payload(decode=True)
        for part in parts
    }


class Server:
    """Takes voices as the gateway's route does, where it `takes` any."""

    def __init__(self, page: Page, *, takes: bool, refusal: int = 0) -> None:
        self.forms: list[dict[str, bytes]] = []
        self.removed: list[str] = []
        self._takes, self._refusal = takes, refusal
        page.route("**/openapi.json", self._schema)
        page.route(VOICES, self._voices)

    def _schema(self, route: Route) -> None:
        methods = {"get": {}, **({"post": {}} if self._takes else {})}
        route.fulfill(json={"paths": {"/v1/audio/voices": methods}})

    def _voices(self, route: Route) -> None:
        request = route.request
        if request.method == "DELETE":
            self.removed.append(request.url.rpartition("/")[2])
            route.fulfill(json={"id": "joe", "object": "audio.voice.deleted", "deleted": True})
        elif request.method != "POST":
            route.fallback()
        elif self._refusal:
            self._refuse(route, self._refusal, "not taken here")
        else:
            form = form_of(request)
            self.forms.append(form)
            if not form["consent"]:
                self._refuse(route, 400, NEEDED)
            else:
                route.fulfill(json={"id": form["name"].decode()})

    def _refuse(self, route: Route, status: int, message: str) -> None:
        error = {"message": message, "type": "", "param": None, "code": None}
        route.fulfill(status=status, body=json.dumps({"error": error}))


def again(page: Page) -> None:
    page.reload()
    options = page.get_by_role("combobox", name="Voice", exact=True).locator("option")
    expect(options).to_have_count(3)


def test_a_file_is_sent_with_what_is_said_of_it(page: Page, tmp_path: Path) -> None:
    server = Server(page, takes=True)
    again(page)
    soundfile.write(tmp_path / "ann.wav", reference(), 16000)
    page.get_by_role("button", name="Add a voice").click()
    dialog = page.get_by_role("dialog", name="Add a voice")
    dialog.get_by_label("Name").fill("ann")
    dialog.get_by_role("button", name="Add", exact=True).click()
    expect(dialog.get_by_role("alert")).to_have_text("Choose a recording, or record one.")
    dialog.get_by_label("Recording").set_input_files(tmp_path / "ann.wav")
    dialog.get_by_label("What is said in it").fill("A buzz.")
    dialog.get_by_label("Who agreed").fill("Ann, by letter")
    dialog.get_by_role("button", name="Add", exact=True).click()
    expect(dialog.get_by_role("alert")).to_have_text(NEEDED)
    dialog.get_by_label("The speaker agrees").check()
    dialog.get_by_role("button", name="Add", exact=True).click()
    expect(dialog).to_be_hidden()
    expect(page.locator("#status")).to_have_text("The voice ann was added.")
    form = server.forms[-1]
    assert form.pop("audio_sample") == (tmp_path / "ann.wav").read_bytes()
    assert form == {
        "name": b"ann",
        "transcript": b"A buzz.",
        "consent": b"Ann, by letter",
        "model": b"cosyvoice2",
    }


def test_a_recording_is_made_and_sent_as_wav(page: Page, tmp_path: Path) -> None:
    server = Server(page, takes=True)
    page.add_init_script(KEEP_RECORDER)
    again(page)
    page.get_by_role("button", name="Add a voice").click()
    dialog = page.get_by_role("dialog", name="Add a voice")
    dialog.get_by_role("button", name="Record", exact=True).click()
    expect(dialog.locator("#recorded")).to_have_text("recording")
    for _ in range(2):  # the first may be the head of the file alone
        wait_until(lambda: page.evaluate(RECORDED) > 0)
    dialog.get_by_role("button", name="Stop recording").click()
    expect(dialog.locator("#recorded")).to_contain_text("s recorded")
    dialog.get_by_label("Name").fill("ann")
    dialog.get_by_label("Who agreed").fill("Ann")
    dialog.get_by_label("The speaker agrees").check()
    dialog.get_by_role("button", name="Add", exact=True).click()
    expect(dialog).to_be_hidden()
    (tmp_path / "sent.wav").write_bytes(server.forms[-1]["audio_sample"])
    samples, rate = soundfile.read(tmp_path / "sent.wav")
    assert rate == RATE and len(samples) > 0


def test_a_voice_is_removed(page: Page) -> None:
    server = Server(page, takes=True)
    again(page)
    page.get_by_role("button", name="Add a voice").click()
    page.get_by_text("Remove a voice").click()
    page.get_by_role("button", name="Remove joe").click()
    expect(page.locator("#status")).to_have_text("The voice was removed.")
    assert server.removed == ["joe"]
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()


@pytest.mark.parametrize("status", [404, 405, 501])
def test_a_server_that_takes_none_after_all(page: Page, tmp_path: Path, status: int) -> None:
    Server(page, takes=True, refusal=status)
    again(page)
    soundfile.write(tmp_path / "ann.wav", reference(), 16000)
    page.get_by_role("button", name="Add a voice").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Name").fill("ann")
    dialog.get_by_label("Recording").set_input_files(tmp_path / "ann.wav")
    dialog.get_by_role("button", name="Add", exact=True).click()
    expect(dialog).to_be_hidden()
    expect(page.get_by_role("alert")).to_have_text("not taken here")
    expect(page.get_by_role("button", name="Add a voice")).to_be_hidden()


def test_a_server_that_takes_none(page: Page) -> None:
    Server(page, takes=False)
    again(page)
    expect(page.get_by_role("button", name="Add a voice")).to_be_hidden()

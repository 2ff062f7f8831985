"""The page in a real browser, in front of the real server: text in, sound out."""

import re
from pathlib import Path

import httpx
import pytest
import soundfile
from gateways import RunningGateway
from passing_text import PassingText
from playwright.sync_api import Page, expect
from serving import LONGEST, RATE, SENTENCE, SHORT, cancelled, is_speech, wait_until_free
from waiting import HANG_S, wait_until

from tritone.launcher import TritonServer

pytestmark = pytest.mark.server

DRAWN = """canvas => canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height)
    .data.filter((value, n) => n % 4 === 3 && value).length"""  # pixels with something on them


def write(page: Page, text: str) -> None:
    page.get_by_role("textbox", name="Text", exact=True).fill(text)


def speak(page: Page) -> None:
    page.get_by_role("button", name="Speak").click()


def arrived(page: Page) -> None:
    expect(page.locator("#status")).to_contain_text("All has arrived")


def seconds(page: Page, figure: str, take: int = 0) -> float:
    shown = page.locator(f"[data-figure={figure}]").nth(take).inner_text()
    found = re.fullmatch(r"([\d.]+)( m?s)?", shown)
    assert found, shown
    return float(found[1]) / (1000 if found[2] == " ms" else 1)


def test_it_plays_draws_and_measures(page: Page) -> None:
    write(page, SHORT)
    speak(page)
    arrived(page)
    assert page.locator("canvas").evaluate(DRAWN) > 1000
    first, total, speech = (seconds(page, name) for name in ("first", "total", "speech"))
    assert 0 < first <= total + 0.01 and speech > 0.4
    assert seconds(page, "rtf") == pytest.approx(total / speech, abs=0.05)
    expect(page.locator(".legend")).to_contain_text("vocoder")
    assert page.locator(".bar span").count() == page.locator(".legend li").count() > 2
    expect(page.get_by_role("button", name="Play", exact=True)).to_be_enabled()  # all was heard
    expect(page.locator("#stop")).to_be_disabled()


def test_it_is_heard_while_it_is_made_and_stopped(page: Page, server: TritonServer) -> None:
    before = cancelled(server)
    write(page, LONGEST)
    speak(page)
    expect(page.locator("#echo mark")).to_have_text(re.compile("^The birch"))
    assert page.locator("[data-figure=total]").inner_text() == ""
    assert page.locator("#echo").text_content() == f"{LONGEST}\n"
    page.get_by_role("button", name="Stop", exact=True).click()
    expect(page.locator("#status")).to_have_text("Stopped.")
    expect(page.locator(".state")).to_have_text("stopped")
    wait_until(lambda: cancelled(server) == before + 1)
    wait_until_free(server)
    expect(page.locator("#stop")).to_be_disabled()
    expect(page.get_by_role("button", name="Download WAV")).to_be_enabled()


def test_each_segment_is_marked_as_it_is_said(page: Page) -> None:
    text = f"\N{GRINNING FACE} {SHORT} {SENTENCE}"
    write(page, text)
    marks = PassingText(page, "#echo mark")
    speak(page)
    assert text.endswith(marks.first("planks."))
    page.get_by_role("textbox", name="Text", exact=True).press("End")
    page.keyboard.type("!")  # another text, of which nothing is said
    expect(page.locator("#echo mark")).to_have_count(0)


def test_the_server_says_what_is_wrong(page: Page, gateway: RunningGateway) -> None:
    write(page, " ")
    speak(page)
    said = httpx.post(gateway.speech, json={"model": "tts-1", "input": " "}, timeout=HANG_S).json()
    expect(page.get_by_role("alert")).to_have_text(said["error"]["message"])
    write(page, SHORT)
    page.get_by_text("How to speak").click()
    page.get_by_label("Instructions").fill("whisper")
    speak(page)
    expect(page.get_by_role("alert")).to_contain_text("instructions: ")
    page.get_by_label("Instructions").fill("")
    speak(page)
    arrived(page)
    expect(page.get_by_role("alert")).to_be_hidden()


def test_two_voices_side_by_side(page: Page) -> None:
    write(page, SHORT)
    page.get_by_label("Compare two").check()
    page.get_by_role("group", name="A").get_by_role(
        "combobox", name="Voice", exact=True
    ).select_option("heart")
    page.get_by_role("group", name="B").get_by_role(
        "combobox", name="Voice", exact=True
    ).select_option("joe")
    speak(page)
    arrived(page)
    expect(page.locator(".take h2")).to_have_text(
        ["A · heart · cosyvoice2", "B · joe · cosyvoice2"]
    )
    assert all(seconds(page, "speech", take) > 0.4 for take in (0, 1))
    second = page.locator(".take").nth(1).get_by_role("button", name="Play", exact=True)
    expect(second).to_be_enabled()  # both were heard
    labels = PassingText(page, ".take:nth-of-type(2) .play")
    second.click()
    labels.first("Stop playing")
    expect(second).to_be_enabled()


def test_download(page: Page, tmp_path: Path) -> None:
    write(page, SHORT)
    page.get_by_role("combobox", name="Voice", exact=True).select_option("joe")
    speak(page)
    arrived(page)
    with page.expect_download() as download:
        page.get_by_role("button", name="Download WAV").click()
    assert download.value.suggested_filename == "joe.wav"
    download.value.save_as(tmp_path / "joe.wav")
    samples, rate = soundfile.read(tmp_path / "joe.wav")
    assert rate == RATE and is_speech(samples)
    assert len(samples) / rate == pytest.approx(seconds(page, "speech"), abs=0.006)


def test_keys_of_the_keyboard_do(page: Page) -> None:
    reached = []
    for _ in range(6):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.name || document.activeElement.id"))
        style = (
            "getComputedStyle(document.activeElement.closest('#sheet') ?? document.activeElement)"
        )
        assert page.evaluate(f"{style}.outlineStyle") == "solid"
    assert reached == ["input", "model", "voice", "", "speak", "compare"]
    page.get_by_role("textbox", name="Text", exact=True).focus()
    page.keyboard.press("Control+A")
    page.keyboard.type(SENTENCE)
    page.keyboard.press("Control+Enter")
    expect(page.locator("[data-figure=first]")).to_contain_text("ms")
    page.keyboard.press("Escape")
    expect(page.locator("#stop")).to_be_disabled()


@pytest.mark.parametrize("width", [320, 390, 1280])
def test_nothing_is_wider_than_the_screen(page: Page, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    page.get_by_label("Compare two").check()
    page.get_by_text("Copy as a program").click()
    across = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert across[0] <= across[1]

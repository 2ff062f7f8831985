"""A voice is added on the page, speaks, and is removed; nobody's part is played."""

from collections.abc import Callable

import pytest
from gateways import RunningGateway
from playwright.sync_api import Page, expect
from serving import SHORT
from sound_files import SPOKEN

pytestmark = pytest.mark.server


def test_a_voice_comes_speaks_and_goes(
    opened: Callable[[str], Page], adding: RunningGateway
) -> None:
    page = opened(adding.url)
    choice = page.get_by_role("combobox", name="Voice", exact=True)
    expect(choice.locator("option")).to_have_count(3)
    page.get_by_role("button", name="Add a voice").click()
    dialog = page.get_by_role("dialog", name="Add a voice")
    dialog.get_by_label("Name").fill("Ann's")
    dialog.get_by_label("Recording").set_input_files(SPOKEN["joe"])
    dialog.get_by_label("Who agreed").fill("nobody: it is a made voice")
    dialog.get_by_role("button", name="Add", exact=True).click()
    expect(dialog.get_by_role("alert")).to_contain_text("consent: is missing")
    dialog.get_by_label("The speaker agrees").check()
    dialog.get_by_role("button", name="Add", exact=True).click()
    expect(dialog).to_be_hidden()
    expect(page.locator("#status")).to_have_text("The voice ann-s was added.")
    expect(choice).to_have_value("ann-s")
    page.get_by_role("textbox", name="Text", exact=True).fill(SHORT)
    page.get_by_role("button", name="Speak").click()
    expect(page.locator("#status")).to_contain_text("All has arrived")
    page.get_by_role("button", name="Add a voice").click()
    page.get_by_text("Remove a voice").click()
    page.get_by_role("button", name="Remove ann-s").click()
    expect(page.locator("#status")).to_have_text("The voice was removed.")
    expect(choice.locator("option")).to_have_count(3)

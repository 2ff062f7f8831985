"""A browser, started once, and the page in it."""

from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import chromium
import pytest
from gateways import RunningGateway
from playwright.sync_api import Browser, Page, expect, sync_playwright
from waiting import HANG_S

expect.set_options(timeout=1000 * HANG_S)

Opened = Callable[[str], Page]


@pytest.fixture(scope="session")
def chromium_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if chromium.BINARY is None:
        pytest.skip("there is no Chromium: apt-get install chromium")
    with chromium.running_chromium(tmp_path_factory.mktemp("chromium")) as address:
        yield address


@pytest.fixture(scope="module")
def browser(chromium_address: str) -> Iterator[Browser]:
    """Let go at the end of each module, as no event loop can run while it is driven."""
    with sync_playwright() as driver:
        connected = driver.chromium.connect_over_cdp(chromium_address, timeout=1000 * HANG_S)
        yield connected
        connected.close()


@pytest.fixture
def opened(browser: Browser) -> Iterator[Opened]:
    """Opens the page of a gateway; what no page may do is looked for at the end."""
    context = browser.new_context(permissions=["microphone", "clipboard-read", "clipboard-write"])
    context.set_default_timeout(1000 * HANG_S)
    wrong: list[str] = []
    hosts: set[str] = set()
    asked: set[str] = set()

    def watch(page: Page) -> None:
        def heard(message: object) -> None:
            refused = message.text.startswith("Failed to load resource")  # a status, told below
            if message.type in ("error", "warning") and not refused:
                wrong.append(message.text)

        page.on("console", heard)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", lambda request: asked.add(urlsplit(request.url).netloc))

    def open_page(url: str) -> Page:
        page = context.new_page()
        watch(page)
        hosts.add(urlsplit(url).netloc)
        page.goto(url)
        return page

    yield open_page
    context.close()
    assert not wrong
    assert asked - {""} == hosts, "blob: has no host"


@pytest.fixture
def page(opened: Opened, gateway: RunningGateway) -> Page:
    """Ready to speak."""
    page = opened(gateway.url)
    expect(page.get_by_role("combobox", name="Voice", exact=True).locator("option")).to_have_count(
        3
    )
    return page

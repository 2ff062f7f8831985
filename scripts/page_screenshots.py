"""Take the pictures of the page that the documentation shows, from a gateway that runs.

    python scripts/page_screenshots.py http://127.0.0.1:8080

It needs Chromium (Debian: chromium) and Playwright, which `make setup-tests` brings.
"""

import argparse
from pathlib import Path

from playwright.sync_api import Browser, expect, sync_playwright

DOCS = Path(__file__).resolve().parent.parent / "docs"
PICTURES = (  # name, scheme of colours, width, height, whether two voices are compared
    ("page-light", "light", 1000, 930, False),
    ("page-dark", "dark", 1000, 1060, True),
    ("page-phone", "light", 390, 1040, False),
)
WAIT_MS = 60_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("url", help="of the gateway")
    parser.add_argument("--chromium", default="/usr/bin/chromium", help="the browser")
    options = parser.parse_args()
    expect.set_options(timeout=WAIT_MS)
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=options.chromium)
        for name, scheme, width, height, compared in PICTURES:
            take(browser, options.url, name, scheme, (width, height), compared)
        browser.close()


def take(
    browser: Browser, url: str, name: str, scheme: str, size: tuple[int, int], compared: bool
) -> None:
    """One picture, of the page while it speaks."""
    context = browser.new_context(
        color_scheme="dark" if scheme == "dark" else "light",
        viewport={"width": size[0], "height": size[1]},
    )
    page = context.new_page()
    page.goto(url)
    voice = page.get_by_role("combobox", name="Voice", exact=True)
    expect(voice.locator("option")).not_to_have_count(0)
    voice.select_option("heart")
    page.get_by_label("Compare two").set_checked(compared)
    page.get_by_role("button", name="Speak").click()
    expect(page.locator("#status")).to_contain_text("All has arrived")
    expect(page.locator("#echo mark")).to_contain_text("easy")
    path = DOCS / f"{name}.png"
    page.screenshot(path=path)
    print(f"{path.name}: {path.stat().st_size / 1024:.0f} KiB")
    context.close()


if __name__ == "__main__":
    main()

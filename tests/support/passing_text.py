"""What a page shows for a moment only, kept until it is looked for."""

from playwright.sync_api import Page
from waiting import wait_until

_KEEP = """selector => {
    const kept = ((window.kept ??= {})[selector] = []);
    new MutationObserver(() =>
        document.querySelectorAll(selector).forEach(({ textContent }) => kept.push(textContent))
    ).observe(document.body, { subtree: true, childList: true, characterData: true });
}"""


class PassingText:
    """The texts that the elements of a selector have from now on."""

    def __init__(self, page: Page, selector: str) -> None:
        self._page, self._selector = page, selector
        page.evaluate(_KEEP, selector)

    def first(self, words: str) -> str:
        """The first one that has these words."""

        def found() -> str | None:
            return next((text for text in self._all() if words in text), None)

        return wait_until(found, lambda: f"no {words!r} among {self._all()}")

    def _all(self) -> list[str]:
        return self._page.evaluate("selector => window.kept[selector]", self._selector)

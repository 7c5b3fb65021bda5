"""The system's Chromium, driven by Playwright, and what every visit to a page must hold: no error, and no request to another host."""

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import axe_playwright_python
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

AXE = Path(axe_playwright_python.__file__).with_name("axe.min.js")
_ALIKE = "tbody tr:nth-child(n + 5), .bars rect:nth-child(n + 5), .bands rect:nth-child(n + 5)"
"""Parts of a page that are made as the ones before them. axe takes seconds for hundreds of these."""


class Chromium:
    """A running browser with at most two windows: one for pages with their CSP, and one for pages without it.

    A page is a tab of its own, with a session storage of its own. A window costs two seconds of processor time, and a tab 0.4 s.
    """

    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        self._windows: dict[bool, BrowserContext] = {}

    def page(self, *, bypass_csp: bool) -> Page:
        """Return a new page."""
        if bypass_csp not in self._windows:
            self._windows[bypass_csp] = self._browser.new_context(bypass_csp=bypass_csp)
            self._windows[bypass_csp].new_page()  # stays empty, and keeps the window open
        return self._windows[bypass_csp].new_page()


@contextmanager
def chromium() -> Iterator[Chromium]:
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        assert not os.environ.get("FIRNLINE_REQUIRE_BROWSER"), "a browser is required, but none is installed"
        pytest.skip("needs chromium")
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield Chromium(browser)
        browser.close()


class Look:
    """One page in a browser, with its errors and its requests."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.errors: list[str] = []
        self.requests: list[str] = []
        page.set_default_timeout(60_000)
        page.on("console", lambda message: self.errors.append(message.text) if message.type in {"error", "warning"} else None)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("request", lambda request: self.requests.append(request.url))

    def text(self, selector: str) -> str:
        return self.page.inner_text(selector)

    def until(self, script: str, argument: Any = None, timeout_s: float = 90.0) -> Any:
        """Return the value of the script once it is true. Evaluated from outside, because the page's CSP forbids text as code."""
        began = time.monotonic()
        while not (said := self.page.evaluate(script, argument)):
            waited_s = time.monotonic() - began
            assert waited_s < timeout_s, f"waited {timeout_s} s in vain for {script}; the page said {self.errors}"
            self.page.wait_for_timeout(min(200, 20 + 100 * waited_s))  # Playwright handles the page's events meanwhile
        return said

    def violations(self) -> list[str]:
        """Return the violations that axe finds. The page must have been opened with `bypass_csp`."""
        if not self.page.evaluate("'axe' in window"):
            self.page.evaluate(AXE.read_text())
        run = "axe.run({ exclude: [alike] }, { resultTypes: ['violations'], preload: false }).then(({ violations }) => violations)"
        found = self.page.evaluate(f"(alike) => {run}", _ALIKE)
        return [f"{each['id']}: {each['nodes'][0]['html'][:200]}" for each in found]


@contextmanager
def look(
    browser: Chromium, url: str, *, bypass_csp: bool = False, viewport: tuple[int, int] = (1280, 900), **media: Any
) -> Iterator[Look]:
    """Open a page. `media` are what the user prefers, such as `color_scheme`."""
    page = browser.page(bypass_csp=bypass_csp)
    try:
        page.set_viewport_size({"width": viewport[0], "height": viewport[1]})
        page.emulate_media(**media)
        seen = Look(page)
        page.goto(url)
        yield seen
    finally:
        page.close()

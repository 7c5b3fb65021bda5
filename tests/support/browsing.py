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
from playwright.sync_api import Browser, Page, sync_playwright

AXE = Path(axe_playwright_python.__file__).with_name("axe.min.js")


@contextmanager
def chromium() -> Iterator[Browser]:
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        assert not os.environ.get("FIRNLINE_REQUIRE_BROWSER"), "a browser is required, but none is installed"
        pytest.skip("needs chromium")
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield browser
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
        deadline = time.monotonic() + timeout_s
        while not (said := self.page.evaluate(script, argument)):
            assert time.monotonic() < deadline, f"waited {timeout_s} s in vain for {script}; the page said {self.errors}"
            self.page.wait_for_timeout(20)  # Playwright handles the page's events meanwhile
        return said

    def violations(self) -> list[str]:
        """Return the violations that axe finds. The page must have been opened with `bypass_csp`."""
        self.page.evaluate(AXE.read_text())
        found = self.page.evaluate("axe.run(document, { resultTypes: ['violations'] })")["violations"]
        return [f"{each['id']}: {each['nodes'][0]['html'][:200]}" for each in found]


@contextmanager
def look(browser: Browser, url: str, **how: Any) -> Iterator[Look]:
    context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **how})
    seen = Look(context.new_page())
    try:
        seen.page.goto(url)
        yield seen
    finally:
        context.close()

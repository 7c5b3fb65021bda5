"""What a visitor does on the page /docs: search, copy, and send a request, with a token and without one."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.browsing import Chromium, Look, chromium, look
from tests.support.service import Service, service
from tests.support.waiting import until

FIRST_MS = 1_685_695_916_000
TOKEN = "a-token-of-a-reader-0123456789"  # noqa: S105
SHOWN = "[...document.querySelectorAll('main article')].filter((each) => each.offsetParent).map((each) => each.querySelector('h3').id)"


@pytest.fixture(scope="module")
def browser() -> Iterator[Chromium]:
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Yield a service of sets that has a token for reading."""
    folder = tmp_path_factory.mktemp("docs")
    times = range(FIRST_MS, FIRST_MS + 3_000, 100)
    (folder / "events").write_text("".join(f"R_{at}\nG_{at + 1}\nB_{at + 2}\n" for at in times))
    setting = f"streams.events.source={{file: {folder / 'events'}}}"
    with service(None, None, setting, also=["--only", "events"], FIRNLINE_READ_TOKEN=TOKEN) as found:
        path = f"/events/get-sets?startTime={FIRST_MS + 2_900}&endTime={FIRST_MS + 3_000}"
        until(lambda: json.loads(found.request(path, Authorization=f"Bearer {TOKEN}")[2])["sets"])
        yield found


def url(running: Service, rest: str = "") -> str:
    return f"http://127.0.0.1:{running.port}/docs{rest}"


def opened(seen: Look, operation: str) -> Any:
    """Open the form of an operation, and return its article."""
    article = seen.page.locator(f"article:has(> h3#{operation})")
    article.get_by_role("button", name="Try").click()
    return article


def test_words_find_operations_and_a_link_to_a_hidden_one_ends_the_search(running: Service, browser: Chromium):
    with look(browser, url(running)) as seen:
        every = seen.page.evaluate(SHOWN)
        assert len(every) > 15
        seen.page.keyboard.press("/")
        seen.page.keyboard.type("bucket zone", delay=1)
        found = seen.page.evaluate(SHOWN)
        assert {"get-events-summary", "get-events-sets-summary"} <= set(found)
        assert "get-livez" not in found
        assert seen.text("header [role=status]") == f"{len(found)} of {len(every)} found"
        assert seen.page.locator("nav a[href='#get-livez']").is_hidden()
        seen.page.evaluate("location.hash = '#get-livez'")
        seen.until("document.querySelector('header [role=status]').textContent === ''")
        seen.page.locator("#search").fill("nothing-of-this-name")
        assert seen.page.evaluate(SHOWN) == []
        seen.page.keyboard.press("Escape")
        assert seen.page.evaluate(SHOWN) == every
        assert seen.errors == []


def test_a_request_is_sent_with_the_token_and_its_answer_shown(running: Service, browser: Chromium):
    with look(browser, url(running)) as seen:
        article = opened(seen, "get-events-get-sets")
        article.get_by_role("button", name="Send").click()
        status = article.locator("form [role=status]")
        seen.until("document.querySelector('form [role=status]').textContent.startsWith('401 in ')")
        assert "token" in article.locator("form pre").inner_text()
        seen.page.locator("#token").fill(TOKEN)
        for name, value in {"startTime": FIRST_MS, "endTime": FIRST_MS + 1_000, "limit": 2}.items():
            article.get_by_label(name, exact=False).first.fill(str(value))
        article.get_by_role("button", name="Send").click()
        seen.until("document.querySelector('form [role=status]').textContent.startsWith('200 in ')")
        answer = json.loads(article.locator("form pre").inner_text())
        assert [each["r"]["timestamp"] for each in answer["sets"]] == [FIRST_MS, FIRST_MS + 100]
        assert answer["next"]
        assert TOKEN not in status.inner_text()
        assert [each for each in seen.errors if "401" not in each] == []


def test_a_form_begins_with_the_range_that_the_stream_holds_and_wrong_input_gets_its_error(running: Service, browser: Chromium):
    with look(browser, url(running)) as seen:
        seen.page.locator("#token").fill(TOKEN)
        article = opened(seen, "get-events-get-sets")
        seen.until(f"document.getElementById('get-events-get-sets--startTime').value === '{FIRST_MS}'")
        article.get_by_role("button", name="Send").click()
        seen.until("document.querySelector('form [role=status]').textContent.startsWith('200 in ')")
        assert len(json.loads(article.locator("form pre").inner_text())["sets"]) == 10
        article.get_by_label("endTime", exact=False).first.fill("yesterday")
        article.get_by_role("button", name="Send").click()
        seen.until("document.querySelector('form [role=status]').textContent.startsWith('400 in ')")
        assert "query endTime" in article.locator("form pre").inner_text()
        assert [each for each in seen.errors if "400" not in each] == []
        article.get_by_label("format").select_option("csv")
        article.get_by_label("endTime", exact=False).first.fill(str(FIRST_MS + 1))
        article.get_by_role("button", name="Send").click()
        seen.until("document.querySelector('form pre').textContent.startsWith('r,g,b')")
        assert article.locator("form pre").inner_text().split() == ["r,g,b", f"{FIRST_MS},{FIRST_MS + 1},{FIRST_MS + 2}"]


def test_copy_puts_the_example_into_the_clipboard(running: Service, browser: Chromium):
    with look(browser, url(running)) as seen:
        seen.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        article = seen.page.locator("article:has(> h3#get-events-get-sets)")
        article.get_by_role("button", name="Copy").click()
        seen.until("[...document.querySelectorAll('.copy')].some((each) => each.textContent === 'Copied')")
        copied = seen.page.evaluate("navigator.clipboard.readText()")
        assert copied == article.locator("pre").first.inner_text()
        assert copied.startswith(f"curl 'http://127.0.0.1:{running.port}/events/get-sets?startTime=")


def test_an_open_form_is_accessible_and_fits_a_narrow_screen(running: Service, browser: Chromium):
    with look(browser, url(running), bypass_csp=True, viewport=(360, 780), color_scheme="light") as seen:
        seen.page.evaluate(
            "for (const each of document.querySelectorAll('article'))"
            " each.querySelector('#get-events-summary') || each.remove()"
        )
        article = opened(seen, "get-events-summary")
        article.get_by_role("button", name="Send").click()
        seen.until("document.querySelector('form [role=status]').textContent.startsWith('401 in ')")
        assert seen.page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
        assert seen.violations() == []


def test_the_page_loads_little(running: Service):
    folder = Path(__file__).parents[2] / "gateway" / "page" / "static"
    assert (
        sum(
            (folder / name).stat().st_size
            for name in ("docs/docs.js", "docs/try.js", "docs.css", "lib/access.js", "lib/exact.js")
        )
        < 40_000
    )
    assert running.request("/static/docs/docs.js")[0] == 200

"""Times and ids of 64 bits on the live page: no number of a stream passes through a double."""

import json
from collections.abc import Iterator

import pytest

from tests.support.browsing import Chromium, Look, chromium, look
from tests.support.service import Service, service

UNITS = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
FIRST_S = 1_685_695_916
IDS = [-(2**63), -5, *(2**53 + 1 + 10**15 * number for number in range(70)), 2**63 - 1]
ROWS = "[...document.querySelectorAll('%s tbody tr')].map((row) => [...row.cells].map((cell) => cell.innerText))"
READY = "!document.getElementById('stream').hidden && document.querySelectorAll('.generation').length > 0"


@pytest.fixture(scope="module")
def browser() -> Iterator[Chromium]:
    with chromium() as found:
        yield found


def firsts(unit: str) -> list[int]:
    """Return the times of 1,000 sets, one a millisecond (of a stream in seconds: one a second), none of them round."""
    apart = max(1, UNITS[unit] // 1_000)
    return [FIRST_S * UNITS[unit] + number * apart + number * apart // 1_000 for number in range(1_000)]


@pytest.fixture(scope="module", params=["us", "ns"])
def running(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Service]]:
    unit, folder = request.param, tmp_path_factory.mktemp("exact")
    (folder / "events").write_text("".join(f"{step}_{time}\n" for time in firsts(unit) for step in "RGB"))
    segments = [{"batch_id": each, "segment_id": part, "data": [part]} for each in IDS for part in range(10)]
    (folder / "segments").write_text("".join(json.dumps(each) + "\n" for each in segments))
    settings = [f"streams.{name}.source={{file: {name}}}" for name in ("events", "segments")]
    settings += [f"streams.events.time_unit={unit}", "streams.events.max_sets=100"]
    with service(None, None, *settings, also=("--only", "segments"), cwd=folder) as found:
        found.settled(3_000)
        found.settled(len(segments), "segments")
        yield unit, found


def url(running: Service, rest: str = "") -> str:
    return f"http://127.0.0.1:{running.port}/{rest}"


def written(time: int, unit: str) -> str:
    second, rest = divmod(time, UNITS[unit])
    return f"2023-06-02 08:51:{second - FIRST_S + 56}.{rest:0{len(str(UNITS[unit])) - 1}d}"


def asked(seen: Look) -> list[int]:
    """Return the range in the address."""
    return [int(part.split("=")[1]) for part in seen.page.evaluate("location.hash").split("?")[1].split("&")]


def query(seen: Look, start: str, end: str) -> list[list[str]]:
    seen.page.click("#range-clear")
    seen.page.fill("#range input[name=from]", start)
    seen.page.fill("#range input[name=to]", end)
    seen.page.keyboard.press("Enter")
    seen.until("!document.getElementById('answer').hidden")
    found: list[list[str]] = seen.page.evaluate(ROWS % "#answer-table")
    return found


def test_the_page_asks_for_exactly_the_range_that_was_typed(browser: Chromium, running: tuple[str, Service]):
    unit, found = running
    with look(browser, url(found, "#/events")) as seen:
        seen.until(READY)
        times = firsts(unit)
        for number in (0, 333, 750, 998):
            low, high = times[number], times[number + 1]
            rows = query(seen, written(low, unit), written(high + 1, unit))
            assert asked(seen) == [low, high + 1]
            assert [row[1] for row in rows] == [written(low, unit), written(high, unit)]
            assert [row[1] for row in query(seen, str(low), str(high))] == [written(low, unit)]
            query(seen, written(low + 1, unit), written(high, unit))
            assert "No set" in seen.text("#answer-said")
        query(seen, "-5m", "now")
        assert "No set" in seen.text("#answer-said")
        low, high = asked(seen)
        assert high - low in {300 * UNITS[unit], 300 * UNITS[unit] + 1}
        query(seen, "2023-06-02", "2023-13-02")
        assert "query endTime" in seen.text("#answer-said")
        assert seen.page.get_attribute("#range input[name=to]", "aria-invalid") == "true"
        assert not [each for each in seen.errors if "400" not in each]


def test_the_newest_sets_and_a_link_are_exact(browser: Chromium, running: tuple[str, Service]):
    unit, found = running
    times = firsts(unit)
    with look(browser, url(found, f"#/events?from={times[5]}&to={times[7]}")) as seen:
        seen.until(READY)
        seen.until("document.querySelectorAll('#answer-table tbody tr').length === 2")
        assert asked(seen) == [times[5], times[7]]
        assert [row[1] for row in seen.page.evaluate(ROWS % "#answer-table")] == [written(each, unit) for each in times[5:7]]
        assert seen.page.input_value("#range input[name=from]") == written(times[5], unit)
        seen.page.click("#range-newest")
        seen.until("(was) => !location.hash.includes(was)", f"from={times[5]}")
        span = [times[-100], times[-1] + 1]
        assert asked(seen) == span
        seen.until("document.querySelectorAll('#answer-table tbody tr').length === 100")
        shown = seen.page.evaluate(ROWS % "#answer-table")
        assert [row[1] for row in shown] == [written(each, unit) for each in times[:-101:-1]], "the newest set comes first"
        handle = seen.page.locator(".handle.to")
        assert handle.get_attribute("aria-valuenow") == str(span[1])
        assert written(times[0], unit)[:19] in seen.text("#holds")
        assert not seen.errors


def test_batches_of_any_id_are_shown_the_newest_first(browser: Chromium, running: tuple[str, Service]):
    _, found = running
    with look(browser, url(found, "#/segments")) as seen:
        seen.until("document.querySelectorAll('#view-body tbody tr').length > 0")
        shown = [int(row[0].replace(",", "")) for row in seen.page.evaluate(ROWS % "#view-body")]
        assert shown == sorted(IDS, reverse=True)[:50]
        assert not seen.errors

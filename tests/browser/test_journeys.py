"""What a visitor does on the page: from the overview to a stream, into the histogram, to a range, its table and its export."""

import json
import re
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from scripts.produce.patterns import chunks
from scripts.produce.spec import Spec
from tests.support.browsing import Chromium, Look, chromium, look
from tests.support.service import Service, service

FIRST_MS = 1_685_695_916_000
SETS = 6_000
PATTERNS = {"dataset": "top", "segments": "segments", "uniques": "uniques", "words": "words", "funnel": "orders"}
BROWSER = "text/html,application/xhtml+xml,*/*;q=0.8"
ROWS = "[...document.querySelectorAll('#answer-table tbody tr')].map((row) => [...row.cells].map((cell) => cell.innerText))"
COUNTED = "document.getElementById('timeline-said').innerText.match(/^.* from .* to .*$/)?.[0]"


@pytest.fixture(scope="module")
def browser() -> Iterator[Chromium]:
    with chromium() as found:
        yield found


def took(number: int) -> int:
    """Return how many ms a set takes from its first event to its last: no two neighbours the same."""
    return 20 + number * 7 % 50


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Yield a service of all views. Its sets begin 100 ms apart, and are in four generations."""
    folder = tmp_path_factory.mktemp("journeys")
    times = [(FIRST_MS + 100 * number, took(number)) for number in range(SETS)]
    lines = (f"R_{at}\nG_{at + 10}\nB_{at + each}\n" for at, each in times)
    (folder / "events").write_text("".join(lines) + "Q_1\n")
    for stream, pattern in PATTERNS.items():
        values = [value for part in chunks(pattern, Spec(600, FIRST_MS)) for value in part.values]
        (folder / stream).write_bytes(b"\n".join(values))
    settings = [f"streams.{name}.source={{file: {name}}}" for name in ("events", *PATTERNS)]
    also = [word for name in PATTERNS for word in ("--only", name)]
    settings += ["streams.events.max_sets=1700", "streams.uniques.output.topic=null"]
    with service(None, None, *settings, also=also, cwd=folder) as found:
        found.settled(3 * SETS + 1)
        for name in PATTERNS:
            found.settled(600, name)
        yield found


def url(running: Service, rest: str = "") -> str:
    return f"http://127.0.0.1:{running.port}/{rest}"


def window(seen: Look) -> tuple[str, str]:
    """Return the range that the histogram shows, as the page says it."""
    said = str(seen.until(COUNTED))
    start, _, end = said.partition(" from ")[2].partition(" to ")
    return start, end[:19]


def changed(seen: Look, before: tuple[str, str]) -> tuple[str, str]:
    seen.until("(was) => !document.getElementById('timeline-said').innerText.includes(was)", f"{before[0]} to {before[1]}")
    return window(seen)


def test_the_overview_has_a_card_for_each_stream_and_leads_to_it(browser: Chromium, running: Service):
    with look(browser, f"{url(running)}?utm_source=x", bypass_csp=True, reduced_motion="reduce", viewport=(360, 780)) as seen:
        seen.until("document.querySelectorAll('#overview-cards .badge:not(:empty)').length === 6")
        assert seen.page.title() == "Overview · Firnline"
        cards = seen.page.locator("#overview-cards > li")
        assert [cards.nth(at).locator("h2").inner_text() for at in range(6)] == ["events", *PATTERNS]
        assert f"{SETS:,}" in cards.nth(0).inner_text()
        seen.until("document.querySelector('#overview-cards .badge').innerText === 'at the end'")
        assert "not used" in seen.text("#overview-tiles"), "no stream reads a topic"
        begins = "[...document.querySelectorAll('.spark .line')].every((each) => /^M0\\.0 /.test(each.getAttribute('d')))"
        seen.until(begins)
        assert seen.until("document.querySelector('#streams [href*=events]').title") == "at the end"
        assert seen.page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
        assert seen.violations() == []
        seen.page.focus("#overview-cards a")
        seen.page.keyboard.press("Enter")
        seen.until("document.title.startsWith('events')")
        assert not seen.page.is_visible("#overview")
        assert seen.page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
        seen.page.focus(".skip")
        seen.page.keyboard.press("Enter")
        assert seen.page.evaluate("document.activeElement.id") == "main"
        assert seen.page.title().startswith("events"), "the link to skip the tabs stays on the stream"
        seen.page.go_back()
        seen.until("!document.getElementById('overview').hidden")
        assert not seen.page.is_visible("#notice")
        for name, shown in (("absent", "absent"), ("%ZZ", "%ZZ")):
            seen.page.evaluate("(hash) => { location.hash = hash; }", f"#/{name}")
            seen.until("(said) => document.getElementById('notice').innerText.startsWith(said)", f"There is no stream {shown}.")
            assert seen.page.is_visible("#overview")
        assert not seen.errors


def test_the_histogram_shows_the_counts_of_the_window_and_zooms_by_wheel_keys_and_buttons(browser: Chromium, running: Service):
    with look(browser, url(running, "#/events"), reduced_motion="reduce") as seen:
        page = seen.page
        whole = window(seen)
        assert seen.text("#timeline-said").startswith(f"{SETS:,} sets from 2023-06-02 08:51:56 to 2023-06-02 09:01:55")
        box = page.locator("#histogram").bounding_box()
        assert box is not None
        page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        page.mouse.wheel(0, -400)
        closer = changed(seen, whole)
        assert whole[0] < closer[0] < closer[1] < whole[1]
        page.focus("#histogram")
        page.keyboard.press("+")
        closest = changed(seen, closer)
        assert closer[0] < closest[0] < closest[1] < closer[1]
        page.keyboard.press("ArrowLeft")
        earlier = changed(seen, closest)
        assert earlier[0] < closest[0]
        assert page.get_attribute("[data-do=follow]", "aria-pressed") == "false"
        page.keyboard.press("End")
        newest = changed(seen, earlier)
        assert newest[1] == whole[1]
        assert page.get_attribute("[data-do=follow]", "aria-pressed") == "true"
        page.check("input[name=window][value='300000']", force=True)
        assert changed(seen, newest) == ("2023-06-02 08:56:55", whole[1])
        seen.until("document.getElementById('timeline-said').innerText.startsWith('3,000 sets')")
        page.click("[data-do=out]")
        page.click("[data-do=out]")
        assert changed(seen, ("2023-06-02 08:56:55", whole[1])) == whole
        assert page.locator(".generation").count() == 4
        page.check("input[name=mode][value=memory]", force=True)
        seen.until("document.querySelectorAll('.bars rect').length === 4")
        assert not page.is_visible("#histogram")
        assert not seen.errors


def test_a_range_has_tiles_a_table_that_scrolls_and_sorts_and_can_be_taken_away(browser: Chromium, running: Service):
    start, end = FIRST_MS + 100 * 500, FIRST_MS + 100 * 2_500
    with look(browser, url(running, f"#/events?from={start}&to={end}"), bypass_csp=True, reduced_motion="reduce") as seen:
        page = seen.page
        seen.until("!document.getElementById('answer-tiles').hidden")
        tiles = seen.text("#answer-tiles").split("\n")
        assert tiles[tiles.index("Sets") + 1] == "2,000"
        assert tiles[tiles.index("Rate") + 1] == "10"
        assert tiles[tiles.index("p50 of the whole") + 1] == "44"
        assert tiles[tiles.index("Longest") + 1] == "69"
        assert page.get_attribute("#answer-table table", "aria-rowcount") == "1001"
        shown = page.evaluate(ROWS)
        assert len(shown) < 100, "only rows in sight are in the document"
        assert shown[0] == ["1", "2023-06-02 08:52:46.000", "2023-06-02 08:52:46.010", "2023-06-02 08:52:46.020", "20 ms"]
        page.evaluate("const box = document.getElementById('answer-table'); box.scrollTop = box.scrollHeight")
        seen.until("document.querySelector('#answer-table tbody tr:last-child').cells[0].innerText === '1,000'")
        page.click("#answer-more")
        seen.until("document.querySelector('#answer-table table').getAttribute('aria-rowcount') === '2001'")
        page.click("#answer-table th:last-child button")
        page.keyboard.press("Enter")
        assert page.get_attribute("#answer-table th:last-child", "aria-sort") == "descending"
        assert page.evaluate(ROWS)[0][-1] == "69 ms"
        page.fill("#answer-find", "08:52:50.1")
        found = seen.until("document.getElementById('answer-found').innerText")
        cells = page.evaluate(ROWS)
        assert found == f"{len(cells)} of 2,000"
        assert 1 <= len(cells) <= 4, "sets begin 100 ms apart, and last some ms"
        assert all(any("08:52:50.1" in cell for cell in row) for row in cells)
        assert ["42", "2023-06-02 08:52:50.100"] in [row[:2] for row in cells], "a row keeps its number"
        page.fill("#answer-find", "")
        seen.until("document.querySelector('#answer-table table').getAttribute('aria-rowcount') === '2001'")
        assert seen.violations() == []
        page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        page.click("#answer-python")
        seen.until("document.getElementById('answer-copied').innerText")
        lines = page.evaluate("navigator.clipboard.readText()")
        assert f'firnline.sets({start}, {end}, stream="events")' in lines
        compile(lines, "copied", "exec")
        href = str(page.get_attribute("#answer-export [data-form=csv]", "href"))
        assert len(running.request(href)[2].splitlines()) == 2_001
        page.click("#answer-file")
        seen.until("document.getElementById('answer-copied').innerText.includes('polars and DuckDB')")
        address = urlsplit(page.evaluate("navigator.clipboard.readText()"))
        assert address.netloc == f"127.0.0.1:{running.port}"
        status, headers, body = running.request(address.path, Range="bytes=0-9")
        assert (status, headers["accept-ranges"], body) == (206, "bytes", running.request(href)[2][:10])
        page.click("#range-newest")
        seen.until("document.querySelector('#answer-table table').getAttribute('aria-rowcount') === '101'")
        assert page.evaluate(ROWS)[0][0] == "100"
        assert not seen.errors


def test_charts_are_not_empty_at_a_visit(browser: Chromium, running: Service):
    with look(browser, url(running, "#/events"), reduced_motion="reduce") as seen:
        seen.until("document.getElementById('past-said').innerText.includes('The history since ')")
        seen.page.check("input[name=past][value='86400']", force=True)
        seen.until("document.getElementById('past-said').innerText.includes('A point is')")
        seen.page.click("#past summary")
        seen.until("document.querySelector('#marks tbody')?.innerText.includes('started')")
        seen.page.click("#parts >> text=Records")
        seen.until("document.getElementById('rejects').innerText.includes('refused, because they are not events')")
        assert "others are of no interest" not in seen.text("#rejects")
        assert not seen.errors


def test_the_largest_ids_have_values_and_can_be_found(browser: Chromium, running: Service):
    ids = running.request("/dataset?limit=50&format=csv")[2].decode().splitlines()[1:]
    with look(browser, url(running, "#/dataset"), reduced_motion="reduce") as seen:
        seen.until("document.querySelectorAll('#view-body tbody tr').length === 50")
        shown = seen.page.evaluate(ROWS.replace("answer-table", "view-body"))
        assert [f"{key},{value.replace(',', '')}" for _, key, value in shown] == ids
        seen.page.fill("#view-body input", (last := running.get("/dataset")["data"][-1]))
        seen.until("document.querySelectorAll('#view-body tbody tr').length === 1")
        assert seen.page.evaluate(ROWS.replace("answer-table", "view-body"))[0][:2] == ["600", last]
        seen.page.fill("#view-body input", ids[30].split(",")[0])
        seen.until("document.querySelectorAll('#view-body tbody tr').length === 1")
        assert seen.page.evaluate(ROWS.replace("answer-table", "view-body"))[0][0] == "31"
        assert not seen.page.is_visible("#timeline"), "one live generation would be one bar"
        assert not seen.errors


def test_words_are_counted_by_event_time_and_a_finished_batch_leads_to_its_line(browser: Chromium, running: Service):
    with look(browser, url(running, "#/words"), reduced_motion="reduce") as seen:
        said = seen.until(COUNTED)
        total = sum(running.get("/words/CountByEventType").values())
        assert said.startswith(f"{total:,} events from ")
        seen.page.click("#streams >> text=segments")
        seen.until("document.querySelectorAll('#view-body tbody tr').length > 0")
        link = seen.page.locator("#view-body tbody a").first
        assert running.request(str(link.get_attribute("href")))[0] == 200
        assert not seen.errors


def test_a_funnel_shows_how_many_reached_each_step_and_the_newest_sequences(browser: Chromium, running: Service):
    answer = running.get("/funnel")
    with look(browser, url(running, "#/funnel"), bypass_csp=True, reduced_motion="reduce") as seen:
        seen.until("document.querySelectorAll('.funnel li').length === 3")
        shown = [each.split("\n")[0] for each in seen.page.locator(".funnel li .number").all_inner_texts()]
        assert shown == [f"{step['reached']:,}" for step in answer["steps"]]
        assert seen.until(COUNTED).startswith(f"{answer['steps'][0]['reached']:,} sequences from ")
        seen.page.click("#range-newest")
        seen.until("document.querySelectorAll('#answer-table tbody tr').length > 0")
        *others, newest = running.get("/funnel/sequences")["sequences"]
        assert seen.page.evaluate(ROWS)[0][:2] == [newest["key"], newest["state"]]
        low, high = (str(others[place]["steps"]["created"]) for place in (20, 90))
        seen.page.fill("#range input[name=from]", low)
        seen.page.fill("#range input[name=to]", high)
        seen.page.keyboard.press("Enter")
        reached = running.get(f"/funnel?startTime={low}&endTime={high}")["steps"][0]["reached"]
        assert 0 < reached < answer["steps"][0]["reached"]
        seen.until(f"document.querySelector('.funnel li .number b')?.innerText === '{reached:,}'")
        assert seen.page.is_checked("#view-switches input[value='chosen range']")
        seen.page.check("#view-switches input[value='all time']", force=True)
        seen.until(f"document.querySelector('.funnel li .number b')?.innerText === '{answer['steps'][0]['reached']:,}'")
        assert seen.violations() == []
        assert not seen.errors


def test_a_funnel_tells_the_story_of_a_key_and_what_lapses_next(browser: Chromium, running: Service):
    cells = """(label) => [...document.querySelectorAll(`[aria-label="${label}"] tbody tr`)].map(
        (row) => [...row.cells].map((cell) => cell.innerText))"""
    with look(browser, url(running, "#/funnel"), bypass_csp=True, reduced_motion="reduce") as seen:
        seen.until("""document.querySelector('[aria-label="Open sequences"] caption')""")
        keys = {row["key"] for row in running.get("/funnel/sequences")["sequences"] if row["state"] != "complete"}
        assert {row[0] for row in seen.page.evaluate(cells, "Open sequences")} <= keys
        for key, count in (("A7", 3), ("<b>", 0)):
            seen.page.fill("#view-body input[type=search]", key)
            seen.page.keyboard.press("Enter")
            caption = """document.querySelector('[aria-label="The events of a key"] caption')"""
            seen.until(f"(key) => {caption}?.innerText.includes(key)", key)
            told = seen.page.evaluate(cells, "The events of a key")
            assert [row[1:4] for row in told] == [[step, "1", "complete"] for step in ("created", "paid", "shipped")][:count]
        assert seen.violations() == []
        assert not seen.errors


def test_the_way_of_a_record_has_its_steps_and_the_mailboxes(browser: Chromium, running: Service):
    with look(browser, url(running, "#/events/inside"), bypass_csp=True, reduced_motion="reduce") as seen:
        seen.until("document.querySelectorAll('#flow .steps li').length >= 4")
        steps = seen.page.locator("#flow .steps li")
        assert steps.locator("h3").all_inner_texts() == [
            "Source",
            "Reading",
            "Order of time",
            "Live slice",
            "Frozen",
            "Checkpoint",
        ]
        generations = len(running.stats()["data"]) - 1
        assert f"{generations} generations" in steps.nth(4).inner_text().replace("\n", " ")
        seen.page.click("#flow summary")
        seen.until("document.querySelector('#flow tbody')?.innerText.includes('FrontEnd')")
        titles = seen.page.locator("#flow .actors .title").all_text_contents()
        assert titles == ["Source", "FrontEnd", "SetCollector", "Manager", "SetCollector", "Keeper"]
        seen.until("[...document.querySelectorAll('#flow .share:not(.none)')].every((each) => each.textContent.includes('%'))")
        partition = seen.page.locator("#lag tbody tr").first.locator("td").all_inner_texts()
        assert [int(each.replace(",", "")) for each in partition[:4]] == [0, 3 * SETS + 1, 3 * SETS + 1, 0]
        number = running.stats()["checkpoint"]["number"]
        seen.until("(number) => document.querySelector('#checkpoint tbody')?.innerText.startsWith(number)", f"{number:,}")
        assert seen.violations() == []
        assert not seen.errors


def test_times_are_shown_and_read_in_the_chosen_zone(browser: Chromium, running: Service):
    start, end = FIRST_MS + 100 * 500, FIRST_MS + 100 * 600
    with look(browser, url(running, "#/events"), reduced_motion="reduce") as seen:
        page = seen.page
        try:
            assert window(seen)[0] == "2023-06-02 08:51:56"
            page.focus("#zone")
            seen.until("document.querySelectorAll('#zone option').length > 100")
            page.select_option("#zone", "Asia/Tokyo")
            seen.until("document.getElementById('timeline-said').innerText.includes(' from 2023-06-02 17:51:56 to ')")
            page.fill("#range input[name=from]", "2023-06-02 17:52:46")
            page.fill("#range input[name=to]", "2023-06-02T08:52:56Z")
            page.keyboard.press("Enter")
            seen.until("document.querySelectorAll('#answer-table tbody tr').length > 0")
            assert page.evaluate("location.hash").endswith(f"?from={start}&to={end}")
            assert page.evaluate(ROWS)[0][1] == "2023-06-02 17:52:46.000"
            page.click("#range-newest")
            newest = "document.querySelector('#range input[name=to]').value"
            seen.until(f"{newest}.endsWith('+09:00') && {newest} !== '2023-06-02T08:52:56Z'")
            page.reload()
            seen.until("document.getElementById('timeline-said').innerText.includes(' from 2023-06-02 17:')")
            page.click("#streams >> text=uniques")
            seen.until(COUNTED)
            frames = sum(row["frames"] for row in running.get("/uniques?granularity=minute")["uniques"])
            seen.until("(said) => document.getElementById('timeline-said').innerText.startsWith(said)", f"{frames:,} frames")
            page.select_option("#zone", "UTC")
            seen.until("document.getElementById('timeline-said').innerText.includes(' from 2023-06-02 08:')")
            assert not seen.errors
        finally:
            page.evaluate("localStorage.clear()")


def test_times_are_dates_or_relative_as_chosen(browser: Chromium, running: Service):
    start, end = FIRST_MS + 100 * 500, FIRST_MS + 100 * 600
    with look(browser, url(running, f"#/events?from={start}&to={end}"), bypass_csp=True, reduced_motion="reduce") as seen:
        page = seen.page
        first = "document.querySelector('#answer-table tbody time')"
        try:
            date = seen.until(f"{first}?.innerText")
            assert date == "2023-06-02 08:52:46.000"
            assert re.fullmatch(r"\d+ years?( \d+ days?)? ago", seen.until(f"{first}.title"))
            page.click("#times")
            assert re.fullmatch(r"\d+ years?( \d+ days?)? ago", seen.until(f"{first}.innerText"))
            assert page.evaluate(f"{first}.title") == date
            assert page.get_attribute("#times", "aria-pressed") == "true"
            assert seen.violations() == []
            page.add_init_script("const now = Date.now; Date.now = () => now() + 86_400_000")  # a clock that is a day ahead
            page.reload()
            seen.until(f"{first}?.innerText.endsWith(' ago')")
            page.click("#past summary")
            started = seen.until("document.querySelector('#marks time')?.innerText")
            assert re.fullmatch(r"just now|\d+ (s|min)( \d+ s)? ago", started), "by the service's clock"
            page.click("#times")
            assert page.evaluate(f"{first}.innerText") == date
            seen.until("/^20\\d\\d-/.test(document.querySelector('#marks time').innerText)")
            assert not seen.errors
        finally:
            page.evaluate("localStorage.clear()")


FINGERS = """(steps) => { for (const [type, id, share] of steps) {
    const plot = document.getElementById("histogram");
    const { left, top, width } = plot.getBoundingClientRect();
    const at = { clientX: left + share * width, clientY: top + 60, pointerId: id, pointerType: "touch", bubbles: true };
    plot.dispatchEvent(new PointerEvent(type, at));
} }"""


def test_fingers_move_and_zoom_the_histogram(browser: Chromium, running: Service):
    with look(browser, url(running, "#/events"), reduced_motion="reduce") as seen:
        whole = window(seen)
        apart = [["pointerdown", 1, 0.45], ["pointerdown", 2, 0.55], ["pointermove", 2, 0.7], ["pointermove", 1, 0.3]]
        seen.page.evaluate(FINGERS, [*apart, ["pointerup", 1, 0.3], ["pointerup", 2, 0.7]])
        closer = changed(seen, whole)
        assert whole[0] < closer[0] < closer[1] < whole[1]
        seen.page.evaluate(FINGERS, [["pointerdown", 3, 0.4], ["pointermove", 3, 0.6], ["pointerup", 3, 0.6]])
        earlier = changed(seen, closer)
        assert earlier[0] < closer[0]
        assert "from=" not in seen.page.evaluate("location.hash"), "a finger that does not rest draws no range"
        assert not seen.errors


def test_a_batch_can_be_opened(browser: Chromium, running: Service):
    with look(browser, url(running, "#/segments"), bypass_csp=True, reduced_motion="reduce") as seen:
        seen.until("document.querySelectorAll('#view-body tbody a').length > 0")
        link = seen.page.locator("#view-body tbody a").first
        line = running.request(str(link.get_attribute("href")))[2].decode().strip()
        link.click()
        numbers = str(seen.until("document.querySelector('#view-body .numbers')?.innerText"))
        assert line.replace(",", "").startswith(numbers)
        assert seen.violations() == []
        seen.page.keyboard.press("Enter")
        assert not seen.page.is_visible("#view-body .numbers"), "the button to close it has the focus"
        assert not seen.errors


def test_a_browser_gets_a_page_for_a_path_that_does_not_exist_and_a_program_json(running: Service):
    status, headers, body = running.request("/event", Accept=BROWSER)
    assert (status, headers["content-type"]) == (404, "text/html; charset=utf-8")
    assert b"There is no such page" in body
    status, _, body = running.request("/event", Accept="*/*")
    assert (status, json.loads(body)["error"]["where"]) == (404, "path")
    for path in ("/?utm_source=x", "/docs?utm_source=x"):
        assert running.request(path, Accept=BROWSER)[0] == 200

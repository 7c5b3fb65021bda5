"""The live page in a real browser, with the real service: it shows the answers of the API."""

import asyncio
import gzip
import http.client
import itertools
import json
import os
import re
import subprocess
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import pytest

from actors.replies import Busy
from actors.runtime.actor import System
from actors.runtime.dispatcher import Dispatcher
from actors.runtime.guardian import Guardian
from gateway.ask import Asker
from gateway.page.live import Ticker, Watching
from gateway.page.picture import merged
from gateway.stream import Served
from scripts.lab.chaos.proxy import Proxy
from scripts.produce.patterns import chunks
from scripts.produce.spec import Spec
from tests.conftest import create_topic
from tests.support.allowed import allowance
from tests.support.browsing import Chromium, chromium, look
from tests.support.service import ROOT, Service, command, free_port, service
from tests.support.waiting import until

SMALL = ("streams.events.max_sets=200", "streams.events.max_aged=30", "checkpoint.every_ms=500")
BURST = 19_500
SHOWN = "!document.getElementById('stream').hidden"
FIRST_MS = 1_685_695_916_000

T = TypeVar("T")


@pytest.fixture(scope="module")
def browser() -> Iterator[Chromium]:
    with chromium() as found:
        yield found


def produce(bootstrap: str, topic: str, *words: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(command("producer", "--bootstrap", bootstrap, "--topic", topic, *words), stdout=subprocess.DEVNULL)


@contextmanager
def producing(bootstrap: str, topic: str) -> Iterator[None]:
    """Send a burst that fills all generations that may be kept, and then 300 events a second."""
    assert produce(bootstrap, topic, "--count", str(BURST), "--start", str(FIRST_MS)).wait(timeout=60) == 0
    producer = produce(bootstrap, topic, "--count", "0", "--rate", "300", "--start", str(FIRST_MS + 10 * BURST))
    try:
        yield
    finally:
        producer.terminate()
        producer.wait(timeout=20)


@pytest.fixture(scope="module")
def fed(broker: str) -> Iterator[Service]:
    """Yield a service under load: generations of 200 sets retire, and all but the newest thirty are dropped."""
    topic = create_topic(broker)
    with service(broker, topic, *SMALL) as running, producing(broker, topic):
        until(lambda: running.stats()["droppedGenerations"].get("max_aged"), timeout_s=120)
        yield running


def apart(run: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run a coroutine in a thread of its own: Playwright's event loop runs in this one."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(lambda: asyncio.run(run())).result()


def url(running: Service, rest: str = "") -> str:
    return f"http://127.0.0.1:{running.port}/{rest}"


@contextmanager
def watching(port: int) -> Iterator[http.client.HTTPResponse]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", "/live")
        yield connection.getresponse()
    finally:
        connection.close()


def events(response: http.client.HTTPResponse, count: int) -> list[tuple[str, Any]]:
    """Read `count` server-sent events."""
    found: list[tuple[str, Any]] = []
    name = ""
    while len(found) < count:
        line = response.readline().decode().rstrip("\n")
        if line.startswith("event: "):
            name = line.removeprefix("event: ")
        elif line.startswith("data: "):
            found.append((name, json.loads(line.removeprefix("data: "))))
    return found


# In the browser ------------------------------------------------------------------------------------------------------


def test_the_picture_moves_and_a_dragged_range_shows_the_answer_of_the_api(browser: Chromium, fed: Service):
    with look(browser, url(fed)) as seen:
        page = seen.page
        seen.until(f"{SHOWN} && document.querySelectorAll('.generation.gone').length > 0")
        assert "sets" in seen.text("#holds")
        assert "Its times are in ms, as the first plausible one shows." in seen.text("#holds")
        assert "All before" in seen.text("#forgotten")
        assert page.locator(".generation.live").count() == 1
        before = page.evaluate(
            "[...document.querySelectorAll('.buckets path, .generation')].map((bar) => bar.outerHTML).join()"
        )
        seen.until(
            "(was) => [...document.querySelectorAll('.buckets path, .generation')].map((bar) => bar.outerHTML).join() !== was",
            before,
        )
        forgotten = seen.text("#forgotten")
        seen.until("(was) => document.getElementById('forgotten').innerText !== was", forgotten)

        box = page.locator("#histogram").bounding_box()
        assert box is not None
        y = box["y"] + box["height"] / 2
        page.mouse.move(box["x"] + 0.6 * box["width"], y)
        page.mouse.down()
        page.mouse.move(box["x"] + 0.7 * box["width"], y, steps=3)
        page.mouse.up()
        seen.until("document.querySelectorAll('#answer-table tbody tr').length > 0")
        said = page.evaluate("location.hash")
        start, end = (int(part.split("=")[1]) for part in said.split("?")[1].split("&"))
        assert FIRST_MS < start < end
        answer = fed.get(f"/events/get-sets?startTime={start}&endTime={end}&limit=1000")["sets"]
        shown = page.evaluate(
            "[...document.querySelectorAll('#answer-table tbody tr')].map((row) => [...row.cells].map((cell) => cell.innerText))"
        )
        assert page.get_attribute("#answer-table table", "aria-rowcount") == str(len(answer) + 1)
        assert 0 < len(shown) <= len(answer)
        first = page.evaluate(
            "(ms) => new Date(ms).toISOString().replace('T', ' ').replace('Z', '')", answer[0]["r"]["timestamp"]
        )
        assert shown[0][1] == first
        assert " ms." in seen.text("#answer-said")
        assert not seen.errors
        assert all(address.startswith(url(fed)) for address in seen.requests)
    with look(browser, url(fed, said)) as again:  # the link reproduces it
        again.until("document.querySelectorAll('#answer-table tbody tr').length > 0")
        assert again.page.evaluate("location.hash") == said
        assert not again.errors


def test_a_page_that_stands_still_shows_nothing_new_until_it_goes_on(browser: Chromium, fed: Service):
    with look(browser, url(fed), reduced_motion="reduce") as seen:
        seen.until(f"{SHOWN} && document.getElementById('tiles').innerText.includes('records so far')")
        seen.page.click("#pause")
        seen.until("document.getElementById('link').innerText === 'paused'")
        before = seen.text("#stream")
        with watching(fed.port) as other:
            events(other, 6)  # more than two seconds of new states
        seen.page.evaluate("new Promise(requestAnimationFrame)")
        assert seen.text("#stream") == before
        seen.page.click("#pause")
        seen.until("document.getElementById('link').innerText === 'live'")
        seen.until("(was) => document.getElementById('stream').innerText !== was", before)
        assert not seen.errors


def test_the_timeline_says_which_sets_do_not_change_any_more(browser: Chromium, fed: Service, tmp_path: Path):
    def final_until() -> str:
        """Return the time as the page writes it: in UTC, to the second. Texts of equal length sort by time."""
        coverage = fed.get("/events/get-sets?startTime=0&endTime=1&coverage=1")["coverage"]
        return datetime.fromtimestamp(coverage["finalUntil"] // 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")

    with look(browser, url(fed)) as seen:
        before = final_until()
        seen.until("document.getElementById('timeline-said').innerText.includes('does not change')")
        shown = re.search(r"before (.+) does", seen.text("#timeline-said"))[1]
        assert before <= shown <= final_until()
    (tmp_path / "records").write_bytes(
        b"\n".join(value for part in chunks("steady", Spec(600, FIRST_MS)) for value in part.values)
    )
    with service(None, None, "streams.events.source={file: records}", cwd=tmp_path) as running:
        running.settled(600)
        with look(browser, url(running)) as seen:
            seen.until("document.getElementById('timeline-said').innerText.includes('may still change every set')")


def test_a_range_can_be_chosen_and_changed_with_the_keyboard_alone(browser: Chromium, fed: Service):
    with look(browser, url(fed), reduced_motion="reduce") as seen:
        page = seen.page
        seen.until(f"{SHOWN} && document.querySelectorAll('.generation').length > 1")
        page.focus("#range-newest")
        page.keyboard.press("Enter")
        seen.until("document.querySelectorAll('#answer-table tbody tr').length > 0")
        begin = "document.querySelector('.handle.from').getAttribute('aria-valuenow')"
        seen.until(f"location.hash.includes('from=' + {begin})")
        was = page.evaluate(begin)
        page.focus(".handle.from")
        page.keyboard.press("Shift+ArrowLeft")
        seen.until(f"BigInt({begin}) < {was}n && location.hash.includes('from=' + {begin})")
        page.fill("#range input[name=from]", "yesterday")
        page.keyboard.press("Enter")
        assert "A time is needed" in seen.text("#answer-said")


def test_the_page_reconnects_after_a_restart_and_keeps_its_last_picture(
    browser: Chromium, broker: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    topic, port = create_topic(broker), free_port()
    monkeypatch.setattr("tests.support.service.free_port", lambda: port)  # both services listen at the same port
    settings = (*SMALL, f"data_dir={tmp_path}")
    assert produce(broker, topic, "--count", "3000", "--start", str(FIRST_MS)).wait(timeout=60) == 0
    with service(broker, topic, *settings) as running:
        running.settled(3_000)
        with look(browser, url(running)) as seen:
            seen.until(f"{SHOWN} && document.querySelectorAll('.generation').length > 1")
            began = time.monotonic()
            running.stop()
            stopped_in_s = time.monotonic() - began
            seen.until("document.body.dataset.state === 'reconnecting'")
            assert "The connection is lost" in seen.text("#notice")
            assert seen.page.locator(".generation").count() > 1
            with service(broker, topic, *settings):
                seen.until("document.body.dataset.state === 'running' && document.getElementById('notice').hidden")
                assert "live" in seen.text("#link")
    assert stopped_in_s < 20, "a watcher does not delay the end of the service"


def test_a_stream_whose_brokers_are_gone_is_not_live_until_they_answer(browser: Chromium, broker: str):
    topic, proxy = create_topic(broker), Proxy(broker, broker)
    try:
        assert produce(broker, topic, "--count", "300", "--start", str(FIRST_MS)).wait(timeout=60) == 0
        with service(proxy.bootstrap, topic, *SMALL) as running:
            running.settled(300)
            with look(browser, url(running), bypass_csp=True) as seen:
                seen.until(f"{SHOWN} && document.getElementById('link').innerText === 'live'")
                proxy.cut(refuse=True)
                seen.until("document.getElementById('link').innerText === 'unreachable'")
                assert "No records can be read since" in seen.text("#notice")
                assert proxy.bootstrap in seen.text("#notice")
                assert "The answers stay as they were at" in seen.text("#notice")
                assert seen.text("#parts-troubles") == "trouble"
                seen.page.click("#parts >> text=Inside")
                seen.until("document.getElementById('flow').innerText.includes('No records can be read (unreachable)')")
                assert seen.violations() == []
                proxy.mend()
                seen.until("document.getElementById('link').innerText === 'live'")
                assert not seen.page.is_visible("#notice")
                assert not seen.errors
    finally:
        proxy.close()


@contextmanager
def over_stdin(path: Path, mode: str, data: Path) -> Iterator[Service]:
    """Run a service whose standard input is this file, with its checkpoints in `data`."""
    settings = (*SMALL, "streams.events.source={stdin: true}", f"data_dir={data}")
    with path.open(mode) as stdin, service(None, None, *settings, stdin=stdin) as running:
        yield running


@pytest.mark.parametrize("count", [12_000, pytest.param(0, marks=pytest.mark.long)])
def test_a_failed_stream_and_an_ended_service_are_shown_without_axe_violations(browser: Chromium, tmp_path: Path, count: int):
    """The records that a failed stream has read stay, and the guardian gives the stream up."""
    events = b"".join(b"%c_%d\n" % (b"RGB"[number % 3], FIRST_MS + 10 * number) for number in range(count))
    (tmp_path / "events").write_bytes(events)
    with over_stdin(tmp_path / "events", "rb", tmp_path / "data") as before:
        before.settled(count)
        before.stop()
    # What is open for writing alone fails at each read.
    with over_stdin(Path(os.devnull), "wb", tmp_path / "data") as running, ExitStack() as around:
        until(lambda: json.loads(running.request("/readyz")[2])["degraded"], timeout_s=60)
        looks = [
            around.enter_context(
                look(
                    browser,
                    url(running),
                    bypass_csp=True,
                    color_scheme=scheme,
                    viewport=(width, 780),
                    reduced_motion="reduce",
                )
            )
            for width, scheme in ((360, "dark"), (1280, "light"))
        ]
        for seen in looks:
            seen.until("document.title.startsWith('events') && document.body.dataset.state === 'degraded'")
            assert "events was given up: FrontEnd failed 10 times" in seen.text("#notice")
            seen.page.click("#parts >> text=Inside")
            seen.until("document.getElementById('flow').innerText.includes('Nothing is read any more')")
            assert "given up" in str(seen.until("document.querySelector('#letters tbody')?.innerText"))
            assert not count or seen.violations() == []
            assert seen.page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
            seen.page.click("#parts >> text=Data")
            assert not seen.page.is_visible("#empty"), "a failed stream shows no command to send records"
            assert not count or seen.violations() == []
            assert (seen.page.locator(".generation").count() > 10) == (count > 0), "the last good picture stays"
            assert seen.page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
            assert not seen.errors
        running.stop()
        for seen in looks:
            seen.until("document.body.dataset.state === 'reconnecting'")
            assert seen.text("#link") == "reconnecting"
            assert "The connection is lost" in seen.text("#notice")
            assert (seen.page.locator(".generation").count() > 10) == (count > 0)
            assert seen.page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
        assert looks[0].violations() == []


@pytest.mark.parametrize(("width", "scheme"), [(360, "dark"), (1280, "light")])
def test_the_page_has_no_axe_violations_and_fits_the_window(browser: Chromium, fed: Service, width: int, scheme: Any):
    how = {"bypass_csp": True, "color_scheme": scheme, "viewport": (width, 780), "reduced_motion": "reduce"}
    with look(browser, url(fed), **how) as seen:
        seen.until(f"{SHOWN} && document.querySelectorAll('.generation').length > 1")
        seen.page.click("#range-newest")
        seen.until("!document.getElementById('answer').hidden")
        seen.page.evaluate("for (const each of document.querySelectorAll('details')) each.open = true")
        seen.until("document.querySelectorAll('#generations tbody tr').length > 1")
        assert seen.page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
        if width > 1_000:  # axe takes seconds, and finds the same at any width
            assert seen.violations() == []


def test_the_page_asks_for_a_token_and_shows_a_command_for_an_empty_stream(browser: Chromium, broker: str):
    topic = create_topic(broker)
    with (
        service(broker, topic, FIRNLINE_READ_TOKEN="a-token-that-may-read-0123456789") as running,  # noqa: S106
        look(browser, url(running), bypass_csp=True) as seen,
    ):
        seen.until("document.body.dataset.state === 'unauthorized'")
        assert seen.violations() == []
        seen.page.fill("#token", "a-token-that-nobody-knows-012345")
        seen.page.keyboard.press("Enter")
        seen.until("document.getElementById('token-said').innerText")
        seen.page.fill("#token", "a-token-that-may-read-0123456789")
        seen.page.keyboard.press("Enter")
        seen.until("document.body.dataset.state === 'empty'")
        assert f"--topic {topic}" in seen.text("#empty-command")
        seen.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        seen.page.click("#empty-copy")
        seen.until("document.getElementById('empty-copied').innerText")
        assert f"--topic {topic}" in seen.page.evaluate("navigator.clipboard.readText()")
        assert seen.page.evaluate("JSON.stringify(localStorage)") == "{}"
        assert "a-token" not in seen.page.content()
        assert seen.violations() == []
        seen.page.evaluate("location.hash = '#/'")
        seen.until("!document.getElementById('empty-copied').textContent")  # nothing of this stream stays


def test_a_stream_without_an_answer_says_why_and_leads_to_its_records(browser: Chromium, tmp_path: Path):
    (tmp_path / "orders").write_text('{"order": "A17", "status": "paid", "at": "2026-11-29T14:03:11Z"}\n' * 30)
    (tmp_path / "reds").write_text("".join(f"R_{FIRST_MS + number}\n" for number in range(40)))
    settings = "streams.events.source={file: orders}", "streams.reds={view: sets, source: {file: reds}}"
    with (
        service(None, None, *settings, also=("--only", "reds"), cwd=tmp_path) as running,
        look(browser, url(running, "#/events"), bypass_csp=True) as seen,
    ):
        seen.until("document.getElementById('empty-title').innerText === 'No record was an event'")
        seen.until("document.getElementById('empty-said').innerText.includes('30 were refused')")
        assert "use record.format" in seen.text("#empty-said")
        assert seen.text("#story-state") == "no events"
        assert not seen.page.is_visible("#empty-command"), "test records would be no answer"
        assert not seen.page.is_visible("#facts"), "a card without content"
        assert seen.violations() == []
        seen.page.click("#empty-records a")
        seen.until("document.querySelectorAll('#records-table tbody tr').length")
        seen.page.click("#streams >> text=reds")
        seen.until("document.getElementById('empty-said').innerText.includes('Waiting for a match: 40 events.')")
        assert seen.text("#empty-title") == "No answer yet"
        assert not seen.errors


VIEWS = {"dataset": "top", "segments": "segments", "uniques": "uniques", "words": "words"}


def test_each_view_shows_the_answer_of_the_api_without_axe_violations(browser: Chromium, tmp_path: Path):
    settings = ["streams.uniques.output.topic=null"]
    for stream, pattern in VIEWS.items():
        (tmp_path / stream).write_bytes(b"\n".join(v for part in chunks(pattern, Spec(600, FIRST_MS)) for v in part.values))
        settings.append(f"streams.{stream}.source={{file: {stream}}}")
    also = [word for stream in VIEWS for word in ("--only", stream)]
    with service(None, None, *settings, stream="words", also=also, cwd=tmp_path) as running:
        for stream in VIEWS:
            running.settled(600, stream)
        shown = {
            "dataset": running.get("/dataset?limit=10")["data"],
            "segments": [f"{row['batch']:,}" for row in running.get("/segments")["segments"][-50:]],
            "uniques": [f"{row['unique']:,}" for row in running.get("/uniques?granularity=minute")["uniques"]],
            "words": list(running.get("/words/CountWords?limit=20")),
        }
        with look(browser, url(running), bypass_csp=True, reduced_motion="reduce") as seen:
            for stream, cells in shown.items():
                seen.page.click(f"#streams >> text={stream}")
                assert cells
                seen.until(
                    "(cells) => cells.every((cell) => document.getElementById('view-body').textContent.includes(cell))", cells
                )
                assert seen.violations() == [], stream
            assert not seen.errors


def test_the_page_offers_only_the_granularities_that_the_stream_keeps(browser: Chromium, tmp_path: Path):
    (tmp_path / "frames").write_bytes(b"\n".join(v for part in chunks("uniques", Spec(600, FIRST_MS)) for v in part.values))
    settings = "streams.uniques.source={file: frames}", "streams.uniques.output.topic=null"
    kept = "streams.uniques.granularities=[day, hour]"
    with service(None, None, *settings, kept, stream="uniques", cwd=tmp_path) as running:
        running.settled(600, "uniques")
        (row,) = running.get("/uniques")["uniques"]
        with look(browser, f"{url(running)}#/uniques?from=0&to={2 * FIRST_MS}&by=minute") as seen:
            seen.until("document.querySelectorAll('[name=granularity] option').length")
            names = "(name) => [...document.querySelectorAll(name)].map(({ value }) => value)"
            assert seen.page.evaluate(names, "[name=granularity] option") == ["hour", "day"]
            assert seen.page.evaluate(names, "#view-switches input") == ["hour", "day"]
            for part in ("#view-body", "#answer"):
                seen.until(
                    "([part, cell]) => document.querySelector(part).textContent.includes(cell)", [part, f"{row['unique']:,}"]
                )
            assert not seen.errors


def test_the_page_is_small_and_paints_soon(browser: Chromium, fed: Service, record_property: Any):
    with look(browser, url(fed)) as seen:
        seen.until(SHOWN)
        paint = seen.until("performance.getEntriesByName('first-contentful-paint')[0]?.startTime")
        sizes = seen.page.evaluate(
            "performance.getEntriesByType('resource').filter(({ name }) => name.includes('/static/')).map(({ encodedBodySize }) => encodedBodySize)"
        )
        record_property("first_paint_ms", paint)
        record_property("bytes", sum(sizes))
        assert len(sizes) > 10
        assert sum(sizes) < 1_500_000
        assert paint < 10_000, "one second on a quiet machine; a busy one is ten times slower"


# Without one ---------------------------------------------------------------------------------------------------------


def test_a_browser_gets_the_page_a_program_gets_json_and_files_have_etags(fed: Service):
    status, headers, body = fed.request("/", Accept="text/html,application/xhtml+xml,*/*;q=0.8")
    assert (status, headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert b'id="histogram"' in body
    assert json.loads(fed.request("/", Accept="*/*")[2])["service"] == "firnline"
    for name in ("main.js", "lib/exact.js", "styles/live.css", "vendor/uPlot.iife.js", "vendor/uPlot.min.css"):
        status, headers, plain = fed.request(f"/static/{name}")
        assert status == 200
        assert fed.request(f"/static/{name}", **{"If-None-Match": headers["etag"]})[0] == 304
        _, packed_headers, packed = fed.request(f"/static/{name}", **{"Accept-Encoding": "gzip"})
        assert packed_headers["content-encoding"] == "gzip"
        assert gzip.decompress(packed) == plain
        assert "content-encoding" not in fed.request(f"/static/{name}", **{"Accept-Encoding": "gzip;q=0"})[1]
    for name in ("..%2fpage.py", "../page.py", "vendor/__init__.py", "nothing"):
        assert fed.request(f"/static/{name}")[0] == 404


def test_no_file_of_the_page_has_inline_script_or_style_or_an_address_elsewhere():
    static = ROOT / "gateway" / "page" / "static"
    for path in (path for path in static.rglob("*") if path.is_file() and path.parent.name != "vendor"):
        text = path.read_text().replace("http://www.w3.org/", "")
        assert "http://" not in text, path
        assert "https://" not in text, path
        if path.suffix == ".html":
            assert " style=" not in text, path
            assert "<style" not in text, path
            assert not any("src=" not in tag for tag in text.split("<script")[1:]), path
        if path.suffix == ".js":
            assert len(text.splitlines()) <= 300, path
            assert max(map(len, text.splitlines())) <= 120, path


def test_watchers_share_one_tick_of_half_a_second(fed: Service):
    with watching(fed.port) as one, watching(fed.port) as other:
        first, second = events(one, 6), events(other, 6)
    for found in (first, second):
        assert [name for name, _ in found][:2] == ["memory", "now"]
    moments = [now["at"] for name, now in first if name == "now"]
    assert all(later - earlier > 0.4 for earlier, later in itertools.pairwise(moments)), "twice a second at most"
    assert {now["at"] for name, now in second if name == "now"} & set(moments), "both get the same tick"


def test_without_watchers_no_actor_is_asked_and_a_stalled_watcher_is_dropped():
    async def tried() -> None:
        ticker = Ticker(Asker(allowance()), guardian, [], tick_s=0.01)
        parked = asyncio.Event()

        async def receive() -> Any:
            await parked.wait()

        async def send(message: Any) -> None:
            if message.get("body"):
                await parked.wait()  # a client that takes nothing

        await Watching(ticker, stall_s=0.2)({"type": "http"}, receive, send)
        assert ticker.watchers == 0
        asked = ticker.ticks
        assert asked > 0
        await asyncio.sleep(0.1)
        assert ticker.ticks == asked

    system = System(Dispatcher())
    guardian = Guardian.start(system, log=lambda *_, **__: None)
    try:
        apart(tried)
    finally:
        guardian.stop()
        system.dispatcher.close()


class Says:
    """An address that gives the same reply to every message, after `seconds`."""

    def __init__(self, reply: Any, seconds: float = 0.0) -> None:
        self._reply = reply
        self._seconds = seconds

    def is_alive(self) -> bool:
        return True

    def tell(self, message: Any) -> None:
        asyncio.get_running_loop().call_later(self._seconds, message.reply_to, self._reply)


def test_streams_keep_their_order_in_any_order_of_replies():
    async def tried() -> list[str]:
        streams = [Served(name, "sets", Says(Busy("away"), s)) for name, s in (("one", 0.1), ("two", 0.0))]  # type: ignore[arg-type]
        ticker = Ticker(Asker(allowance()), Says(Busy("away")), streams)  # type: ignore[arg-type]
        with ticker.watched() as group:
            frame = await ticker.after(-1, group)
        assert frame is not None
        return [stream["name"] for stream in json.loads(frame.now.partition(b"data: ")[2])["streams"]]

    assert apart(tried) == ["one", "two"]


def test_a_failed_tick_ends_its_watchers_and_the_next_tick_works():
    async def tried() -> None:
        ticker = Ticker(Asker(allowance()), Says(Busy("away")), [Served("one", "sets", Says("no stats"))])  # type: ignore[arg-type]
        for _ in range(3):
            with pytest.raises(AttributeError), ticker.watched() as group:
                async with asyncio.timeout(10):
                    await ticker.after(-1, group)

    apart(tried)


def test_thousands_of_generations_become_at_most_300_bars_with_the_same_sums():
    for count in (1, 299, 300, 301, 5_000):
        bars = [[7 + at, "aged", at * 10, at * 10 + 10, 1, 3, 50, 0, 1] for at in range(count)]
        drawn = merged(bars, 300)
        assert len(drawn) <= 300
        for column in range(4, 9):
            assert sum(bar[column] for bar in drawn) == sum(bar[column] for bar in bars)
        assert (drawn[0][2], drawn[-1][3]) == (0, count * 10)
        later = merged(bars[1:], 300)
        assert {bar[0] for bar in drawn[1:]} <= {bar[0] for bar in later}, "neighbours stay merged when the oldest is dropped"


def test_watchers_beyond_the_limit_get_503_until_one_leaves(broker: str):
    with service(broker, create_topic(broker), "http.max_watchers=1") as running:
        with watching(running.port) as first:
            assert first.status == 200
            events(first, 1)
            status, headers, body = running.request("/live")
            assert status == 503
            assert headers["retry-after"]
            assert "watch" in json.loads(body)["error"]["got"]

        def again() -> bool:
            with watching(running.port) as client:
                return client.status == 200

        until(again)

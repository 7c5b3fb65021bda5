"""Make the pictures of the live page in docs/pictures: the real service, a reproducible stream, and the system's Chromium.

The broker is the embedded one unless another is named. Generations, memory and disk budget are small, so that the picture
shows all states: live, frozen, on disk, dropped. With `--others` more pictures are made to be looked at: each view, the dark
scheme, narrow and wide windows, an empty stream, and a broker that is away.
"""

import contextlib
import itertools
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from confluent_kafka import KafkaException, Producer
from playwright.sync_api import Browser, Page, sync_playwright

from scripts.brokers.embedded import start_embedded
from scripts.checkout import ROOT
from scripts.lab.chaos.proxy import Proxy
from scripts.lab.measure.runs import Client, service
from scripts.produce.patterns import chunks
from scripts.produce.producer import prepare
from scripts.produce.spec import Spec

FOLDER = ROOT / "docs" / "pictures"

_FIRST_NS = 1_700_000_000_000_000_000
_MEAN_NS = 8e9
_RHYTHM_NS = 23 * 86_400e9
_BLOCK = 3_000
_MOST_BYTES = 200_000
_ROOM_MIB = 1
_LOADS = 15
_FIRST_PAINT = "performance.getEntriesByName('first-contentful-paint')"
_SETTINGS = (
    "memory.spill_budget=4MiB",
    "log.level=error",
    "checkpoint.every_ms=2000",
    "streams.events.time_unit=ns",
    "streams.events.max_sets=20000",
    "streams.events.lateness_ms=60000",
)
_SHOTS = (
    ("page-light", 1280, 860, "light"),
    ("page-dark", 1280, 860, "dark"),
    ("page-narrow", 360, 780, "light"),
)
_PATTERNS = {"dataset": "top", "segments": "segments", "uniques": "uniques", "words": "words", "funnel": "orders"}
"""The streams of the overview beside `events`, each with the pattern of its records."""

_RATES = {"events": 600, "dataset": 90, "segments": 60, "uniques": 240, "words": 150, "funnel": 60}
_REFUSED = (b"R_yesterday", b'{"order": "A17", "status": "paid", "at": "2026-11-29T14:03:11Z"}', b"", b"G_-1", b"yesterday")
_FED_S = 100.0
_RATES_S = 6.0
"""Seconds that the rates of a page need."""

_WIDE = (3_840, 2_160)
_BETWEEN_S = 0.2


class Events:
    """Events of three steps at random nanoseconds, denser and sparser by a slow rhythm. Every 6,000th record is no event."""

    def __init__(self) -> None:
        self._chance = np.random.default_rng(7)
        self._now = float(_FIRST_NS)

    def block(self) -> list[bytes]:
        """Return the next records, in order of time."""
        gap = _MEAN_NS * (1 + 0.9 * np.sin(2 * np.pi * (self._now - _FIRST_NS) / _RHYTHM_NS))
        times = (np.cumsum(self._chance.exponential(gap, _BLOCK)) + self._now).astype(np.int64)
        self._now = float(times[-1])
        steps = self._chance.integers(0, 3, _BLOCK)
        values = [b"%c_%d" % (b"RGB"[step], moment) for step, moment in zip(steps.tolist(), times.tolist(), strict=True)]
        if self._chance.random() < _BLOCK / 6_000:
            values[0] = b"R_yesterday"
        return values


def least(bootstrap: str) -> int:
    """Return the MiB that an empty service needs on this machine, from its own message if its budget is too small."""
    words = ["--only", "events", "--set", "memory.budget=1MiB", "--set", "http.port=0", "--set", "data_dir=null"]
    serve = [sys.executable, str(ROOT / "scripts" / "serve.py"), *words, "--set", f"kafka.bootstrap.servers={bootstrap}"]
    said = subprocess.run(serve, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False).stderr
    found = re.search(r"at least (\d+) MiB", said)
    if found is None:
        raise ValueError(f"expected the service to say what it needs, got: {said}")
    return int(found[1])


def feed(producer: Producer, topic: str, client: Client, events: Events) -> None:
    """Send until some generations are on disk and some are dropped. Never sends far ahead of the service."""
    sent = 0
    while True:
        stats = client.get("/events/get-stats")
        if sum(stats["droppedGenerations"].values()) >= 6 and any(row["fileBytes"] for row in stats["data"]):
            return
        if stats["records"] >= sent - 10 * _BLOCK:
            for _ in range(5):
                producer.produce_batch(topic, [{"value": value} for value in events.block()], partition=0)
                sent += _BLOCK
            producer.flush(30)
        else:
            time.sleep(0.05)


def random_events(start: int) -> Iterator[bytes]:
    """Yield events of random steps at random ms, in order of time."""
    chance, now = np.random.default_rng(7), float(start)
    while True:
        now += chance.exponential(2.0)
        yield b"%c_%d" % (b"RGB"[chance.integers(0, 3)], int(now))


def feed_all(producer: Producer, topic: str, ended: threading.Event) -> None:
    """Send records to the topics of all streams until the end, at rates that rise and fall."""
    start = int(time.time() * 1_000) - 30_000
    spec = Spec(1_000_000, start, displacement=40)
    flows: dict[str, Iterator[bytes]] = {"events": random_events(start)}
    flows |= {name: (value for part in chunks(pattern, spec) for value in part.values) for name, pattern in _PATTERNS.items()}
    began = time.monotonic()
    while not ended.wait(_BETWEEN_S):
        passed = time.monotonic() - began
        for place, (name, rate) in enumerate(_RATES.items()):
            wave = 1 + 0.5 * np.sin(passed / (5 + 3 * place))
            values = list(itertools.islice(flows[name], round(rate * wave * _BETWEEN_S)))
            producer.produce_batch(f"{topic}-{name}", [{"value": value} for value in values], partition=0)
        producer.flush(30)


@contextlib.contextmanager
def fed(producer: Producer, topic: str) -> Iterator[None]:
    """Send records to the topics of all streams meanwhile."""
    ended = threading.Event()
    feeding = threading.Thread(target=feed_all, args=(producer, topic, ended))
    feeding.start()
    try:
        yield
    finally:
        ended.set()
        feeding.join()


def refused(producer: Producer, topic: str) -> None:
    """Send some records that are no events, with keys and headers."""
    for number in range(20):
        headers: list[tuple[str, str | bytes | None]] = [
            ("trace-id", b"4bf92f3577b34da6a3ce929d0e0e47%02x" % number),
            ("content-type", b"application/json"),
        ]
        value = _REFUSED[number % len(_REFUSED)]
        producer.produce(topic, value, b"customer-%d" % (1_000 + 37 * number), headers=headers, partition=0)
    producer.flush(30)


class Visit:
    """Visits to a running service at `port`, which are kept as pictures in `folder`, or in `others` if it is given."""

    def __init__(self, browser: Browser, port: int, folder: Path, others: Path | None) -> None:
        self._browser = browser
        self._url = f"http://127.0.0.1:{port}/"
        self.folder = folder
        self.others = others

    @contextlib.contextmanager
    def page(self, path: str, ready: str, size: tuple[int, int] = (1280, 860), scheme: Any = "light") -> Iterator[Page]:
        """Yield a page once it has an element, and its rates are known."""
        page = self._browser.new_page(
            viewport={"width": size[0], "height": size[1]}, color_scheme=scheme, reduced_motion="reduce"
        )
        try:
            page.goto(f"{self._url}{path}")
            page.wait_for_selector(ready)
            page.wait_for_timeout(_RATES_S * 1_000)
            yield page
        finally:
            page.close()

    def other(self, page: Page, name: str) -> None:
        """Keep a picture of the whole page, if others are wanted."""
        if self.others is not None:
            page.screenshot(path=self.others / f"{name}.png", full_page=page.viewport_size != {"width": 3840, "height": 2160})


def journey(browser: Browser, producer: Producer, bootstrap: str, port: int, folder: Path, others: Path | None) -> None:
    """Take the pictures of a service with all streams: overview, a range, records, what lies inside; and the others."""
    topic, proxy = f"pictures-{uuid.uuid4().hex[:8]}", Proxy(bootstrap, bootstrap)
    names = ("events", *_PATTERNS)
    for name in names:
        prepare(bootstrap, f"{topic}-{name}", 3 if name == "events" else 1, embedded=False)
    settings = [f"streams.{name}.source.topic={topic}-{name}" for name in names]
    settings += ["streams.uniques.output.topic=null", "streams.segments.output.file=null", "log.level=error"]
    settings += [f"streams.events.dead_letters={topic}-dead", "streams.events.max_sets=3000", "checkpoint.every_ms=2000"]
    visit = Visit(browser, port, folder, others)
    first = f"{topic}-events"
    with (
        tempfile.TemporaryDirectory(prefix="firnline-pictures-") as data,
        contextlib.closing(proxy),
        service("events", proxy.bootstrap, first, "800MiB", *settings, port=port, others=tuple(_PATTERNS), data_dir=Path(data)),
    ):
        if others is not None:
            with visit.page("#/funnel", "#empty:not([hidden])") as page:
                visit.other(page, "empty")
        with fed(producer, topic):
            time.sleep(_FED_S)  # the history has a point every ten seconds
            refused(producer, first)
            chosen(visit)
            if others is not None:
                looked_at(visit)
                proxy.cut(refuse=True)
                with visit.page("#/events", "#notice:not([hidden])") as page:
                    visit.other(page, "broker-away")
                    page.click("#streams >> text=Overview")
                    page.wait_for_selector("#overview-tiles [data-kind=bad]")
                    visit.other(page, "broker-away-overview")
                proxy.mend()


def chosen(visit: Visit) -> None:
    """Take the pictures of the documentation."""
    with visit.page("", "#overview-cards .spark .line[d^='M']:not([d='M0 0'])") as page:
        save(page, visit.folder / "page-overview.png")
        page.click("#streams >> text=events")
        page.wait_for_selector(".buckets path[d^=M]")
        page.click("#range-newest")
        page.wait_for_selector("#answer-tiles .tile")
        page.evaluate("document.getElementById('query').scrollIntoView()")
        save(page, visit.folder / "page-range.png")
    with visit.page("#/events/records", "#records-table tbody tr") as page:
        page.check("input[name=record-state][value=refused]", force=True)
        page.click("#records-table tbody button >> nth=1")
        page.evaluate("scrollTo(0, 0)")
        save(page, visit.folder / "page-records.png")
    with visit.page("#/events/inside", "#flow .actors") as page:
        save(page, visit.folder / "page-inside.png")


def looked_at(visit: Visit) -> None:
    """Take the pictures that are looked at: each view and part, in both schemes, narrow and wide."""
    with visit.page("#/events", ".buckets path[d^=M]") as page:
        visit.other(page, "events")
        page.focus("#histogram")
        for key in ("+", "+", "+", "ArrowLeft", "ArrowLeft"):
            page.keyboard.press(key)
        page.wait_for_timeout(1_500)
        visit.other(page, "events-zoomed")
        page.check("input[name=mode][value=memory]", force=True)
        page.click("#range-newest")
        page.wait_for_selector("#answer-tiles .tile")
        visit.other(page, "events-memory-and-range")
    for name in _PATTERNS:
        with visit.page(f"#/{name}", "#view-body *") as page:
            visit.other(page, name)
    for part in ("records", "inside"):
        for size, scheme, kind in (((1280, 860), "dark", "dark"), ((360, 780), "light", "360"), (_WIDE, "light", "4k")):
            with visit.page(f"#/events/{part}", f"#part-{part}:not([hidden])", size, scheme) as page:
                visit.other(page, f"{part}-{kind}")
    for path, name in (("", "overview"), ("#/events", "events")):
        for size, scheme, kind in (((1280, 860), "dark", "dark"), ((360, 780), "dark", "360-dark"), (_WIDE, "light", "4k")):
            with visit.page(path, "#overview-cards li" if not path else ".buckets path[d^=M]", size, scheme) as page:
                visit.other(page, f"{name}-{kind}")


def save(page: Page, target: Path) -> None:
    """Save a picture of a page. Raises ValueError if it is too large for a README."""
    page.screenshot(path=target)
    size = target.stat().st_size
    print(f"{target.relative_to(ROOT) if target.is_relative_to(ROOT) else target}: {size:,} bytes")
    if size > _MOST_BYTES:
        raise ValueError(f"{target}: expected {_MOST_BYTES:,} bytes at most, got {size:,}")


def opened(browser: Browser, port: int, width: int, height: int, scheme: Any) -> Page:
    """Open the page, and wait for its first chart."""
    page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme, reduced_motion="reduce")
    page.goto(f"http://127.0.0.1:{port}/")
    page.wait_for_selector(".generation.live")
    return page


def shoot(browser: Browser, port: int, folder: Path) -> None:
    """Take every picture of one stream. Raises ValueError if a picture is too large for a README."""
    for name, width, height, scheme in _SHOTS:
        page = opened(browser, port, width, height, scheme)
        page.wait_for_timeout(6_000)  # the rates need some seconds
        save(page, folder / f"{name}.png")
        page.close()


def paint(browser: Browser, port: int) -> None:
    """Load the page several times without a cache, and print the time until the first chart."""
    found = []
    for _ in range(_LOADS):
        page = browser.new_page()  # in a context of its own, so that nothing is cached
        page.goto(f"http://127.0.0.1:{port}/")
        page.wait_for_function(f"{_FIRST_PAINT}.length")
        found.append(float(page.evaluate(f"{_FIRST_PAINT}[0].startTime")))
        page.close()
    print(f"first paint: {statistics.median(found):.0f} ms at the median, {max(found):.0f} at worst, of {_LOADS} fresh loads")


def measure(browser: Browser, port: int, minutes: float, between_s: float, each: Callable[[], None]) -> None:
    """Keep the page open, and print the size of its JavaScript heap after a collection, every `between_s` seconds."""
    page = opened(browser, port, 1280, 860, "light")
    devtools = page.context.new_cdp_session(page)
    devtools.send("HeapProfiler.enable")
    began = time.monotonic()
    print("minutes  heap KiB  elements")
    while (passed := time.monotonic() - began) < minutes * 60:
        each()
        page.wait_for_timeout(between_s * 1_000)
        devtools.send("HeapProfiler.collectGarbage")
        held = devtools.send("Runtime.getHeapUsage")["usedSize"]
        count = page.evaluate("document.querySelectorAll('*').length")
        print(f"{passed / 60:7.1f}  {held / 1024:8,.0f}  {count:8,}", flush=True)
    page.close()


def main(
    bootstrap: Annotated[
        str | None, typer.Option(help="HOST:PORT of a broker; without it, an embedded one is started.")
    ] = None,
    folder: Annotated[Path, typer.Option(help="Where the pictures go.")] = FOLDER,
    port: Annotated[int, typer.Option(help="The port of the service meanwhile.")] = 18_099,
    others: Annotated[Path | None, typer.Option(help="Where further pictures go, which are only looked at.")] = None,
    heap: Annotated[
        float, typer.Option(min=0, help="Instead, print the first paint, then the heap over this many minutes.")
    ] = 0,
) -> None:
    """Write docs/pictures/*.png, or measure the page's first paint and its heap."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        sys.exit("pictures: expected chromium, which is not installed")
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # so that the service does not stay behind
    for each in filter(None, (folder, others)):
        each.mkdir(parents=True, exist_ok=True)
    broker = None
    if bootstrap is None:
        broker, bootstrap = start_embedded()
    topic, events = f"pictures-{uuid.uuid4().hex[:8]}", Events()
    producer = Producer({"bootstrap.servers": bootstrap, "log_level": 0})
    try:
        prepare(bootstrap, topic, 3, embedded=broker is not None)
        budget = f"{least(bootstrap) + _ROOM_MIB}MiB"
        with (
            tempfile.TemporaryDirectory(prefix="firnline-pictures-") as data,
            service("events", bootstrap, topic, budget, *_SETTINGS, data_dir=Path(data), port=port) as (_, client),
            sync_playwright() as play,
        ):
            feed(producer, topic, client, events)
            browser = play.chromium.launch(executable_path=chromium, args=["--no-sandbox"])

            def more() -> None:
                producer.produce_batch(topic, [{"value": value} for value in events.block()], partition=0)
                producer.flush(30)

            if heap:
                paint(browser, port)
                measure(browser, port, heap, 15.0, more)
            else:
                shoot(browser, port, folder)
                journey(browser, producer, bootstrap, port + 1, folder, others)
            browser.close()
    except KafkaException as error:
        sys.exit(f"pictures: {bootstrap}: {error.args[0].str()}")
    except (ValueError, OSError) as error:
        sys.exit(f"pictures: {error}")
    finally:
        if broker is not None:
            broker.terminate()
            broker.wait(timeout=10)


if __name__ == "__main__":
    typer.run(main)

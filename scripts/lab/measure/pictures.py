"""Make the pictures of the live page in docs/pictures: the real service, a reproducible stream, and the system's Chromium.

The broker is the embedded one unless another is named. Generations, memory and disk budget are small, so that the picture
shows all states: live, frozen, on disk, dropped.
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
    ("page-narrow", 390, 780, "light"),
)
_PATTERNS = {"dataset": "top", "segments": "segments", "uniques": "uniques", "words": "words"}
"""The streams of the overview beside `events`, each with the pattern of its records."""

_RATES = {"events": 600, "dataset": 90, "segments": 60, "uniques": 240, "words": 150}
_FED_S = 100.0
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


def overview(browser: Browser, producer: Producer, bootstrap: str, port: int, folder: Path) -> None:
    """Take the pictures of a service with all five streams: its overview, and a range of one stream."""
    topic = f"pictures-{uuid.uuid4().hex[:8]}"
    names = ("events", *_PATTERNS)
    for name in names:
        prepare(bootstrap, f"{topic}-{name}", 1, embedded=False)
    settings = [f"streams.{name}.source.topic={topic}-{name}" for name in names]
    settings += ["streams.uniques.output.topic=null", "streams.segments.output.file=null", "log.level=error"]
    with (
        service("events", bootstrap, f"{topic}-events", "800MiB", *settings, port=port, others=tuple(_PATTERNS)),
        fed(producer, topic),
    ):
        time.sleep(_FED_S)  # the history has a point every ten seconds
        page = browser.new_page(viewport={"width": 1280, "height": 860}, color_scheme="light", reduced_motion="reduce")
        page.goto(f"http://127.0.0.1:{port}/")
        page.wait_for_selector("#overview-cards .spark .line[d^='M']:not([d='M0 0'])")
        page.wait_for_timeout(3_000)  # the rates need some seconds
        save(page, folder / "page-overview.png")
        page.click("#streams >> text=events")
        page.wait_for_selector(".buckets path[d^=M]")
        page.click("#range-newest")
        page.wait_for_selector("#answer-tiles .tile")
        page.evaluate("document.getElementById('query').scrollIntoView()")
        save(page, folder / "page-range.png")
        page.close()


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
    heap: Annotated[
        float, typer.Option(min=0, help="Instead, print the first paint, then the heap over this many minutes.")
    ] = 0,
) -> None:
    """Write docs/pictures/*.png, or measure the page's first paint and its heap."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        sys.exit("pictures: expected chromium, which is not installed")
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # so that the service does not stay behind
    folder.mkdir(parents=True, exist_ok=True)
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
                overview(browser, producer, bootstrap, port + 1, folder)
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

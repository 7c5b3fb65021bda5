"""A visitor with an own topic: from the first visit to a range and its export; and to single records, refused ones and replay."""

import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from confluent_kafka import Producer

from config.load import load
from tests.conftest import create_topic
from tests.support.browsing import Chromium, chromium, look
from tests.support.command_line import run
from tests.support.service import Service, service
from tests.support.waiting import until

READ, WRITE = "reader-token-0123456789", "writer-token-0123456789"
FIRST = 1_685_695_916_000
ROWS = "(id) => [...document.querySelectorAll(`#${id} tbody tr`)].map((row) => [...row.cells].map((cell) => cell.innerText))"


@pytest.fixture(scope="module")
def browser() -> Iterator[Chromium]:
    with chromium() as found:
        yield found


def url(running: Service, rest: str = "") -> str:
    return f"http://127.0.0.1:{running.port}/{rest}"


def test_from_the_first_visit_over_an_own_topic_to_a_range_and_its_export(browser: Chromium, broker: str, tmp_path: Path):
    topic = create_topic(broker)
    producer = Producer({"bootstrap.servers": broker})
    for number in range(300):
        order = {"order": f"A{number // 3}", "status": ("created", "paid", "shipped")[number % 3], "at": FIRST + 50 * number}
        producer.produce(topic, json.dumps(order).encode(), partition=0)
    assert producer.flush(20) == 0
    file = tmp_path / "own.yaml"
    done = run("init", "--bootstrap", broker, "--topic", topic, "--view", "sets", "--yes", "--to", str(file))
    assert done.returncode == 0, done.stderr
    (name,) = load(file, [], {}).streams
    with service(None, None, "data_dir=null", stream=name, also=("--config", str(file))) as running:
        running.settled(300, name)
        sets = running.get(f"/{name}/get-sets?startTime=0&endTime={2 * FIRST}")["sets"]
        with look(browser, url(running), bypass_csp=True, reduced_motion="reduce") as seen:
            seen.until("document.querySelector('.buckets path[d^=M]')")
            assert seen.page.title().startswith(name), "a service of one stream opens at its page"
            seen.page.click("#range-newest")
            seen.until("document.querySelectorAll('#answer-table tbody tr').length > 0")
            shown = seen.page.evaluate(ROWS, "answer-table")
            assert len(shown) == len(sets)
            href = str(seen.page.get_attribute("#answer-export [data-form=csv]", "href"))
            lines = running.request(href)[2].decode().splitlines()
            assert len(lines) == len(sets) + 1
            assert seen.violations() == []
            seen.page.click("#parts >> text=Records")
            seen.until("document.querySelectorAll('#records-table tbody tr').length >= 20")
            seen.page.click("#records-table tbody button >> nth=0")
            assert '"order": "A99"' in seen.text("#record pre"), "JSON is shown with line breaks"
            assert not seen.errors


@pytest.fixture(scope="module")
def kept(broker: str) -> Iterator[tuple[Service, str]]:
    """Yield a service with tokens and dead letters. Its topic has 12 events, and 3 records that it refuses."""
    topic, letters = create_topic(broker), f"dead-{uuid.uuid4().hex}"
    producer = Producer({"bootstrap.servers": broker})
    for number in range(12):
        producer.produce(topic, b"%c_%d" % (b"RGB"[number % 3], FIRST + number), b"key %d" % number, 0)
    for number in range(3):
        producer.produce(topic, b"R_<b>yesterday", b"bad %d" % number, 0, headers=[("trace", b"%d" % number)])
    assert producer.flush(20) == 0
    settings = (f"streams.events.dead_letters={letters}",)
    with service(broker, topic, *settings, FIRNLINE_READ_TOKEN=READ, FIRNLINE_WRITE_TOKEN=WRITE) as running:
        yield running, letters


def test_records_are_shown_with_what_was_made_of_them_and_dead_letters_are_put_back_with_a_token(
    browser: Chromium, kept: tuple[Service, str]
):
    running, letters = kept
    with look(browser, url(running, "#/events/records"), bypass_csp=True, reduced_motion="reduce") as seen:
        page = seen.page
        seen.until("document.body.dataset.state === 'unauthorized'")
        page.fill("#token", READ)
        page.keyboard.press("Enter")
        seen.until("document.querySelectorAll('#records-table tbody tr').length === 15")
        newest = page.evaluate(ROWS, "records-table")
        assert [row[0] for row in newest[:4]] == ["0 / 14", "0 / 13", "0 / 12", "0 / 11"]
        assert [row[2] for row in newest[2:4]] == ["", "2023-06-02 08:51:56.011"]
        assert newest[0][3:] == ["no number", "bad 2", "R_<b>yesterday"]
        assert newest[3][3:] == ["event", "key 11", f"B_{FIRST + 11}"]
        assert seen.text("#parts-refused") == "3 refused"
        page.check("input[name=record-state][value=refused]", force=True)
        seen.until("document.querySelectorAll('#records-table tbody tr').length === 3")
        page.fill("#records-find", "bad 1")
        seen.until("document.querySelectorAll('#records-table tbody tr').length === 1")
        assert seen.text("#records-said").startswith("1 of the 3 newest refused records, ")
        page.click("#records-table tbody button")
        record = seen.text("#record")
        assert all(text in record for text in ("Record 0 / 13", "refused: no number", "bad 1", "R_<b>yesterday", "trace"))
        assert seen.violations() == []
        seen.until("(name) => document.getElementById('dead').innerText.includes(`3 wait in topic ${name}`)", letters)
        page.click("#dead >> text=Put back…")
        page.click("#dead >> text=Put them back")
        seen.until("document.getElementById('dead').innerText.includes('Nothing was put back')")
        assert seen.violations() == []
        page.fill("#dead input[name=token]", WRITE)
        page.keyboard.press("Enter")
        seen.until("document.getElementById('dead').innerText.includes('3 records are back in the topic.')")
        until(lambda: int(seen.page.inner_text("#parts-refused").split()[0]) == 6)
        assert WRITE not in page.evaluate("JSON.stringify({ ...sessionStorage, ...localStorage })")
        page.click("#parts >> text=Data")
        page.click("#range-newest")
        seen.until("document.querySelectorAll('#answer-table tbody tr').length === 4")
        page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        page.click("#answer-file")
        seen.until("document.getElementById('answer-copied').innerText.includes('the header Authorization')")
        path = urlsplit(page.evaluate("navigator.clipboard.readText()")).path
        assert running.request(path)[0] == 401
        assert running.request(path, Authorization=f"Bearer {READ}")[0] == 200
        assert [error for error in seen.errors if "401" not in error and "403" not in error] == []

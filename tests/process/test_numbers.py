"""Numbers and times at their limits, end to end: the real service, the Python client and the commands, without a broker."""

import json
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from firnline import Client, RefusedError
from tests.support.forked import run_forked
from tests.support.service import Service, service
from tests.support.waiting import until

LAST = 2**63 - 1
NS = 1_685_695_916_000_000_001
"""A time in ns that no double holds."""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("numbers")
    now_s = int(time.time())
    batches = (-(2**63), -5, 0, 2**53 + 1, LAST)
    lines = {
        "events": [f"{step}_{time_}" for time_ in (0, NS, NS + 1, LAST) for step in "RGB"],
        "segments": [
            json.dumps({"batch_id": each, "segment_id": part, "data": [part]}) for each in batches for part in range(10)
        ],
        "words": [
            json.dumps({"event_type": "t", "data": "w", "timestamp": each}) for each in (-1, 0, 1_513_765_893, now_s - 60)
        ],
    }
    for name, rows in lines.items():
        (folder / name).write_text("".join(f"{row}\n" for row in rows))
    settings = ["streams.events.time_unit=ns", *(f"streams.{name}.source={{file: {name}}}" for name in lines)]
    only = ("--only", "segments", "--only", "words")
    with service(None, None, *settings, "streams.segments.output={file: lines}", also=only, cwd=folder) as found:
        found.settled(12)
        found.settled(50, "segments")
        found.settled(4, "words")
        yield found


@pytest.fixture
def client(running: Service) -> Client:
    return Client(f"http://127.0.0.1:{running.port}")


def reds(running: Service, start: object, end: object) -> list[int]:
    body = running.get(f"/events/get-sets?startTime={start}&endTime={end}")
    return [each["r"]["timestamp"] for each in body["sets"]]


def test_every_set_can_be_asked_for_to_the_nanosecond(running: Service, client: Client):
    assert reds(running, LAST, LAST + 1) == [LAST]
    assert reds(running, NS, NS + 1) == [NS]
    assert reds(running, "2023-06-02T08:51:56.000000001Z", "2023-06-02T08:51:56.000000002") == [NS]
    assert reds(running, 0, "9223372036854775808") == [0, NS, NS + 1, LAST]
    assert [each["r"] for each in client.sets()] == [0, NS, NS + 1, LAST]
    assert client.sets().arrow()["r"].to_pylist() == [0, NS, NS + 1, LAST]
    assert sum(row["validSetCount"] for row in running.stats()["data"]) == 4
    for place in (LAST, LAST + 1, 10**19 - 1):
        status, _, body = running.request(f"/events/get-sets?startTime=0&endTime={LAST + 1}&cursor={place}.{place}.{place}.1")
        assert (status, json.loads(body)["sets"] if status == 200 else body) == (200, [])


def test_the_range_of_an_answer_is_in_a_header_in_the_unit_of_the_stream(running: Service):
    asked = "/events/get-sets?startTime=2023-06-02&endTime=-5m"
    before = time.time_ns() - 300 * 10**9
    _, headers, _ = running.request(asked)
    start, end = json.loads(headers["firnline-range"])
    assert (start, 0 <= end - before < 60 * 10**9) == (1_685_664_000 * 10**9, True)
    _, headers, _ = running.request("/words/CountWords?startTime=1513765893")
    assert json.loads(headers["firnline-range"]) == [1_513_765_893_000, None]


def test_a_batch_is_found_by_any_id(running: Service):
    assert [row["batch"] for row in running.get("/segments")["segments"]] == [-(2**63), -5, 0, 2**53 + 1, LAST]
    for batch in (-(2**63), -5, 0, 2**53 + 1, LAST):
        until(lambda batch=batch: running.request(f"/segments/{batch}")[0] == 200)
        assert running.request(f"/segments/{batch}")[2] == b"0, 1, 2, 3, 4, 5, 6, 7, 8, 9"
    assert [row["batch"] for row in running.get("/segments?after=-6&limit=1")["segments"]] == [-5]
    assert running.get(f"/segments?after={LAST}")["segments"] == []
    for batch in ("-", "--5", "-99999999999999999999", str(-(2**63) - 1), "5.0", "%2B5", "-4"):
        assert running.request(f"/segments/{batch}")[0] == 404


def test_a_fraction_of_a_second_widens_a_range_of_words_to_whole_seconds(running: Service):
    def counted(start: str, end: str) -> dict[str, int]:
        return running.get(f"/words/CountWords?startTime={start}&endTime={end}")

    assert counted("-0.0005", "0") == {"w": 1}
    assert counted("-0.0005", "0.0005") == {"w": 2}
    assert counted("0", "0.0005") == {"w": 1}
    assert counted("-0.0005", "-0.0005") == {}
    assert counted("-5m", "now") == {"w": 1}
    status, _, body = running.request("/words/CountWords?startTime=1513765893000&endTime=1513765894000")
    assert (status, json.loads(body)["error"]["expected"]) == (400, "seconds since 1970, perhaps 1513765893")


def test_the_client_takes_every_kind_of_time(client: Client):
    def found(**range_: Any) -> int:
        return sum(row["count"] for row in client.words(**range_))

    assert found(start="-5m") == found(start="-5m", end="now") == found(start=timedelta(minutes=-5)) == 1
    assert found(start=date(2017, 12, 20), end="2017-12-21") == 1
    assert found(start=datetime(2017, 12, 20, tzinfo=UTC), end=timedelta(0)) == 2
    assert found(start=1_513_765_893.0, end=1_513_765_893.5) == 1
    assert found(start=-0.0005, end=0) == 1
    with pytest.raises(RefusedError, match="perhaps 1513765893"):
        found(start=1_513_765_893_000)
    with pytest.raises(RefusedError):
        found(start=float("nan"))


def test_the_pages_of_a_relative_range_have_one_range(running: Service, client: Client, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("firnline.rows.PAGE", 1)
    rows = client.sets("now-20000d", "now")
    seen = []
    ask = rows._transport.ask

    def asked(path: str, parameters: Any, **request: Any) -> Any:
        seen.append((parameters["startTime"], parameters["endTime"]))
        return ask(path, parameters, **request)

    monkeypatch.setattr(rows._transport, "ask", asked)
    assert [each["r"] for each in rows] == [NS, NS + 1]
    assert seen[0] == ("now-20000d", "now")
    assert [each["r"] for each in client.sets(0, LAST)] == [0, NS, NS + 1], "the last set is at the end, which does not belong"
    assert seen[1][1] - seen[1][0] in {20_000 * 86_400 * 10**9, 20_000 * 86_400 * 10**9 + 1}


def test_a_command_sends_a_time_as_it_was_typed(running: Service):
    def query(*words: str) -> Any:
        url = ("--url", f"http://127.0.0.1:{running.port}", "--json")
        return run_forked(["-m", "scripts.cli", "query", *words, *url])

    done = query("words", "--start", "-5m", "--end", "now")
    assert json.loads(done.stdout) == [{"name": "w", "count": 1}]
    assert len(json.loads(query("sets").stdout)["sets"]) == 4
    assert json.loads(query("sets", "--start", "2023-06-02", "--end", "2023-06-02 08:51:56.000000002").stdout)["sets"]
    done = query("words", "--start", "1513765893000")
    assert (done.returncode, done.stdout) == (1, "")
    assert "perhaps 1513765893" in done.stderr

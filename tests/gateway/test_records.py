"""The newest records of a stream, and its dead letters: what a record was, why it was refused, and that it comes back once."""

import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer

from tests.conftest import create_topic
from tests.support.service import Service, service
from tests.support.waiting import until

READ, WRITE = "reader-token-0123456789", "writer-token-0123456789"
FIRST = 1_685_695_916_000


class Kept:
    """A service that keeps dead letters, whose topic has 30 events and 4 records that it refuses."""

    def __init__(self, running: Service, origin: str, letters: str) -> None:
        self.running, self.origin, self.letters = running, origin, letters

    def ask(self, path: str, method: str = "GET", body: Any = None, token: str = READ) -> tuple[int, Any]:
        data = None if body is None else json.dumps(body).encode()
        status, _, answer = self.running.request(path, method, data, Authorization=f"Bearer {token}")
        return status, json.loads(answer)

    def get(self, path: str) -> Any:
        status, body = self.ask(path)
        assert status == 200, body
        return body


@pytest.fixture(scope="module")
def kept(broker: str) -> Iterator[Kept]:
    origin, letters = create_topic(broker), f"dead-{uuid.uuid4().hex}"
    producer = Producer({"bootstrap.servers": broker})
    for number in range(30):
        producer.produce(origin, b"%c_%d" % (b"RGB"[number % 3], FIRST + number), b"key %d" % number, 0)
    for value in (b"R_yesterday", b"R_tomorrow", b"nothing", b"\xff"):
        producer.produce(origin, value, b"k\xfe", 0, headers=[("h", b"1"), ("none", None)])
    assert producer.flush(20) == 0
    tokens = {"FIRNLINE_READ_TOKEN": READ, "FIRNLINE_WRITE_TOKEN": WRITE}
    with service(broker, origin, f"streams.events.dead_letters={letters}", **tokens) as running:
        found = Kept(running, origin, letters)
        until(lambda: found.get("/events/get-stats")["records"] >= 34)
        yield found


def test_the_newest_records_have_what_the_view_made_of_them(kept: Kept):
    body = until(lambda: (found := kept.get("/events/records")) and len(found["records"]) == 34 and found)
    records = body["records"]
    assert [each["offset"] for each in records] == list(range(33, -1, -1))
    assert body["read"] == 34
    assert [each["state"] for each in records] == ["refused"] * 4 + ["event"] * 30
    last, good = records[0], records[4]
    assert (last["value"], last["key"], last["length"], last["time"]) == ("\\xff", "k\\xfe", 1, None)
    assert last["headers"] == [{"name": "h", "value": "1"}, {"name": "none", "value": None}]
    assert last["reason"] == kept.get("/events/rejects")["newest"][0]["reason"]
    assert (good["value"], good["key"], good["time"], good["reason"]) == (f"B_{FIRST + 29}", "key 29", FIRST + 29, None)
    assert good["writtenAt"] > FIRST / 1_000
    assert kept.get("/events/records?limit=2")["records"] == records[:2]


def test_a_refused_record_has_its_key_and_headers(kept: Kept):
    newest = kept.get("/events/rejects")["newest"]
    assert [each["offset"] for each in newest] == [33, 32, 31, 30]
    assert {(each["key"], each["headers"][0]["value"]) for each in newest} == {("k\\xfe", "1")}
    assert all(each["writtenAt"] > FIRST / 1_000 for each in newest)


def test_dead_letters_are_put_back_by_a_token_that_may_write_and_only_once(kept: Kept):
    def waiting() -> Any:
        return kept.get("/events/dead-letters")

    before = until(lambda: (found := waiting()) and sum(found["reasons"].values()) == 4 and found)
    assert (before["topic"], before["more"]) == (kept.letters, False)
    newest = before["newest"][0]
    assert (newest["partition"], newest["offset"], newest["value"], newest["key"]) == (0, 33, "\\xff", "k\\xfe")
    assert newest["headers"] == [{"name": "h", "value": "1"}, {"name": "none", "value": None}]
    replay = "/events/dead-letters/replay"
    reason = newest["reason"]
    assert kept.ask(replay, "POST", {})[0] == 403
    assert kept.ask(replay, "POST", {"reasons": "all"}, WRITE)[0] == 422
    assert kept.ask(replay, "POST", {"reasons": [reason]}, WRITE) == (200, {"count": 1, "reasons": {reason: 1}})
    assert kept.ask(replay, "POST", {"limit": 2}, WRITE)[1]["count"] == 2
    # What came back is refused again, and is a new dead letter: one of the first, and three that were put back.
    until(lambda: kept.get("/events/get-stats")["records"] == 37)
    again = until(lambda: (found := waiting()) and sum(found["reasons"].values()) == 4 and found)
    assert sorted(each["offset"] for each in again["newest"]) != sorted(each["offset"] for each in before["newest"])


def test_a_stream_without_dead_letters_says_so(tmp_path: Path):
    (tmp_path / "records").write_bytes(b"R_1685695916000\n")
    with service(None, None, "streams.events.source={file: records}", cwd=tmp_path) as running:
        found = running.get("/events/dead-letters")
        assert found == {"topic": None, "reasons": {}, "newest": [], "more": False}
        assert running.request("/events/dead-letters/replay", "POST", b"{}")[0] in {404, 405}

"""A funnel end to end: the real service with a real broker, killed in the middle; answers and results against the truth."""

import json
import random
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from confluent_kafka import Producer

from firnline import Client
from tests.conftest import Send
from tests.support.service import service
from tests.support.waiting import until

STEPS = ("created", "paid", "shipped")
KINDS = ("order_created", "payment_ok", "parcel_out")
WITHIN_MS = 3_000

pytestmark = pytest.mark.broker


def orders(count: int, start: int) -> list[tuple[str, list[int]]]:
    """Return keys, and the times of the steps that each reached: one in five lacks a payment, one in five a parcel in time."""
    chance = random.Random(1)
    found = []
    for number in range(count):
        first = start + 5 * number
        times = [first, first + chance.randrange(1, 1_000)]
        times.append(times[1] + chance.randrange(1, 1_000))
        kept = times[: chance.choice([1, 2, 3, 3, 3])]
        found.append((f"order/{number} ä", kept))
    return found


def rows_of(found: list[tuple[str, list[int]]]) -> list[dict[str, Any]]:
    rows = []
    for key, times in found:
        complete = len(times) == len(STEPS)
        steps = dict(zip(STEPS, [*times, None, None], strict=False))
        state, limit = ("complete", None) if complete else ("lapsed", times[0] + WITHIN_MS)
        rows.append({"key": key, "state": state, "steps": steps, "lapsesAt": limit})
    return rows


def test_every_sequence_is_published_once_although_the_service_is_killed(broker: str, topic: str, send: Send, tmp_path: Path):
    found = orders(2_000, (int(time.time()) - 100) * 1_000)
    events = sorted((at + random.Random(at).randrange(400), key, at, step) for key, own in found for step, at in enumerate(own))
    values = [
        json.dumps({"id": key, "type": KINDS[step], "meta": {"ts": stamp(at)}}, ensure_ascii=False).encode()
        for _, key, at, step in events
    ]
    values.insert(100, b'{"id":"order/1","type":"refund"}')
    values.insert(200, b'{"id":"order/1","type":"payment_ok","meta":{"ts":7}}')
    out = tmp_path / "facts.txt"
    words = [f"streams.funnel.output={{file: {out}}}", f"data_dir={tmp_path / 'data'}", "checkpoint.every_ms=100"]
    words += [f"streams.funnel.within={WITHIN_MS}ms", "streams.funnel.max_sequences=300"]
    half = len(values) // 2
    send(broker, topic, values[:half], [0] * half)
    with service(broker, topic, *words, stream="funnel") as running:
        until(lambda: running.stats("funnel")["records"] == half)
        until(lambda: out.exists() and out.stat().st_size > 0)
        running.process.kill()
    send(broker, topic, values[half:], [0] * (len(values) - half))
    expected = rows_of(found)
    with service(broker, topic, *words, stream="funnel") as running:
        running.settled(len(values), "funnel")
        until(lambda: len(out.read_text().splitlines()) >= len(expected))
        facts = [json.loads(line) for line in out.read_text().splitlines()]
        assert sorted(facts, key=by_key) == sorted(expected, key=by_key)
        client = Client(f"http://127.0.0.1:{running.port}")
        assert sorted(client.sequences(), key=by_key) == sorted(expected, key=by_key)
        lapsed = [row for row in expected if row["steps"]["paid"] is None]
        assert sorted(client.sequences(state="lapsed", missing="paid"), key=by_key) == sorted(lapsed, key=by_key)
        reached = [sum(len(own) > step for _, own in found) for step in range(3)]
        assert [row["reached"] for row in client.funnel()] == reached
        body = running.get("/funnel?coverage=1")
        assert (body["complete"], body["open"], body["lapsed"]) == (reached[2], 0, 2_000 - reached[2])
        assert body["coverage"]["missing"] == []
        key, own = found[7]
        assert [event["time"] for event in client.story(key)] == own
        assert running.get(f"/funnel/keys/{quote(key, safe='')}")["events"] == list(client.story(key))
        pages, cursor = [], ""
        while cursor is not None:
            page = running.get(f"/funnel/sequences?limit=700{cursor}")
            pages += page["sequences"]
            cursor = f"&cursor={page['next']}" if "next" in page else None
        assert pages == running.get("/funnel/sequences")["sequences"]
        stats = running.stats("funnel")
        assert (stats["other"], stats["rejects"]) == (1, {"/meta/ts: expected a time by RFC 3339, got a number": 1})


def test_the_key_may_be_that_of_the_record_in_kafka(broker: str, topic: str, tmp_path: Path):
    """Keys of all kinds, killed in the middle; a record without a key, or with one that is no text, is refused with the reason."""
    found = orders(300, (int(time.time()) - 100) * 1_000)
    records: list[tuple[bytes | None, bytes]] = [
        (key.encode(), json.dumps({"type": KINDS[step], "meta": {"ts": stamp(at)}}).encode())
        for key, own in found
        for step, at in enumerate(own)
    ]
    value = records[0][1]
    records[100:100] = [(None, value), (b"\xff\xfe", value), (b"k" * 65_537, value), (b"", value)]
    expected = rows_of([*found, ("", [found[0][1][0]])])
    out = tmp_path / "facts.txt"
    words = [f"streams.funnel.output={{file: {out}}}", f"data_dir={tmp_path / 'data'}", "checkpoint.every_ms=100"]
    words += ["streams.funnel.record.key=kafka", f"streams.funnel.within={WITHIN_MS}ms"]
    half = len(records) // 2
    keyed(broker, topic, records[:half])
    with service(broker, topic, *words, stream="funnel") as running:
        until(lambda: running.stats("funnel")["records"] == half)
        running.process.kill()
    keyed(broker, topic, records[half:])
    with service(broker, topic, *words, stream="funnel") as running:
        running.settled(len(records), "funnel")
        until(lambda: len(out.read_text().splitlines()) >= len(expected))
        facts = [json.loads(line) for line in out.read_text().splitlines()]
        assert sorted(facts, key=by_key) == sorted(expected, key=by_key)
        client = Client(f"http://127.0.0.1:{running.port}")
        assert sorted(client.sequences(), key=by_key) == sorted(expected, key=by_key)
        assert [event["time"] for event in client.story(found[7][0])] == found[7][1]
        reason = "key: expected text of at most 65,536 bytes as the key in Kafka, got "
        assert running.stats("funnel")["rejects"] == {
            f"{reason}{got}": 1 for got in ("nothing", "other bytes than UTF-8", "a longer one")
        }


def keyed(bootstrap: str, topic: str, records: list[tuple[bytes | None, bytes]]) -> None:
    """Write records with keys to one partition, in order."""
    producer = Producer({"bootstrap.servers": bootstrap, "enable.idempotence": True})
    for key, value in records:
        producer.produce(topic, value, key, partition=0)
    assert producer.flush(60) == 0


def test_old_records_behind_a_pause_are_late_and_named(broker: str, topic: str, send: Send, tmp_path: Path):
    """While no record comes, sequences lapse by the clock. What would have completed them is counted, and told of the key."""
    start, out = 1_600_000_000_000, tmp_path / "facts.txt"
    words = [f"streams.funnel.output={{file: {out}}}", "streams.funnel.within=700ms", "streams.funnel.lateness_ms=100"]

    def records(kind: str, shift: int) -> list[bytes]:
        return [
            json.dumps({"id": f"K{number}", "type": kind, "meta": {"ts": stamp(start + number + shift)}}).encode()
            for number in range(12)
        ]

    send(broker, topic, records("order_created", 0), [0] * 12)
    with service(broker, topic, *words, stream="funnel") as running:
        until(lambda: out.exists() and len(out.read_text().splitlines()) == 12)
        send(broker, topic, records("payment_ok", 300), [0] * 12)
        running.settled(24, "funnel")
        stats = running.stats("funnel")
        assert (stats["late"], stats["lateBySilence"]) == (12, 12)
        assert running.get("/funnel")["lapsed"] == 12
        events = running.get("/funnel/keys/K3")["events"]
        assert [(each["state"], each["reason"]) for each in events] == [
            ("lapsed", None),
            ("unmatched", "late: a sequence had lapsed without paid"),
        ]


def test_a_step_that_is_listed_again_has_a_name_of_its_own_in_answers(tmp_path: Path):
    start = 1_795_773_600_000
    walks = {"a": "CPC", "b": "CPPCC", "c": "CP", "d": "CCPCPC", "e": "PC"}
    events = [(start + 10 * at, key, kind) for key, walk in walks.items() for at, kind in enumerate(walk)]
    kinds = {"C": "order_created", "P": "payment_ok"}
    path = tmp_path / "orders"
    path.write_text(
        "".join(json.dumps({"id": k, "type": kinds[s], "meta": {"ts": stamp(t)}}) + "\n" for t, k, s in sorted(events))
    )
    names = "{created: [order_created], paid: [payment_ok]}"
    words = ["steps=[created, paid, created]", f"record.step.names={names}", f"source={{file: {path}}}"]
    with service(None, None, *(f"streams.funnel.{each}" for each in words), stream="funnel") as running:
        running.settled(len(events), "funnel")
        client = Client(f"http://127.0.0.1:{running.port}")
        complete = {
            (row["key"], *(time - start for time in row["steps"].values())) for row in client.sequences(state="complete")
        }
        assert complete == {("a", 0, 10, 20), ("b", 0, 10, 30), ("d", 0, 20, 30)}
        assert [(row["step"], row["reached"]) for row in client.funnel()] == [("created", 8), ("paid", 4), ("created_2", 3)]
        assert [event["step"] for event in client.story("a")] == ["created", "paid", "created_2"]
        assert running.get("/funnel/sequences?missing=created_2&key=c")["sequences"][0]["steps"]["created_2"] is None
        table = client.sequences().arrow()
        assert table.column_names == ["key", "state", "created", "paid", "created_2", "lapsesAt"]


def stamp(ms: int) -> str:
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(ms // 1_000))}.{ms % 1_000:03}Z"


def by_key(row: dict[str, Any]) -> str:
    return str(row["key"])

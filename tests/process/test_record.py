"""`record:` end to end: the real service over a real topic of JSON and Avro records, and a restart."""

import json
from io import BytesIO
from pathlib import Path

import fastavro
import pytest

from config.load import SettingsError, load
from tests.conftest import Send
from tests.support.command_line import run
from tests.support.forked import run_forked
from tests.support.service import ROOT, Service, command, service
from tests.support.waiting import until

RECORD = (
    "streams.orders.record={format: json, time: {field: /meta/ts, unit: rfc3339}, "
    "step: {field: /type, names: {created: [order_created, order_imported], paid: [payment_ok], shipped: [parcel_out]}}}"
)
STEPS = "streams.orders.steps=[created, paid, shipped]"
REFUSED = "/meta/ts: expected a time by RFC 3339, got a number"


def order(number: int, name: str, minute: int) -> bytes:
    stamp = f"2026-11-27T{10 + minute // 60:02}:{minute % 60:02}:00.{number:03}9Z"
    return json.dumps({"id": f"A{number}", "type": name, "meta": {"ts": stamp, "by": "shop"}}).encode()


def orders() -> list[bytes]:
    """Return the events of 300 orders, with records among them that are none."""
    values = []
    for number in range(300):
        first = "order_created" if number % 3 else "order_imported"
        values += [order(number, name, minute) for minute, name in enumerate((first, "payment_ok", "parcel_out"))]
    return values + [b'{"type":"refund","meta":{}}'] * 20 + [b'{"type":"payment_ok","meta":{"ts":7}}'] * 3 + [b"{"]


def metric(running: Service, name: str) -> float:
    _, _, body = running.request("/metrics")
    return sum(float(line.split()[-1]) for line in body.decode().splitlines() if line.startswith(f"{name}{{"))


def test_orders_as_json_are_sets_with_others_counted_and_the_rest_refused_by_field(
    broker: str, topic: str, send: Send, tmp_path: Path
):
    values = orders()
    send(broker, topic, values, [0] * len(values))
    settings = ("streams.orders.view=sets", STEPS, RECORD, f"data_dir={tmp_path}/data", "streams.orders.max_ahead_ms=null")
    with service(broker, topic, *settings, stream="orders") as running:
        stats = running.settled(len(values), "orders")
        assert (stats["records"], stats["events"], stats["other"]) == (924, 900, 20)
        assert stats["rejects"] == {REFUSED: 3, "not_json": 1}
        assert stats["timeUnit"] == {"name": "ms", "basis": "given", "because": None}
        path = "/orders/get-sets?startTime=2026-11-27T10:00:00Z&endTime=2026-11-27T10:01:00Z"
        sets = until(lambda: found if len(found := running.get(path)["sets"]) == 300 else None)
        assert [each["timestamp"] for each in sets[7].values()] == [1_795_773_600_007 + 60_000 * step for step in range(3)]
        assert list(sets[0]) == ["created", "paid", "shipped"]
        refused = running.get("/orders/rejects")
        assert refused["newest"][1]["reason"] == REFUSED
        assert metric(running, "firnline_other_records_total") == 20
        assert running.stop()[0] == 0
    with service(broker, topic, *settings, stream="orders") as running:
        stats = running.settled(len(values), "orders")
        assert (stats["events"], stats["other"], metric(running, "firnline_records_total")) == (900, 20, 0)
        assert running.get(path)["sets"] == sets
    with service(broker, topic, *settings, "streams.orders.record.time=kafka", stream="orders") as running:
        stats = running.settled(len(values), "orders")
        assert (stats["events"], stats["other"], metric(running, "firnline_records_total")) == (903, 20, 924)


def test_visitors_as_json_are_unique_users(broker: str, topic: str, send: Send):
    users = ["1", 1, 1.0, "u", "u", {"name": "u"}]
    values = [json.dumps({"user_id": user, "created_at": "2026-11-27T10:00:00Z"}).encode() for user in users]
    send(broker, topic, values, [0] * len(values))
    record = "{format: json, time: {field: /created_at, unit: rfc3339}, user: /user_id}"
    settings = ("streams.visitors.view=uniques", f"streams.visitors.record={record}", "streams.visitors.max_ahead_ms=null")
    with service(broker, topic, *settings, stream="visitors") as running:
        assert running.settled(len(values), "visitors")["events"] == 5
        path = "/visitors?granularity=minute&start=2026-11-27T10:00:00Z&end=2026-11-27T10:01:00Z"
        (row,) = until(lambda: running.get(path)["uniques"])
        assert (row["unique"], row["frames"]) == (3, 5)


def test_a_dataset_of_json_records_is_read_and_not_written_by_clients(broker: str, topic: str, send: Send):
    send(broker, topic, [b'{"player":"a_b","score":7}', b'{"player":8,"score":9e0}'], [0, 0])
    record = "streams.players.record={format: json, id: /player, value: /score}"
    with service(broker, topic, "streams.players.view=top", record, stream="players") as running:
        assert until(lambda: running.get("/players")["data"]) == ["8", "a_b"]
        status, _, body = running.request("/players", "POST", b'{"items":["a_1"]}')
        assert (400 <= status < 500, b"Traceback" in body) == (True, False)


@pytest.mark.parametrize(("example", "read"), [("orders", {"event", "other"}), ("clicks", {"event"})])
def test_the_examples_read_what_their_patterns_send(example: str, read: set[str], tmp_path: Path):
    (tmp_path / "lines").write_text(
        run_forked(command("producer", "--pattern", example, "--count", "20", "--stdout"), check=True).stdout
    )
    config = ("--config", str(ROOT / "config" / f"{example}.yaml"), "--from", str(tmp_path / "lines"), "--json")
    shown = json.loads(run_forked(["-m", "scripts.cli", "config", "try", *config], check=True).stdout)
    assert len(shown) == 20
    assert {each["read"] for each in shown} == read
    assert all((each["time"] is None) == (each["read"] == "other") for each in shown)


ORDER_SCHEMA = {
    "type": "record",
    "name": "Order",
    "fields": [
        {"name": "id", "type": ["null", "string"]},
        {"name": "type", "type": "string"},
        {"name": "ts", "type": {"type": "long", "logicalType": "timestamp-micros"}},
    ],
}


def avro(value: dict[str, object]) -> bytes:
    written = BytesIO()
    fastavro.schemaless_writer(written, ORDER_SCHEMA, value)
    return written.getvalue()


@pytest.mark.parametrize("framing", ["confluent", "none"])
def test_orders_as_avro_are_sets_by_a_schema_file(framing: str, broker: str, topic: str, send: Send, tmp_path: Path):
    frame = b"\0\0\0\0\7" if framing == "confluent" else b""
    first = 1_795_773_600_000_000
    values = [
        frame + avro({"id": f"A{number}", "type": name, "ts": first + 1_000 * number + 10**6 * step})
        for number in range(300)
        for step, name in enumerate(("order_created", "payment_ok", "parcel_out"))
    ]
    values += [frame + avro({"id": None, "type": "refund", "ts": 0})] * 5 + [values[0][:-1], values[0] + b"\0", b"R_1"]
    send(broker, topic, values, [0] * len(values))
    (tmp_path / "order.avsc").write_text(json.dumps(ORDER_SCHEMA))
    record = RECORD.replace("format: json", f"format: avro, schema: {tmp_path}/order.avsc, framing: {framing}")
    record = record.replace("{field: /meta/ts, unit: rfc3339}", "{field: /ts, unit: us}")
    settings = ("streams.orders.view=sets", STEPS, record, f"data_dir={tmp_path}/data", "streams.orders.max_ahead_ms=null")
    with service(broker, topic, *settings, stream="orders") as running:
        stats = running.settled(len(values), "orders")
        assert (stats["records"], stats["events"], stats["other"]) == (len(values), 900, 5)
        assert stats["rejects"] == {"not_avro": 3} if framing == "none" else {"not_avro": 2, "not_framed": 1}
        assert stats["timeUnit"]["name"] == "us"
        path = "/orders/get-sets?startTime=2026-11-27T10:00:00Z&endTime=2026-11-27T10:01:00Z"
        sets = until(lambda: found if len(found := running.get(path)["sets"]) == 300 else None)
        assert [each["timestamp"] for each in sets[7].values()] == [first + 7_000 + 10**6 * step for step in range(3)]
        assert "record.framing" in str(running.get("/orders/rejects")["advice"])
        assert running.stop()[0] == 0
    with service(broker, topic, *settings, stream="orders") as running:
        stats = running.settled(len(values), "orders")
        assert (stats["events"], stats["other"], metric(running, "firnline_records_total")) == (900, 5, 0)
        assert running.get(path)["sets"] == sets


def test_the_first_avro_records_of_a_topic_are_shown_as_they_are_read(broker: str, topic: str, send: Send, tmp_path: Path):
    send(broker, topic, [avro({"id": "é\n", "type": "payment_ok", "ts": 7}), b"\0"], [0, 0])
    (tmp_path / "order.avsc").write_text(json.dumps(ORDER_SCHEMA))
    step = "step: {field: /type, names: {paid: [payment_ok]}}"
    record = f"{{format: avro, schema: {tmp_path}/order.avsc, time: {{field: /ts, unit: us}}, {step}}}"
    (tmp_path / "c.yaml").write_text(
        f"streams: {{orders: {{source: {{topic: {topic}}}, steps: [created, paid], record: {record}}}}}\n"
    )
    shown = run("config", "try", "--config", f"{tmp_path}/c.yaml", "--bootstrap", broker)
    assert "2 records: 1 event, 0 other, 1 refused" in shown.stdout
    assert "step in Avro" in shown.stdout
    (tmp_path / "order.avsc").write_text("{}")
    for words in (("try", "--config", f"{tmp_path}/c.yaml", "--bootstrap", broker), ("check", f"{tmp_path}/c.yaml")):
        done = run("config", *words)
        assert done.returncode == 1
        assert "order.avsc: expected a schema of Avro (KeyError: 'type')" in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("record", "problem"),
    [
        ("{format: avro, ROLES}", "expected schema, a file, or registry, a URL, for avro"),
        ("{format: avro, schema: x, registry: 'http://h', ROLES}", "expected schema, a file, or registry, a URL, for avro"),
        ("{format: avro, registry: 'http://h', framing: none, ROLES}", "expected framing: confluent or header with a registry"),
        ("{format: avro, schema: x, framing: header, ROLES}", "expected framing: none with a schema file"),
        ("{format: avro, registry: 'http://u:p@h', ROLES}", "expected the URL of a schema registry"),
        ("{format: avro, registry: 'ftp://h', ROLES}", "expected the URL of a schema registry"),
        ("{format: avro, schema: x, message: a.B, ROLES}", "expected message with protobuf, and not without"),
        ("{format: protobuf, schema: x, ROLES}", "expected message with protobuf, and not without"),
        ("{format: json, schema: x, ROLES}", "expected format: avro or protobuf, which schema belongs to"),
        ("{format: avro, schema: x, step: {field: /type}}", "the roles step, time for Avro, of which time is missing"),
        ("{framing: none}", "expected format: avro or protobuf, which framing belongs to"),
    ],
)
def test_settings_of_avro_that_do_not_fit_are_refused(record: str, problem: str):
    roles = "time: {field: /ts, unit: us}, step: {field: /type}"
    with pytest.raises(SettingsError) as caught:
        load(None, [f"streams.events.record={record.replace('ROLES', roles)}"], {})
    assert problem in str(caught.value)


def test_avro_is_read_from_topics_alone():
    record = "{format: avro, schema: x, time: {field: /ts, unit: us}, step: {field: /type}}"
    with pytest.raises(SettingsError, match="only with a topic"):
        load(None, [f"streams.events.record={record}", "streams.events.source={file: x}"], {})


def test_no_answer_depends_on_how_a_schema_is_found():
    def meaning(more: str) -> object:
        record = f"{{format: avro, {more}, time: {{field: /ts, unit: us}}, step: {{field: /type}}}}"
        return load(None, [f"streams.events.record={record}"], {}).streams["events"].meaning()

    assert meaning("schema: x") == meaning("schema: y, framing: confluent") == meaning("registry: http://h/")

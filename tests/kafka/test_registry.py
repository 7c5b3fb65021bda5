"""Framed records by the schemas of a real registry: versions, unknown numbers, a registry that is away, headers, a restart."""

import http.client
import json
import threading
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from typing import Any

import fastavro
import pytest
from confluent_kafka import Producer
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from actors.records.schemas.framing import HEADER
from actors.registry.client import AwayError, RegistryClient
from scripts.cli.topic_records import of_topic
from scripts.service.schemas.found import _made_avro
from scripts.service.schemas.protoc import compiled
from tests.conftest import Send
from tests.support.command_line import run
from tests.support.gate import gate
from tests.support.service import service
from tests.support.waiting import PATIENCE_S, until

OLD: dict[str, Any] = {
    "type": "record",
    "name": "Order",
    "fields": [{"name": "type", "type": "string"}, {"name": "ts", "type": {"type": "long", "logicalType": "timestamp-millis"}}],
}
NEW: dict[str, Any] = {
    **OLD,
    "fields": [
        {"name": "ts", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "by", "type": ["null", "string"], "default": None},
        {"name": "type", "type": "string"},
    ],
}
FIRST = 1_795_773_600_000
UNKNOWN = 2_000_000_000
ALL = "/orders/get-sets?startTime=0&endTime=3000000000000"


def register(url: str, schema: Any, *, subject: str | None = None, **more: Any) -> int:
    """Register a schema under a subject of its own, and return its number."""
    host = url.removeprefix("http://").partition("/")
    connection = http.client.HTTPConnection(host[0], timeout=PATIENCE_S)
    body = json.dumps({"schema": schema if isinstance(schema, str) else json.dumps(schema), **more})
    headers = {"Content-Type": "application/vnd.schemaregistry.v1+json"}
    connection.request("POST", f"/{host[2]}/subjects/{subject or uuid.uuid4().hex}/versions", body, headers)
    response = connection.getresponse()
    answer = json.loads(response.read())
    assert response.status == 200, answer
    connection.close()
    number: int = answer["id"]
    return number


def framed(number: int, schema: Any, **value: Any) -> bytes:
    written = BytesIO()
    fastavro.schemaless_writer(written, schema, value)
    return b"\0" + number.to_bytes(4, "big") + written.getvalue()


def settings(url: str, folder: Path, more: str = "") -> tuple[str, ...]:
    record = f"{{format: avro, registry: '{url}', {more}time: {{field: /ts, unit: ms}}, step: {{field: /type}}}}"
    return (
        "streams.orders.view=sets",
        "streams.orders.steps=[created, paid]",
        f"streams.orders.record={record}",
        f"data_dir={folder}/data",
        "streams.orders.max_ahead_ms=null",
        "checkpoint.every_ms=200",
    )


def orders(old: int, new: int, count: int) -> list[bytes]:
    """Return the two events of each of some orders, the later one by another version of the schema."""
    return [
        record
        for number in range(count)
        for record in (
            framed(old, OLD, type="created", ts=FIRST + 10 * number),
            framed(new, NEW, type="paid", ts=FIRST + 10 * number + 5, by=None),
        )
    ]


def test_records_of_several_schemas_are_read_each_by_its_own(
    registry: str, broker: str, topic: str, send: Send, tmp_path: Path
):
    old, new = register(registry, OLD), register(registry, NEW)
    other = register(registry, {"type": "record", "name": "A", "fields": [{"name": "next", "type": ["null", "A"]}]})
    values = orders(old, new, 200)
    values += [framed(UNKNOWN, OLD, type="created", ts=1)] * 3 + [b"R_1", framed(old, OLD, type="x", ts=1), values[0][:-1]]
    values += [framed(other, OLD, type="created", ts=1)]
    send(broker, topic, values, [0] * len(values))
    with service(broker, topic, *settings(registry, tmp_path), stream="orders") as running:
        stats = running.settled(len(values), "orders")
        assert (stats["events"], stats["other"]) == (400, 1)
        assert stats["rejects"] == {"unknown_schema": 3, "not_framed": 1, "not_avro": 1, "wrong_schema": 1}
        path = "/orders/get-sets?startTime=0&endTime=3000000000000"
        sets = until(lambda: found if len(found := running.get(path)["sets"]) == 200 else None)
        assert [each["timestamp"] for each in sets[7].values()] == [FIRST + 70, FIRST + 75]
        assert running.stop()[0] == 0
    with service(broker, topic, *settings(registry, tmp_path), stream="orders") as running:
        assert running.settled(len(values), "orders")["events"] == 400
        assert running.get(path)["sets"] == sets


def test_a_registry_that_is_away_holds_reading_back_and_reading_goes_on_after_it(
    registry: str, broker: str, topic: str, send: Send, tmp_path: Path
):
    host, _, path = registry.removeprefix("http://").partition("/")
    old, new = register(registry, OLD), register(registry, NEW)
    values = orders(old, new, 50)
    send(broker, topic, values[:2], [0, 0])
    with gate(int(host.partition(":")[2])) as opened:
        url = f"http://127.0.0.1:{opened.port}/{path}"
        with service(broker, topic, *settings(url, tmp_path), stream="orders") as running:

            def troubled() -> Any:
                stats = running.stats("orders")
                return stats if stats["state"] == "unreachable" else None

            stats = until(troubled)
            assert (stats["records"], stats["rejects"]) == (0, {})
            assert stats["trouble"]["reasons"] == [f"schema registry {url}: Connection refused"]
            send(broker, topic, values[2:60], [0] * 58)
            opened.open()
            assert running.settled(60, "orders")["events"] == 60
            assert until(lambda: running.stats("orders")["trouble"] is None)
            opened.close()
            send(broker, topic, values[60:], [0] * 40)  # their schemas are known
            assert running.settled(100, "orders")["events"] == 100
            assert opened.connections == 2, "each schema is asked for once"
            newest = register(registry, {**NEW, "name": "Newest"})
            send(broker, topic, [framed(newest, {**NEW, "name": "Newest"}, type="created", ts=FIRST + 9_999, by="me")], [0])
            until(troubled)
            assert running.stop()[0] == 0
        with service(broker, topic, *settings(url, tmp_path), stream="orders") as running:
            stats = until(troubled)
            assert (stats["records"], stats["events"]) == (100, 100)
            opened.open()
            assert running.settled(101, "orders")["events"] == 101


def test_config_try_asks_the_registry(registry: str, broker: str, topic: str, send: Send, tmp_path: Path):
    number = register(registry, OLD)
    send(broker, topic, [framed(number, OLD, type="paid", ts=FIRST), framed(UNKNOWN, OLD, type="paid", ts=1)], [0, 0])
    for url, told in ((registry, "2 records: 1 event, 0 other, 1 refused"), ("http://127.0.0.1:1", "Connection refused")):
        record = f"{{format: avro, registry: '{url}', time: {{field: /ts, unit: ms}}, step: {{field: /type}}}}"
        (tmp_path / "c.yaml").write_text(
            f"streams: {{orders: {{source: {{topic: {topic}}}, steps: [created, paid], record: {record}}}}}\n"
        )
        done = run("config", "try", "--config", f"{tmp_path}/c.yaml", "--bootstrap", broker)
        assert told in done.stdout + done.stderr


@contextmanager
def with_guids(registry: str, numbers: Mapping[uuid.UUID, int]) -> Iterator[str]:
    """Run a front of the registry that has schemas by their GUIDs too, as registries of Confluent have since version 8."""
    host, _, path = registry.removeprefix("http://").partition("/")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            *_, kind, name = self.path.split("/")
            number = name if kind == "ids" else numbers.get(uuid.UUID(name), UNKNOWN)
            connection = http.client.HTTPConnection(host, timeout=PATIENCE_S)
            connection.request("GET", f"/{path}/schemas/ids/{number}")
            response = connection.getresponse()
            body = response.read()
            self.send_response(response.status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            connection.close()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/registry"
    finally:
        server.shutdown()
        server.server_close()


def test_a_frame_in_a_header_comes_before_one_in_the_record(registry: str, broker: str, topic: str, tmp_path: Path):
    old, new = register(registry, OLD), register(registry, NEW)
    guid, unknown = uuid.uuid4(), uuid.uuid4()
    by_number, by_guid = b"\0" + old.to_bytes(4, "big"), b"\1" + guid.bytes
    records: list[tuple[bytes, list[tuple[str, bytes]]]] = [
        (framed(old, OLD, type="created", ts=FIRST), []),
        (framed(new, NEW, type="paid", ts=FIRST + 1, by="me")[5:], [("other", b"x"), (HEADER, by_guid)]),
        (framed(old, OLD, type="created", ts=FIRST + 10)[5:], [(HEADER, by_number)]),
        (framed(new, NEW, type="paid", ts=FIRST + 11, by=None), [("other", by_number)]),
        (framed(old, OLD, type="paid", ts=FIRST)[5:], []),
        (framed(old, OLD, type="paid", ts=FIRST)[5:], [(HEADER, b"\1" + unknown.bytes)]),
    ]
    producer = Producer({"bootstrap.servers": broker, "enable.idempotence": True})
    for value, headers in records:
        producer.produce(topic, value, headers=headers, partition=0)
    assert producer.flush(20) == 0
    with with_guids(registry, {guid: new}) as url:
        words = settings(url, tmp_path, "framing: header, ")
        with service(broker, topic, *words, f"streams.orders.dead_letters=dead-{topic}", stream="orders") as running:
            stats = running.settled(len(records), "orders")
            assert (stats["events"], stats["rejects"]) == (4, {"not_framed": 1, "unknown_schema": 1})
            sets = until(lambda: found if len(found := running.get(ALL)["sets"]) == 2 else None)
            times = [[step["timestamp"] for step in each.values()] for each in sets]
            assert times == [[FIRST, FIRST + 1], [FIRST + 10, FIRST + 11]]
            dead = until(
                lambda: found if len(found := of_topic({"bootstrap.servers": broker}, f"dead-{topic}", 9)) == 2 else None
            )
            refused = [(letter.value, [each for each in letter.headers if each[0] == HEADER]) for letter in dead]
            assert refused == records[4:]
            newest = {each["offset"]: each["value"] for each in running.get("/orders/records")["records"]}
            assert newest == {at: value.decode(errors="backslashreplace") for at, (value, _) in enumerate(records)}
        (tmp_path / "c.yaml").write_text(
            f"streams: {{orders: {{source: {{topic: {topic}}}, steps: [created, paid], record: {words[2].partition('=')[2]}}}}}\n"
        )
        done = run("config", "try", "--config", f"{tmp_path}/c.yaml", "--bootstrap", broker)
        assert "6 records: 4 events, 0 other, 2 refused" in done.stdout, done.stdout + done.stderr


def test_a_schema_comes_with_those_that_it_refers_to(registry: str):
    meta = {"type": "record", "name": "shop.Meta", "fields": [{"name": "at", "type": "long"}]}
    whole = {"type": "record", "name": "shop.Order", "fields": [{"name": "meta", "type": "shop.Meta"}]}
    subject = uuid.uuid4().hex
    register(registry, meta, subject=subject)
    number = register(registry, whole, references=[{"name": "shop.Meta", "subject": subject, "version": 1}])
    found = RegistryClient(registry).schema(number)
    assert found is not None
    assert found.kind == "AVRO"
    assert _made_avro(found).values(b"\x0e", 0, [("meta", "at")]) == [7]
    assert RegistryClient(registry).schema(UNKNOWN) is None


@pytest.mark.parametrize(
    ("path", "state", "reason"),
    [("/nowhere", "refused", "expected a schema registry, got 404"), (":1", "unreachable", "Connection refused")],
)
def test_what_is_no_registry_is_away(registry: str, path: str, state: str, reason: str):
    url = f"{registry}{path}" if path.startswith("/") else f"http://127.0.0.1{path}"
    with pytest.raises(AwayError, match=reason) as caught:
        RegistryClient(url).schema(1)
    assert caught.value.state == state


PROTO = """syntax = "proto3"; package shop;
import "google/protobuf/timestamp.proto"; import "part.proto";
message Other { string type = 1; }
message Order { string type = 1; google.protobuf.Timestamp at = 2; Part part = 3; }
"""
PART = 'syntax = "proto3"; package shop; message Part { int64 number = 1; }'


def test_messages_of_protobuf_are_read_by_the_registry_and_by_a_file(
    registry: str, broker: str, topic: str, send: Send, tmp_path: Path
):
    subject = uuid.uuid4().hex
    register(registry, PART, subject=subject, schemaType="PROTOBUF")
    references = [{"name": "part.proto", "subject": subject, "version": 1}]
    number = register(registry, PROTO, schemaType="PROTOBUF", references=references)
    frame = b"\0" + number.to_bytes(4, "big")
    pool = descriptor_pool.DescriptorPool()
    for file in descriptor_pb2.FileDescriptorSet.FromString(compiled(PROTO, {"part.proto": PART})).file:
        pool.Add(file)
    order = message_factory.GetMessageClass(pool.FindMessageTypeByName("shop.Order"))
    raws = [
        order(type=name, at={"seconds": FIRST // 1_000 + 60 * each + late, "nanos": 1_999_999}).SerializeToString()
        for each in range(100)
        for late, name in enumerate(("created", "paid"))
    ]
    values = [frame + b"\2\2" + raw for raw in raws]
    values += [frame + b"\0" + raws[0], frame, frame + b"\2\2\xff", b"\0" + UNKNOWN.to_bytes(4, "big") + b"\2\2"]
    send(broker, topic, values, [0] * len(values))
    (tmp_path / "order.proto").write_text(PROTO)
    (tmp_path / "part.proto").write_text(PART)
    reasons = {"other_message": 1, "not_framed": 1, "not_protobuf": 1}
    for more, more_reasons in (
        (f"registry: '{registry}'", {"unknown_schema": 1}),
        (f"schema: {tmp_path}/order.proto, framing: confluent", {}),
    ):
        roles = "time: {field: /at, unit: rfc3339}, step: {field: /type}"
        record = f"streams.orders.record={{format: protobuf, message: shop.Order, {more}, {roles}}}"
        words = [each for each in settings(registry, tmp_path) if not each.startswith("streams.orders.record=")]
        with service(broker, topic, *words, record, "data_dir=null", stream="orders") as running:
            stats = running.settled(len(values), "orders")
            assert (stats["events"], stats["rejects"]) == (200, {**reasons, **more_reasons})
            path = "/orders/get-sets?startTime=0&endTime=3000000000000"
            sets = until(lambda: found if len(found := running.get(path)["sets"]) == 100 else None)  # noqa: B023  # called at once
            assert [each["timestamp"] for each in sets[7].values()] == [FIRST + 420_001, FIRST + 421_001]

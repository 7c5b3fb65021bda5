"""The orders of the benchmark as Avro and Protobuf: their schemas, their records, and how the service reads them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from scripts.lab.measure.rivals import Order
from scripts.lab.topics import record_count
from scripts.produce import examples
from scripts.produce.spec import Spec

AVRO = {
    "type": "record",
    "name": "Order",
    "fields": [{"name": "id", "type": "string"}, {"name": "type", "type": "string"}, {"name": "ts", "type": "long"}],
}
_AT_ONCE = 30_000
_STEP = "step: {field: /type, names: {created: [order_created], paid: [payment_ok], shipped: [parcel_out]}}"

Encoder = Callable[[str, str, int], bytes]
"""Encodes the id, the type and the time in ms of an order."""


def avro(key: str, kind: str, ts: int) -> bytes:
    r"""Return an order as Avro, without a frame.

    >>> avro("A1", "b", 3)
    b'\x04A1\x02b\x06'
    """
    return b"".join((_varint(2 * len(key)), key.encode(), _varint(2 * len(kind)), kind.encode(), _varint(2 * ts)))


def protobuf(key: str, kind: str, ts: int) -> bytes:
    r"""Return an order as Protobuf, without a frame.

    >>> protobuf("A1", "b", 3)
    b'\n\x02A1\x12\x01b\x18\x03'
    """
    return b"".join(
        (b"\x0a", _varint(len(key)), key.encode(), b"\x12", _varint(len(kind)), kind.encode(), b"\x18", _varint(ts))
    )


ENCODERS: dict[str, Encoder] = {"avro": avro, "protobuf": protobuf}


def descriptors() -> Any:
    """Return the schema of Protobuf, a `FileDescriptorSet`."""
    from google.protobuf.descriptor_pb2 import (  # type: ignore[import-untyped]  # noqa: PLC0415  # an extra
        FieldDescriptorProto,
        FileDescriptorProto,
        FileDescriptorSet,
    )

    text, whole = FieldDescriptorProto.TYPE_STRING, FieldDescriptorProto.TYPE_INT64
    file = FileDescriptorProto(name="order.proto", syntax="proto3")
    message = file.message_type.add(name="Order")
    for number, (name, kind) in enumerate((("id", text), ("type", text), ("ts", whole)), 1):
        message.field.add(name=name, number=number, type=kind, label=FieldDescriptorProto.LABEL_OPTIONAL, json_name=name)
    return FileDescriptorSet(file=[file])


def stanza(name: str, folder: Path) -> str:
    """Write the schema to `folder`, and return the setting `record` of the stream."""
    if name == "avro":
        path, more = folder / "order.avsc", ""
        path.write_text(json.dumps(AVRO))
    else:
        path, more = folder / "order.desc", ", message: Order"
        path.write_bytes(descriptors().SerializeToString())
    return f"{{format: {name}, schema: {path}, framing: none{more}, key: /id, time: {{field: /ts, unit: ms}}, {_STEP}}}"


def fill_encoded(bootstrap: str, topic: str, name: str, records: int, partitions: int, start_ms: int) -> None:
    """Fill a topic with the orders of the pattern of JSON, unless an earlier call has filled it."""
    held = record_count(bootstrap, topic)
    if held == records:
        return
    if held:
        raise ValueError(f"topic {topic} holds {held:,} records, not {records:,}; delete it, or take another --bootstrap")
    admin = AdminClient({"bootstrap.servers": bootstrap})
    admin.create_topics([NewTopic(topic, partitions, 1)], request_timeout=20)[topic].result(timeout=30)
    encode, decoder = ENCODERS[name], msgspec.json.Decoder(Order)
    spec, chance = Spec(count=records, start=start_ms, partitions=partitions), np.random.default_rng(1)
    producer = Producer({"bootstrap.servers": bootstrap, "enable.idempotence": True, "linger.ms": 5})
    for low in range(0, records, _AT_ONCE):
        chunk = examples.orders(np.arange(low, min(records, low + _AT_ONCE)), spec, chance)
        for value, partition in zip(chunk.values, chunk.partitions, strict=True):
            order = decoder.decode(value)
            encoded = encode(order.id, order.type, round(1_000 * order.meta.ts.timestamp()))
            producer.produce(topic, encoded, partition=partition)
        producer.flush()
    if record_count(bootstrap, topic) != records:
        raise ValueError(f"topic {topic} does not hold the {records:,} records that were sent")


def _varint(number: int) -> bytes:
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    found.append(number)
    return bytes(found)

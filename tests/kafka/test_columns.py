"""The two readers of Kafka records give the same, and the one that touches memory gives everything back."""

import os
import random
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Any, NamedTuple

import numpy as np
import pytest
from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition

from actors.sources.kafka.columns import proofs
from actors.sources.kafka.columns.memory import Library
from actors.sources.kafka.columns.queue import Queue
from actors.sources.kafka.fetch import Fetched, How, Reader, reader
from actors.sources.kafka.source import TUNING, KafkaSource
from actors.sources.polled import Headers, Place
from scripts.checkout import ROOT
from tests.conftest import Send
from tests.kafka.test_kafka import created, deleted
from tests.support.waiting import PATIENCE_S, until

CODECS = ("none", "gzip", "snappy", "lz4", "zstd")
PARTITIONS = 3
MANY = 1_000


class Record(NamedTuple):
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Headers


def some_bytes(chance: random.Random, most: int) -> bytes | None:
    return chance.choice([None, b"", chance.randbytes(chance.randrange(most)), b"R_1685695916000"])


def filled(broker: str, topic: str, seed: int) -> dict[int, int]:
    """Write records of all kinds in transactions, some of them aborted. Returns the end of each partition."""
    chance = random.Random(seed)
    for codec in CODECS:
        settings = {"bootstrap.servers": broker, "compression.type": codec, "linger.ms": 20, "message.max.bytes": 2_000_000}
        producer = Producer({**settings, "transactional.id": uuid.uuid4().hex})
        producer.init_transactions(30)
        for aborts in (False, True, False):
            producer.begin_transaction()
            for _ in range(chance.choice([1, 40, 400])):
                headers = [(chance.choice("ab"), some_bytes(chance, 9)) for _ in range(chance.choice([0, 0, 1, 3]))]
                producer.produce(
                    topic,
                    chance.randbytes(900_000) if chance.random() < 0.003 else some_bytes(chance, chance.choice([9, 300])),
                    some_bytes(chance, 20),
                    partition=chance.randrange(PARTITIONS),
                    timestamp=chance.randrange(1, 2**40),
                    headers=headers,
                )
            if aborts:
                producer.flush(20)
                producer.abort_transaction(30)
            else:
                producer.commit_transaction(30)
    consumer = Consumer({"bootstrap.servers": broker, "group.id": "ends"})
    ends = {
        number: consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=PATIENCE_S)[1]
        for number in range(PARTITIONS)
    }
    consumer.close()
    return ends


@contextmanager
def reading(broker: str, topic: str, how: How, **settings: Any) -> Iterator[tuple[Consumer, Reader]]:
    given = {**TUNING, "bootstrap.servers": broker, "group.id": uuid.uuid4().hex, "enable.partition.eof": True, **settings}
    consumer = Consumer(given)
    found, reason = reader(consumer, topic, how)
    assert reason is None
    try:
        yield consumer, found
    finally:
        found.close()
        consumer.close()


def assign(consumer: Consumer, found: Reader, topic: str, partitions: int = PARTITIONS, offset: int = 0) -> None:
    found.follow(set(range(partitions)))
    consumer.incremental_assign([TopicPartition(topic, number, offset) for number in range(partitions)])


def records_of(fetched: Fetched) -> Iterator[tuple[int, Record]]:
    polled = fetched.records
    offsets, stamps = polled.offsets().tolist(), polled.timestamps().tolist()
    for index, (number, offset, stamp, value) in enumerate(
        zip(polled.partitions.tolist(), offsets, stamps, polled.values, strict=True)
    ):
        assert stamp == polled.written_at(index)
        yield number, Record(offset, stamp, polled.key_of(index), value, tuple(polled.headers_of(index)))


def all_of(broker: str, topic: str, how: How, ends: dict[int, int], chance: random.Random) -> dict[int, list[Record]]:
    """Read every record of the topic, in polls of various sizes."""
    found: dict[int, list[Record]] = {number: [] for number in ends}
    at_end: dict[int, int] = {}
    with reading(broker, topic, how) as (consumer, read):
        assign(consumer, read, topic, len(ends))

        def done() -> bool:
            fetched = read.poll(chance.choice([1, 7, 500, 12_000]), 0.05)
            for number, record in records_of(fetched):
                found[number].append(record)
            for fault in fetched.faults:
                assert fault.error.code() == KafkaError._PARTITION_EOF, fault
                assert fault.partition is not None
                at_end[fault.partition] = fault.offset
            assert sorted([*fetched.places.tolist(), *(fault.place for fault in fetched.faults)]) == list(
                range(len(fetched.places) + len(fetched.faults))
            )
            return at_end == ends

        until(done)
    return found


@pytest.mark.versions
@pytest.mark.parametrize("seed", range(3))
def test_columns_are_what_message_objects_are(broker: str, seed: int):
    topic = created(broker, f"columns-{uuid.uuid4().hex}", PARTITIONS, **{"max.message.bytes": "2000000", "retention.ms": "-1"})
    ends = filled(broker, topic, seed)
    as_columns, as_messages = (all_of(broker, topic, how, ends, random.Random(seed)) for how in ("columns", "messages"))
    assert as_columns == as_messages
    assert sum(map(len, as_columns.values())) > len(CODECS)


@pytest.mark.long
def test_columns_of_many_partitions_are_what_message_objects_are(broker: str):
    """A topic of 10,000 partitions takes Kafka more than a minute to create, and longer to fill."""
    chance, topic = random.Random(4), created(broker, f"columns-{uuid.uuid4().hex}", MANY)
    producer = Producer({"bootstrap.servers": broker, "linger.ms": 20})
    ends = {number: chance.randrange(3) for number in range(MANY)}
    for number, count in ends.items():
        for _ in range(count):
            producer.produce(topic, some_bytes(chance, 40), some_bytes(chance, 9), partition=number)
    assert producer.flush(60) == 0
    as_columns, as_messages = (all_of(broker, topic, how, ends, random.Random(4)) for how in ("columns", "messages"))
    assert as_columns == as_messages
    assert {number: len(records) for number, records in as_columns.items()} == ends


def test_a_poll_is_not_read_after_the_next_one(broker: str):
    topic = created(broker, f"columns-{uuid.uuid4().hex}")
    producer = Producer({"bootstrap.servers": broker})
    for number in range(3):
        producer.produce(topic, b"%d" % number, b"key", headers=[("a", b"b")])
    assert producer.flush(20) == 0
    with reading(broker, topic, "columns") as (consumer, read):
        assign(consumer, read, topic, 1)
        first = until(lambda: found if (found := read.poll(1, 0.1)).places.size else None)
        kept = first.records.kept()
        assert first.records.key_of(0) == b"key"
        read.poll(1, 0.1)
        for forgotten in (first.records.key_of, first.records.headers_of, first.records.written_at):
            with pytest.raises(RuntimeError, match="released"):
                forgotten(0)
        assert (kept.key_of(0), kept.headers_of(0)) == (b"key", (("a", b"b"),))
        assert kept.written_at(0) == kept.timestamps()[0] > 0
        assert (first.records.values, first.records.offsets().tolist()) == ([b"0"], [0])  # these are copies
        unread = until(lambda: found.records.timestamps if (found := read.poll(1, 0.1)).places.size else None)
        read.poll(1, 0)
        with pytest.raises(RuntimeError, match="released"):
            unread()
    with pytest.raises(RuntimeError, match="closed"):
        read.poll(1, 0)


@pytest.mark.parametrize("first", ["queue", "consumer"])
def test_a_queue_gives_back_its_file_whichever_is_closed_first(first: str):
    consumer = Consumer({"bootstrap.servers": "127.0.0.1:1", "group.id": "g", "log_level": 0})
    queue = Queue(consumer, "t")
    comes, closes = queue._event, {"queue": queue.close, "consumer": consumer.close}  # the file is its own
    os.fstat(comes)
    closes.pop(first)()
    for close in closes.values():
        close()
    with pytest.raises(OSError, match="Bad file"):
        os.fstat(comes)


def test_an_offset_that_the_broker_refuses_is_reported(broker: str):
    topic = created(broker, f"columns-{uuid.uuid4().hex}")
    for how in ("columns", "messages"):
        with reading(broker, topic, how, **{"auto.offset.reset": "error"}) as (consumer, read):
            assign(consumer, read, topic, 1, offset=1_000)
            (fault,) = until(lambda read=read: read.poll(10, 0.05).faults)
            assert (fault.place, fault.error.code(), fault.partition) == (0, KafkaError._AUTO_OFFSET_RESET, 0)
            assert "out of range" in fault.error.str().lower()
            assert not fault.error.fatal()


SCRIPT = """
import os, sys
from confluent_kafka import Consumer, TopicPartition
from actors.sources.kafka.fetch import reader
consumer = Consumer({"bootstrap.servers": sys.argv[1], "group.id": "g", "auto.offset.reset": "earliest"})
found, _ = reader(consumer, sys.argv[2], "columns")
found.follow({0})
consumer.assign([TopicPartition(sys.argv[2], 0, 0)])
while not found.poll(10, 0.1).places.size:
    pass
"""
ENDINGS = {
    "at once": "",
    "by an error": "raise ValueError('at the end')",
    "without its own references": "del found, consumer",
    "with the consumer closed first": "found.close(); consumer.close()",
    "after a poll that failed": """
from actors.sources.kafka.columns.memory import Messages
values = Messages._values
def fails(self, payloads, lengths):
    if payloads.size:
        raise MemoryError
    return values(self, payloads, lengths)
Messages._values = fails
consumer.seek(TopicPartition(sys.argv[2], 0, 0))
failed = 0
while not failed:
    try:
        found.poll(10, 0.1)
    except MemoryError:
        failed += 1
found.close(); consumer.close()
""",
    "after a fork": """
child = os.fork()
if child == 0:
    try:
        found.poll(1, 0)
    except RuntimeError:
        os._exit(7)
    os._exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
found.poll(10, 0.1)
""",
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_process_ends_although_messages_are_not_given_back(broker: str, ending: str):
    topic = created(broker, f"columns-{uuid.uuid4().hex}")
    producer = Producer({"bootstrap.servers": broker})
    for number in range(500):
        producer.produce(topic, b"%d" % number)
    assert producer.flush(20) == 0
    command = [sys.executable, "-c", SCRIPT + ENDINGS[ending], broker, topic]
    ended = subprocess.run(
        command, check=False, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, timeout=60
    )
    assert ended.returncode == (1 if ending == "by an error" else 0), ended.stderr.decode()


# Proofs --------------------------------------------------------------------------------------------------------------


def test_without_a_proof_records_are_message_objects(monkeypatch: pytest.MonkeyPatch):
    said: list[str] = []
    settings = {"bootstrap.servers": "127.0.0.1:1", "group.id": "g"}
    monkeypatch.setattr(proofs, "TESTED", frozenset())
    source = KafkaSource(settings, "t", start="earliest", on_error=said.append)
    source.open(Place())
    source.close()
    source.open(Place())
    source.close()
    (line,) = [text for text in said if "Message objects" in text]
    assert "is not tested" in line
    with pytest.raises(ValueError, match=r"kafka\.reader: columns cannot be read here: librdkafka .* is not tested"):
        KafkaSource(settings, "t", start="earliest", how="columns", on_error=said.append)
    said.clear()
    KafkaSource(settings, "t", start="earliest", how="messages", on_error=said.append).close()
    assert "Message objects" not in "".join(said)


@pytest.mark.parametrize(
    ("where", "what", "value"),
    [
        ("sys", "platform", "darwin"),
        ("sys", "byteorder", "big"),
        ("platform", "machine", lambda: "aarch64"),
        ("platform", "libc_ver", lambda: ("", "")),
    ],
)
def test_another_platform_is_not_proven(monkeypatch: pytest.MonkeyPatch, where: str, what: str, value: Any):
    monkeypatch.setattr(getattr(proofs, where), what, value)
    with pytest.raises(proofs.Unproven):
        Library()


def test_another_layout_of_polls_is_not_proven():
    library = Library()

    class Other:
        class rd_kafka_messages_count:  # noqa: N801
            def __new__(cls, base: int) -> int:  # type: ignore[misc]
                return 4

        class rd_kafka_messages_get:  # noqa: N801
            def __new__(cls, base: int, place: int) -> int:  # type: ignore[misc]
                return 0

    with pytest.raises(proofs.Unproven, match="rd_kafka_messages_t"):
        proofs.prove_bulk(Other, library.allocate, library.free)


def test_a_consumer_without_its_handle_at_the_beginning_is_not_proven(monkeypatch: pytest.MonkeyPatch):
    consumer = Consumer({"bootstrap.servers": "127.0.0.1:1", "group.id": "g", "log_level": 0})
    library = Library()
    assert proofs.handle_of(consumer, library.held)
    with monkeypatch.context() as patched:
        patched.setattr(proofs, "_HEADER", 8)  # the type of the object, which is memory, but no handle
        with pytest.raises(proofs.Unproven):
            proofs.handle_of(consumer, library.held)
    queue = Queue(consumer, "t")
    queue.close()
    consumer.close()
    with pytest.raises(proofs.Unproven):  # a closed consumer has none
        proofs.handle_of(consumer, library.held)


def test_timestamps_at_another_place_are_asked_for_one_by_one(broker: str, monkeypatch: pytest.MonkeyPatch):
    topic = created(broker, f"columns-{uuid.uuid4().hex}")
    producer = Producer({"bootstrap.servers": broker})
    for number in range(20):
        producer.produce(topic, b"v", timestamp=1_000 + number)
    assert producer.flush(20) == 0
    monkeypatch.setattr("actors.sources.kafka.columns.memory._STAMP", 7)  # the offset
    with reading(broker, topic, "columns") as (consumer, read):
        assign(consumer, read, topic, 1)
        found = until(lambda: found if (found := read.poll(100, 0.1)).places.size == 20 else None)
        assert found.records.timestamps().tolist() == list(range(1_000, 1_020))
        (end,) = found.faults or until(lambda: read.poll(100, 0.1).faults)
        assert (end.offset, end.partition) == (20, 0)


def test_an_empty_poll_has_columns(broker: str):
    topic = created(broker, f"columns-{uuid.uuid4().hex}")
    with reading(broker, topic, "columns") as (_, read):
        read.follow({0})
        fetched = read.poll(10, 0)
        assert (list(fetched.records.values), fetched.faults, fetched.full) == ([], [], False)
        assert fetched.records.part(np.arange(0)).values.nbytes == 0


def test_a_rest_ends_when_a_record_comes_and_not_before_the_last_poll_is_read(broker: str):
    topic, woken = created(broker, f"rest-{uuid.uuid4().hex}"), SimpleQueue[int]()
    producer = Producer({"bootstrap.servers": broker, "linger.ms": 0})
    producer.produce(topic, b"first", partition=0)
    producer.flush(PATIENCE_S)
    with reading(broker, topic, "columns") as (consumer, found):
        assign(consumer, found, topic, partitions=1)
        read: list[bytes] = []

        def rest() -> None:
            for _ in range(3):
                count = len(read)
                while len(read) == count:  # an end of the partition ends a rest too
                    found.rest(10 * PATIENCE_S)
                    read.extend(map(bytes, filter(None, found.poll(100, 0.0).records.values)))
                woken.put(len(read))

        threading.Thread(target=rest, daemon=True).start()
        for count in (1, 2, 3):  # the records come one by one: each of them is read before the next one is sent
            assert woken.get(timeout=PATIENCE_S) == count
            if count < 3:
                producer.produce(topic, b"next", partition=0)
                producer.flush(PATIENCE_S)
        assert read == [b"first", b"next", b"next"]


def test_a_partition_that_is_assigned_again_at_once_gives_its_records(embedded: str, mock_topic: str, send: Send):
    """librdkafka may end the forwarding of a partition after the partition was assigned again: about once in twenty times."""
    send(embedded, mock_topic, [b"%d" % number for number in range(8_000)], [number % 4 for number in range(8_000)])
    source = KafkaSource({"bootstrap.servers": embedded, "group.id": mock_topic}, mock_topic, start="earliest", on_error=print)
    chance = random.Random(3)
    try:
        assert source.open(Place())
        for number in [chance.randrange(4) for _ in range(60)]:
            source.only(None)
            source.only(number)
            found = until(lambda: poll if len((poll := source.poll(10, 0.1)).values) else None)
            assert set(found.partitions.tolist()) == {number}
    finally:
        source.close()


@pytest.mark.parametrize("how", ["columns", "messages"])
def test_a_topic_that_is_deleted_while_it_is_read_is_reported(broker: str, how: How):
    """librdkafka reports it as an error of each partition, by a callback, on the thread that polls."""
    topic = created(broker, f"columns-{uuid.uuid4().hex}", PARTITIONS)
    producer = Producer({"bootstrap.servers": broker})
    for number in range(PARTITIONS):
        producer.produce(topic, b"a", partition=number)
    assert producer.flush(20) == 0
    errors: list[str] = []
    soon = {"topic.metadata.refresh.interval.ms": 1000, "topic.metadata.propagation.max.ms": 2000}
    settings = {"bootstrap.servers": broker, "group.id": topic, "allow.auto.create.topics": False, **soon}
    source = KafkaSource(settings, topic, start="earliest", how=how, on_error=errors.append)
    try:
        assert source.open(Place())
        ended: set[int] = set()
        until(lambda: ended.update(source.poll(10, 0.1).ended) or len(ended) == PARTITIONS)
        deleted(broker, topic)
        source._topic_id.changed = lambda *_: None  # type: ignore[method-assign]  # otherwise it is mostly found first
        until(lambda: source.poll(10, 0.1) and any("does not exist" in each for each in errors))
    finally:
        source.close()

"""A dataset in a compacted topic: what clients post and delete, live and after Kafka has compacted the topic."""

import uuid
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from zlib import crc32

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from tests.support.service import Service, service
from tests.support.waiting import until

pytestmark = pytest.mark.broker

PARTITIONS = 2
EAGER = {"cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0.01", "segment.ms": "100", "max.compaction.lag.ms": "1"}
"""Kafka compacts such a topic at once, but never its newest segment."""


@pytest.fixture
def compacted(broker: str) -> str:
    name = f"compacted-{uuid.uuid4().hex}"
    admin = AdminClient({"bootstrap.servers": broker})
    admin.create_topics([NewTopic(name, PARTITIONS, 1, config=EAGER)])[name].result(20)
    return name


def posted(running: Service, items: Sequence[str]) -> None:
    status, answer = running.post(items)
    assert (status, answer["count"]) == (200, len(items)), answer


def values(running: Service) -> dict[str, int]:
    """Return the ids and values of the answer."""
    _, _, body = running.request("/dataset?format=csv")
    return {name: int(value) for name, value in (line.split(",") for line in body.decode().split()[1:])}


def records_of(broker: str, topic: str) -> list[tuple[bytes, bytes | None]]:
    """Return key and value of the records that the topic has now, tombstones included, in order in each partition."""
    settings = {"bootstrap.servers": broker, "group.id": f"keys-{topic}", "enable.partition.eof": True, "log_level": 0}
    with closing(Consumer({**settings, "auto.offset.reset": "error"})) as consumer:
        consumer.assign([TopicPartition(topic, number, 0) for number in range(PARTITIONS)])
        found: list[tuple[bytes, bytes | None]] = []
        ended: set[int] = set()

        def done() -> bool:
            for message in consumer.consume(1_000, 0.1):
                if message.error():
                    ended.add(message.partition())
                else:
                    found.append((message.key(), message.value()))
            return len(ended) == PARTITIONS

        until(done)
        return found


def test_a_replay_of_a_compacted_dataset_gives_the_live_answer(broker: str, compacted: str):
    producer = Producer({"bootstrap.servers": broker})
    ids = [f"id{number}" for number in range(20)]
    with service(broker, compacted, stream="dataset") as running:
        posted(running, [f"{name}_100" for name in [*ids, "gone", "firnline-clear"]])
        assert running.request("/dataset", "DELETE")[0] == 200
        for turn in range(3):
            posted(running, [f"{name}_{turn}" for name in [*ids, "", "firnline-clear"]])
        posted(
            running, ["id0_7\r\n", "\ufeffid1_8", "id2_bad", "id3_4_5", "id4_99999999999999999999", "id5", "id6_9 ", " id7_9"]
        )
        for name in (b"id8", b"id9", b"absent"):
            producer.produce(compacted, None, name, partition=crc32(name) % PARTITIONS)
        assert producer.flush(20) == 0
        posted(running, ["id9_10"])
        right = dict.fromkeys([*ids, "", "firnline-clear"], 2) | {"id0": 7, "id1": 8, "id6": 9, "id7": 9, "id9": 10}
        del right["id8"]
        until(lambda: values(running) == right)
        until(lambda: sum(running.get("/dataset/rejects")["rejects"].values()) == 4)
        newest = dict(records_of(broker, compacted))  # Kafka may have deleted the earlier ones already
        assert None not in newest
        assert newest[b"id0"] == b"id0_7\r\n"
        assert newest[b"id1"] == "\ufeffid1_8".encode()
        assert newest[b"id7"] == b" id7_9"

        def clean() -> bool:
            for number in range(PARTITIONS):  # a new segment, so that Kafka compacts the earlier ones
                producer.produce(compacted, b"more_1", b"more", partition=number)
            assert producer.flush(20) == 0
            counts = Counter(name for name, _ in records_of(broker, compacted))
            return all(count == 1 for name, count in counts.items() if name.startswith(b"id"))

        until(clean)
        right["more"] = 1
        until(lambda: values(running) == right)
    with service(broker, compacted, stream="dataset") as replay:
        until(lambda: values(replay) == right)


@pytest.mark.versions
def test_items_without_a_key_are_read_from_a_topic_that_is_not_compacted(broker: str, topic: str):
    producer = Producer({"bootstrap.servers": broker})
    for value, key in ((b"a_1", None), (b"b_2", None), (b"c_3", b"other"), (b"d_4", b"d"), (None, b"d"), (None, None)):
        producer.produce(topic, value, key, partition=0)
    assert producer.flush(20) == 0
    with service(broker, topic, stream="dataset") as running:
        posted(running, ["a_5"])
        until(lambda: values(running) == {"a": 5, "b": 2, "c": 3})
        until(lambda: running.get("/dataset/rejects")["rejects"] == {"empty": 1})  # reported a moment after the answer

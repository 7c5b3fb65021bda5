"""Reading the records that a sink has written, to a file or to a topic."""

import time
import uuid

from confluent_kafka import Consumer, IsolationLevel, KafkaError, KafkaException, Message, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from actors.replies import Place
from tests.support.waiting import until


def fail(text: str) -> None:
    """Fail the test: a sink reports an error that must not happen."""
    raise AssertionError(text)


def text_at(place: Place | None) -> bytes | None:
    """Return the record at a place of a file, or None without a place."""
    if place is None:
        return None
    with place.path.open("rb") as file:
        file.seek(place.start)
        return file.read(place.length)


def new_topic() -> str:
    """Return a name that no topic has."""
    return f"t-{uuid.uuid4().hex}"


def read_topic(bootstrap: str, topic: str, count: int) -> list[bytes]:
    """Return the values of the records of partition 0, at least `count` of them."""
    return [value for _, value in read_keyed(bootstrap, topic, count)]


def read_keyed(bootstrap: str, topic: str, count: int) -> list[tuple[bytes | None, bytes]]:
    """Return keys and values of the records of partition 0, at least `count` of them."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "test"})
    consumer.assign([TopicPartition(topic, 0, 0)])
    found: list[tuple[bytes | None, bytes]] = []

    def complete() -> bool:
        found.extend((message.key(), message.value()) for message in consumer.consume(1_000, 0.05) if not message.error())
        return len(found) >= count

    until(complete)
    consumer.close()
    return found


def committed_values(bootstrap: str, topic: str, partition: int = 0) -> list[bytes]:
    """Return the committed records of a partition. Waits at most 5 s for an open transaction to end.

    Kafka answers a commit before its marker is in the topic, so a reader may see the records a moment later.
    """
    admin, deadline = AdminClient({"bootstrap.servers": bootstrap}), time.monotonic() + 5
    until(lambda: _all_committed(admin, TopicPartition(topic, partition)) or time.monotonic() > deadline)
    return [message.value() or b"" for message in whole_topic(bootstrap, topic, partition)]


def _all_committed(admin: AdminClient, place: TopicPartition) -> bool:
    """Whether readers of committed records may read to the end of a partition."""
    ends = {
        level: admin.list_offsets({place: OffsetSpec.latest()}, isolation_level=level)[place].result(20).offset
        for level in (IsolationLevel.READ_COMMITTED, IsolationLevel.READ_UNCOMMITTED)
    }
    return ends[IsolationLevel.READ_COMMITTED] == ends[IsolationLevel.READ_UNCOMMITTED]


def whole_topic(bootstrap: str, topic: str, partition: int = 0) -> list[Message]:
    """Return the messages of a partition up to its end, or up to the first open transaction. Raises KafkaException."""
    group = {"bootstrap.servers": bootstrap, "group.id": "test", "enable.auto.commit": False, "enable.partition.eof": True}
    reading = {"isolation.level": "read_committed", "auto.offset.reset": "earliest"}
    consumer = Consumer({**group, **reading, "fetch.wait.max.ms": 10})  # Kafka reports the end of a partition after this time
    consumer.assign([TopicPartition(topic, partition, 0)])
    found: list[Message] = []

    def ended() -> bool:
        for message in consumer.consume(10_000, 0.05):
            error = message.error()
            if error is None:
                found.append(message)
            elif error.code() == KafkaError._PARTITION_EOF:
                return True
            elif not error.retriable():
                raise KafkaException(error)
        return False

    until(ended)
    consumer.close()
    return found

"""Topics on a broker: the topics of one run, and the number of records in a topic."""

import contextlib
from collections.abc import Iterator, Mapping

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic


@contextlib.contextmanager
def temporary_topics(bootstrap: str, partitions: Mapping[str, int]) -> Iterator[None]:
    """Create topics with these numbers of partitions by name. Delete the topics at the end. Raises KafkaException."""
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
    wanted = [NewTopic(name, count, 1) for name, count in partitions.items()]
    for created in admin.create_topics(wanted, request_timeout=20).values():
        created.result(timeout=30)
    try:
        yield
    finally:
        for deleted in admin.delete_topics(list(partitions), request_timeout=20).values():
            with contextlib.suppress(KafkaException):  # the broker may be gone
                deleted.result(timeout=30)


def record_count(bootstrap: str, topic: str) -> int:
    """Return the number of records in a topic, 0 if it does not exist. The topic must have no transactions."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "firnline-lab", "log_level": 0})
    try:
        partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
        return sum(consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=20)[1] for number in partitions)
    finally:
        consumer.close()


def visible_count(bootstrap: str, topic: str) -> int:
    """Return the number of records that a reader of committed transactions gets. No transaction may be open.

    Cost: reads the whole topic, some 300,000 records a second. Raises KafkaException if that fails.
    """
    settings = {"isolation.level": "read_committed", "enable.partition.eof": True, "enable.auto.commit": False}
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "firnline-lab", "log_level": 0, **settings})
    try:
        left = set(consumer.list_topics(topic, timeout=10).topics[topic].partitions)
        consumer.assign([TopicPartition(topic, number, 0) for number in left])
        count = 0
        while left:
            for message in consumer.consume(10_000, 0.1):
                error = message.error()
                if error is None:
                    count += 1
                elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001  # its public name
                    left.discard(message.partition())
                elif not error.retriable():
                    raise KafkaException(error)
        return count
    finally:
        consumer.close()

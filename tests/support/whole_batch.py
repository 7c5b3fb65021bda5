"""Records that Kafka keeps as one batch, whatever else the machine does."""

from collections.abc import Iterable

from confluent_kafka import Producer


def write_batch(bootstrap: str, topic: str, values: Iterable[bytes], partition: int = 0, **settings: str | int) -> None:
    """Write `values` to an existing topic as one batch. Settings of librdkafka may raise its limits of a batch.

    The producer learns first where the partition is. Records that it takes before wait in a common queue, and `flush` can send
    the first of them while the others are still moved to the partition's queue.
    """
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 60_000, **settings})
    assert topic in producer.list_topics(topic, timeout=30).topics
    for value in values:
        producer.produce(topic, value, partition=partition)
    assert producer.flush(60) == 0

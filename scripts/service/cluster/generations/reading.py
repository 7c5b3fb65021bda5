"""Reads one partition of a topic of generations: the records that readers see, and how far it is read."""

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Self

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from scripts.service.cluster.topics import READS

_TIMEOUT_S = 10.0
_STEP_S = 0.1
_MOST = 64

_OWN: dict[str, Any] = {
    **READS,
    "fetch.wait.max.ms": 100,
    "queued.min.messages": 64,
}


class Partition:
    """Reads the partition `number` of `topic` from its first record on. Every method raises OSError. Not thread-safe."""

    def __init__(self, settings: Mapping[str, Any], topic: str, number: int, group: str) -> None:
        self._topic = topic
        self._place = TopicPartition(topic, number, 0)
        self._consumer = Consumer({**settings, **_OWN, "group.id": group})
        self._consumer.assign([self._place])
        self.until = 0
        """All records before this offset are read."""
        self.ended = False
        """Whether the end was reached once."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._consumer.close()

    def read(self) -> list[Message]:
        """Return the next records; waits a moment for the first one."""
        found: list[Message] = []
        for message in self._consumer.consume(_MOST, _STEP_S):
            error, offset = message.error(), int(message.offset() or 0)
            if error is None:
                found.append(message)
                self.until = max(self.until, offset + 1)
            elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001  # its public name
                self.until, self.ended = max(self.until, offset), True
            elif not error.retriable() and error.fatal():
                raise OSError(f"topic {self._topic}: {error.str()}")
        return found

    def before(self, end: int, ended: Callable[[], bool]) -> Iterator[Message]:
        """Yield the records before the offset `end`, which exists: waits until it can be read."""
        deadline = time.monotonic() + _TIMEOUT_S
        while self.until <= end:
            at = self.until
            for message in self.read():
                if int(message.offset() or 0) < end:
                    yield message
            if self.until > at:
                deadline = time.monotonic() + _TIMEOUT_S
            elif ended() or time.monotonic() > deadline:
                raise OSError(f"topic {self._topic}: no record comes from partition {self._place.partition}")

    def since(self) -> int:
        """Return the offset of the first record that the topic still has. Cost: a request to Kafka."""
        return low_of(self._consumer, self._topic, self._place.partition)


def low_of(consumer: Consumer, topic: str, partition: int) -> int:
    """Return the offset of the first record that a partition still has. Raises OSError."""
    try:
        found = consumer.get_watermark_offsets(TopicPartition(topic, partition), _TIMEOUT_S)
    except KafkaException as error:
        raise OSError(f"topic {topic}: {error.args[0].str()}") from error
    if found is None:
        raise OSError(f"topic {topic}: the first offset of partition {partition} is not known")
    return int(found[0])

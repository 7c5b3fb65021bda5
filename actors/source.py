"""The reader of Kafka: whole polls of one topic, from offsets that the caller owns.

Used by the front end, which decides when to read. Partitions are assigned, never balanced by a group; the group's committed
offsets are for lag tools only.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from confluent_kafka import OFFSET_INVALID, Consumer, KafkaError, KafkaException, Message, TopicPartition
from numpy.typing import NDArray

TUNING: dict[str, Any] = {
    "enable.auto.commit": False,
    "enable.partition.eof": True,
    "auto.offset.reset": "earliest",
    "fetch.queue.backoff.ms": 5,
    "queued.min.messages": 50_000,
    "queued.max.messages.kbytes": 4_096,
    "fetch.message.max.bytes": 524_288,
    "topic.metadata.refresh.interval.ms": 10_000,
    "log_level": 2,  # what is wrong comes by `on_error`, once; the library itself would write twenty lines a second
}
"""librdkafka's defaults sleep a second when the prefetch queue is full; these read four times as fast in 10 MB."""

_BROKER_TIMEOUT_S = 5.0
_LOOK_TIMEOUT_S = 1.0
"""Looking for a topic holds up the thread that the active collector shares; librdkafka goes on connecting meanwhile."""


@dataclass(frozen=True, slots=True)
class Polled:
    """One poll: the value and the partition of each record in order of arrival, and the partitions that are at their end."""

    values: list[bytes | None]
    partitions: NDArray[np.unsignedinteger]
    offset_of: Callable[[int], int]
    ended: frozenset[int]


class Source(Protocol):
    """Where records come from. One actor owns it."""

    def open(self, offsets: Mapping[int, int]) -> bool:
        """Begin at `offsets`, and where a partition has none, at the configured start. False where there is no topic yet."""

    def extend(self) -> bool:
        """Begin to read partitions that are new. False where there is no topic."""

    def poll(self, count: int, timeout_s: float) -> Polled:
        """Return at most `count` records, those that come within `timeout_s`."""

    def only(self, partition: int | None) -> None:
        """Read this partition alone until told otherwise; None reads all of them again."""

    def offsets(self) -> dict[int, int]:
        """Return the offset of the next record, by partition."""

    def lag(self) -> dict[int, int]:
        """Return how many records are known to wait, by partition."""

    def commit(self) -> None:
        """Tell lag tools how far the reading is. Never waits, never fails."""

    def close(self) -> None:
        """Let go of the broker."""


class KafkaSource:
    """Reads `topic` with any librdkafka `settings`.

    Raises ValueError for settings that librdkafka does not know, KafkaException for what no waiting can mend.
    """

    def __init__(
        self,
        settings: Mapping[str, Any],
        topic: str,
        *,
        start: str,
        on_error: Callable[[str], None],
    ) -> None:
        self._settings = {**TUNING, **settings}
        self._topic = topic
        self._start = start
        self._on_error = on_error
        self._consumer: Consumer | None = self._connect()
        self._next: dict[int, int] = {}

    def open(self, offsets: Mapping[int, int]) -> bool:
        """Connect, and begin to read every partition. May take some seconds where the broker is away."""
        if self._consumer is None:
            self._consumer = self._connect()
        self._next = dict(offsets)
        return self.extend()

    def extend(self) -> bool:
        """Look for the topic and its partitions, and begin to read those that are new. False where there is none."""
        consumer = self._opened()
        try:
            found = consumer.list_topics(self._topic, timeout=_LOOK_TIMEOUT_S).topics[self._topic]
        except KafkaException as error:
            self._on_error(str(error))
            return False
        if found.error is not None or not found.partitions:
            return False
        assigned = {partition.partition for partition in consumer.assignment()}
        fresh = [number for number in sorted(found.partitions) if number not in assigned]
        try:
            for number in fresh:
                self._next.setdefault(number, self._first(number))
        except KafkaException as error:  # a partition that is this new may have no leader yet
            self._on_error(str(error))
            return False
        if fresh:
            consumer.incremental_assign([TopicPartition(self._topic, number, self._next[number]) for number in fresh])
        return True

    def poll(self, count: int, timeout_s: float) -> Polled:
        """Read on. Cost: some 0.5 us a record."""
        consumer = self._opened()
        messages = consumer.consume(count, timeout_s)
        ended: frozenset[int] = frozenset()
        if any(map(Message.error, messages)):
            ended, messages = self._without_errors(messages)
        return Polled(
            list(map(Message.value, messages)),
            _partitions(messages),
            lambda index: messages[index].offset() or 0,
            ended,
        )

    def only(self, partition: int | None) -> None:
        """Read this partition alone until told otherwise; None reads all of them again.

        What was fetched of the others and not read is fetched anew. Cost: O(partitions).
        """
        consumer = self._opened()
        places = consumer.assignment()
        consumer.resume(places)
        if partition is not None:
            consumer.pause([place for place in places if place.partition != partition])

    def offsets(self) -> dict[int, int]:
        """Return the offset of the next record, by partition. Cost: O(partitions)."""
        consumer = self._opened()
        for place in consumer.position([TopicPartition(self._topic, number) for number in self._next]):
            if place.offset >= 0:
                self._next[place.partition] = place.offset
        return dict(self._next)

    def lag(self) -> dict[int, int]:
        """Return how many records are known to wait, by partition. Cost: O(partitions), no request."""
        consumer = self._opened()
        lags = {}
        for number, offset in self._next.items():
            _, end = consumer.get_watermark_offsets(TopicPartition(self._topic, number), cached=True)
            lags[number] = max(0, end - offset) if end >= 0 else 0
        return lags

    def commit(self) -> None:
        """Tell lag tools how far the reading is."""
        places = [TopicPartition(self._topic, number, offset) for number, offset in self._next.items()]
        if places:
            self._opened().commit(offsets=places, asynchronous=True)

    def close(self) -> None:
        """Let go of the broker."""
        if self._consumer is not None:
            self._consumer.close()
            self._consumer = None

    def _connect(self) -> Consumer:
        try:
            return Consumer({**self._settings, "error_cb": lambda error: self._on_error(error.str())})
        except KafkaException as error:
            raise ValueError(f"kafka: {error.args[0].str()}") from None

    def _opened(self) -> Consumer:
        assert self._consumer is not None, "open the source before reading"
        return self._consumer

    def _first(self, number: int) -> int:
        low, high = self._opened().get_watermark_offsets(TopicPartition(self._topic, number), timeout=_BROKER_TIMEOUT_S)
        first = low if self._start == "earliest" else high
        return int(first) if first != OFFSET_INVALID else 0

    def _without_errors(self, messages: list[Message]) -> tuple[frozenset[int], list[Message]]:
        """Split off what is no record: a partition's end is noted, trouble is told, what is final is raised."""
        ended: set[int] = set()
        records: list[Message] = []
        for message in messages:
            error = message.error()
            partition = message.partition()
            if error is None:
                ended.discard(partition if partition is not None else -1)
                records.append(message)
            elif error.code() == KafkaError._PARTITION_EOF and partition is not None:  # noqa: SLF001  # its public name
                ended.add(partition)
            elif error.fatal():
                raise KafkaException(error)
            else:
                self._on_error(error.str())
        return frozenset(ended), records


_partition: Any = Message.partition
"""The library types it as optional; a record that was read has one."""


def _partitions(messages: list[Message]) -> NDArray[np.unsignedinteger]:
    """Return the partition of each message. Cost: 40 ns a message where all numbers fit into a byte."""
    try:
        return np.frombuffer(bytes(map(_partition, messages)), np.uint8)
    except ValueError:
        return np.fromiter(map(_partition, messages), np.uint32, len(messages))

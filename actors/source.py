"""The reader of Kafka: whole polls of one topic, from offsets that the caller owns.

Used by the front end, which decides when to read. Partitions are assigned, never balanced by a group; the group's committed
offsets are for lag tools only.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, Protocol

import numpy as np
from confluent_kafka import OFFSET_INVALID, Consumer, KafkaError, KafkaException, Message, TopicPartition
from numpy.typing import NDArray

from actors.timeline.batch import Times
from actors.topic import TopicIdentity, ensure_topic
from actors.views.view import Records

TUNING: dict[str, Any] = {
    "enable.auto.commit": False,
    "enable.partition.eof": True,
    "auto.offset.reset": "earliest",
    "fetch.queue.backoff.ms": 5,
    "queued.min.messages": 50_000,
    "queued.max.messages.kbytes": 4_096,
    "fetch.message.max.bytes": 524_288,
    "topic.metadata.refresh.interval.ms": 10_000,
    "session.timeout.ms": 2_000,  # there is no group; but so long a commit waits for a broker that is away, and `close` for it
    "heartbeat.interval.ms": 500,
    "log_level": 2,  # what is wrong comes by `on_error`, once; the library itself would write twenty lines a second
}
"""librdkafka's defaults sleep a second when the prefetch queue is full; these read four times as fast in 10 MB."""

_AGAIN_S = 0.2
_BROKER_TIMEOUT_S = 5.0
_LOOK_TIMEOUT_S = 1.0
"""Looking for a topic holds up the thread that the active collector shares; librdkafka goes on connecting meanwhile."""


class Polled(Records, Protocol):
    """One poll: its records in order of arrival, and the partitions that are at their end."""

    @property
    def ended(self) -> frozenset[int]:
        """Partitions of which everything is read for now."""


class Source(Protocol):
    """Where records come from. One actor owns it."""

    @property
    def finished(self) -> bool:
        """Whether all is read, and nothing will ever come."""

    @property
    def endless(self) -> bool:
        """Whether it never says that it is finished, so that being at its end for now is the end of what there is."""

    @property
    def epoch(self) -> int:
        """How often what is read was deleted and made again."""

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


@dataclass(frozen=True, slots=True)
class KafkaPoll:
    """One poll of Kafka. Only what a view asks for is taken out of the messages."""

    messages: list[Message]
    values: list[bytes | None]
    partitions: NDArray[np.unsignedinteger]
    ended: frozenset[int]
    epoch: int

    def offsets(self) -> Times:
        """Return the offset of each record. Cost: 50 ns a record."""
        return np.fromiter(map(_offset, self.messages), np.int64, len(self.messages))

    def timestamps(self) -> Times:
        """Return Kafka's time of each record, in ms since 1970. Cost: 150 ns a record."""
        return np.fromiter(map(itemgetter(1), map(_timestamp, self.messages)), np.int64, len(self.messages))

    def key_of(self, place: int) -> bytes | None:
        """Return the key of the record at `place`."""
        key: bytes | None = self.messages[place].key()
        return key


class KafkaSource:
    """Reads `topic` with any librdkafka `settings`; creates it with so many `partitions` where it is absent, unless None.

    Raises ValueError for settings that librdkafka does not know, KafkaException for what no waiting can mend.
    """

    def __init__(
        self,
        settings: Mapping[str, Any],
        topic: str,
        *,
        start: str,
        partitions: int | None = None,
        on_error: Callable[[str], None],
    ) -> None:
        self._settings = {**TUNING, **settings}
        self._topic = topic
        self._start = start
        self._partitions = partitions
        self._on_error = on_error
        self._consumer: Consumer | None = self._connect()
        self._identity = TopicIdentity(self._settings, topic)
        self._next: dict[int, int] = {}
        self._extended_at = 0.0
        self.epoch = 0
        self.finished = False
        self.endless = True

    def open(self, offsets: Mapping[int, int]) -> bool:
        """Connect, and begin to read every partition. May take some seconds where the broker is away."""
        if self._consumer is None:
            self._consumer = self._connect()
        self._next = dict(offsets)
        return self.extend()

    def extend(self) -> bool:
        """Look for the topic and its partitions, and begin to read those that are new. False where there is none."""
        consumer = self._opened()
        self._extended_at = time.monotonic()
        try:
            found = consumer.list_topics(self._topic, timeout=_LOOK_TIMEOUT_S).topics[self._topic]
        except KafkaException as error:
            self._on_error(str(error))
            return False
        if found.error is not None or not found.partitions:
            self._create()
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
        ended: frozenset[int] = frozenset()
        now = time.monotonic()
        if self._identity.changed(now):
            ended = self._begin_again()
        elif not self._next and self._identity.there and now - self._extended_at >= _AGAIN_S:
            self.extend()
        messages = consumer.consume(count, timeout_s)
        if any(map(Message.error, messages)):
            at_end, messages = self._without_errors(messages)
            ended |= at_end
        return KafkaPoll(messages, list(map(Message.value, messages)), _partitions(messages), ended, self.epoch)

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
        """Let go of the broker. Waits for the last commit, where the broker is away at most as long as `TUNING` says."""
        if self._consumer is not None:
            self._consumer.close()
            self._consumer = None
            self._identity.forget()

    def _create(self) -> None:
        """Create the topic where it may be created, for the next look."""
        if self._partitions is None:
            return
        try:
            ensure_topic(self._settings, self._topic, self._partitions)
        except OSError as error:
            self._on_error(str(error))

    def _begin_again(self) -> frozenset[int]:
        """Let go of the topic, which is gone; where another one has its name, read that from its beginning.

        librdkafka itself would go on at the old offsets, and skip what the new topic holds before them without a word.
        Returns the partitions that the old one had.
        """
        consumer = self._opened()
        consumer.unassign()
        gone, self._next, self._start = frozenset(self._next), {}, "earliest"
        if self._identity.there:
            self.epoch += 1
            self._on_error(f"topic {self._topic} was deleted and created again: reading the new one from its beginning")
            self.extend()
        else:
            self._on_error(f"topic {self._topic} was deleted")
        return gone

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
_offset: Any = Message.offset
_timestamp: Any = Message.timestamp
"""The library types what they return as optional; a record that was read has each."""


def _partitions(messages: list[Message]) -> NDArray[np.unsignedinteger]:
    """Return the partition of each message. Cost: 40 ns a message where all numbers fit into a byte."""
    try:
        return np.frombuffer(bytes(map(_partition, messages)), np.uint8)
    except ValueError:
        return np.fromiter(map(_partition, messages), np.uint32, len(messages))

"""The two readers of Kafka records: as columns, or as Message objects. Both give the same polls.

Used by the source, which owns the consumer and decides what an error means.
"""

import time
from typing import Literal, NamedTuple, Protocol

import numpy as np
from confluent_kafka import OFFSET_INVALID, Consumer, KafkaError, Message, TopicPartition
from numpy.typing import NDArray

from actors.columns.times import Times
from actors.sources.kafka.columns.errors import Report
from actors.sources.kafka.columns.memory import Messages
from actors.sources.kafka.columns.proofs import Unproven
from actors.sources.kafka.columns.queue import Queue
from actors.sources.kafka.records import polled_of
from actors.sources.polled import Polled

How = Literal["auto", "columns", "messages"]
"""How records are read: `auto` as columns if that is proven to be safe here, otherwise as Message objects."""

_MOST_OBJECTS = 4_000
"""The most Message objects of one poll. Making them holds Python's lock, so queries wait meanwhile: 2 ms for this many."""

_MOST_ERRORS = 100
_SERVED_EVERY_S = 0.05
"""Seconds between two looks at the consumer's own queue, which has callbacks, and errors of no partition."""


def unassign(consumer: Consumer, places: list[TopicPartition] | None = None) -> None:
    """Unassign these partitions, or all. No record or error of them comes afterwards. Cost: three answers of librdkafka.

    librdkafka answers before its thread has dropped what waits for the partitions, and before it has stopped to fetch. It has
    done the one before it answers the next request, and the other before the one after that. A record that came in between
    would be read twice, because the position of the partition is gone.
    """
    if places is None:
        consumer.unassign()
    else:
        consumer.incremental_unassign(places)
    for _ in range(2):
        consumer.assignment()


class Fault(NamedTuple):
    """An error between the records of a poll: the number of messages before it, and its partition, None without one."""

    place: int
    error: KafkaError
    partition: int | None
    offset: int


class Fetched(NamedTuple):
    """The records of one poll, the number of messages before each, and its errors in order. `full`: no room was left."""

    records: Polled
    places: NDArray[np.int64]
    faults: list[Fault]
    full: bool


class Reader(Protocol):
    """Reads the records of a consumer's partitions."""

    def follow(self, partitions: set[int]) -> None:
        """Prepare for partitions that are about to be assigned."""

    def poll(self, count: int, timeout_s: float) -> Fetched:
        """Return at most `count` records and errors that come within `timeout_s`."""

    def rest(self, timeout_s: float) -> None:
        """Wait until there is a record or an error, at most `timeout_s`, if it can notice that at once."""

    def errors(self) -> list[Fault]:
        """Return the errors that wait now. No partition may be assigned."""

    def close(self) -> None:
        """Give back what belongs to the consumer, before the consumer is closed."""


def reader(consumer: Consumer, topic: str, how: How, report: Report = lambda _: None) -> tuple[Reader, str | None]:
    """Return the reader of a consumer, and if `auto` could not choose columns, the reason.

    `report` takes the errors of the consumer's `error_cb`, which a reader of columns replaces.

    Raises ValueError for `columns` if they are not proven to be safe here.
    """
    if how == "messages":
        return _AsMessages(consumer), None
    try:
        return _AsColumns(consumer, topic, report), None
    except Unproven as reason:
        if how == "columns":
            raise ValueError(f"kafka.reader: columns cannot be read here: {reason}") from None
        return _AsMessages(consumer), str(reason)


class _AsMessages:
    """Reads a Message object for each record. Cost: 0.5 us a record, with Python's lock."""

    def __init__(self, consumer: Consumer) -> None:
        self._consumer = consumer

    def follow(self, partitions: set[int]) -> None:
        """Prepare nothing."""

    def poll(self, count: int, timeout_s: float) -> Fetched:
        most = min(count, _MOST_OBJECTS)
        messages = self._consumer.consume(most, timeout_s)
        return _fetched(messages, full=len(messages) == most)

    def rest(self, timeout_s: float) -> None:
        """Do not wait: confluent-kafka would take a record away."""

    def errors(self) -> list[Fault]:
        return _fetched(self._consumer.consume(_MOST_ERRORS, 0), full=False).faults

    def close(self) -> None:
        """Give nothing back."""


class _AsColumns:
    """Reads columns. Cost: 0.3 us a record, mostly without Python's lock. Keys and headers are readable until the next poll.

    Raises `Unproven` if that is not proven to be safe.
    """

    def __init__(self, consumer: Consumer, topic: str, report: Report) -> None:
        self._consumer = consumer
        self._queue = Queue(consumer, topic, report)
        self._served_at = 0.0

    def follow(self, partitions: set[int]) -> None:
        self._queue.follow(partitions)

    def poll(self, count: int, timeout_s: float) -> Fetched:
        if (now := time.monotonic()) - self._served_at >= _SERVED_EVERY_S:
            self._served_at = now
            if others := self._consumer.consume(_MOST_ERRORS, 0):
                return _fetched(others, full=True)
        found = self._queue.poll(count, timeout_s)
        if not found.count:
            return _NOTHING
        records, places = _polled(found), np.arange(found.count)
        if not found.errors.any():
            return Fetched(records, places, [], found.count == count)
        places = np.flatnonzero(found.errors == 0)
        faults = [_fault(found, place) for place in np.flatnonzero(found.errors).tolist()]
        return Fetched(records.part(places), places, faults, found.count == count)

    def rest(self, timeout_s: float) -> None:
        self._queue.rest(timeout_s)

    def errors(self) -> list[Fault]:
        return _fetched(self._consumer.consume(_MOST_ERRORS, 0), full=False).faults

    def close(self) -> None:
        self._queue.close()


_NOTHING = Fetched(polled_of([]), np.arange(0), [], full=False)
"""An empty poll: to make one of no messages would take most of the time of a poll at rest."""


def _fault(found: Messages, place: int) -> Fault:
    code, partition = int(found.errors[place]), int(found.partitions[place])
    error = KafkaError(code, found.error(place), fatal=code == KafkaError._FATAL)  # noqa: SLF001  # its public name
    return Fault(place, error, None if partition < 0 else partition, int(found.offsets[place]))


def _polled(found: Messages) -> Polled:
    partitions: NDArray[np.unsignedinteger] = found.partitions.astype(np.uint32)
    if not found.count or partitions.max() < 1 << 8:  # a narrow column is sorted faster
        partitions = partitions.astype(np.uint8)

    def offsets() -> Times:
        return found.offsets

    def timestamps() -> Times:
        return found.timestamps

    return Polled(found.values, partitions, offsets, timestamps, found.key, found.headers, time_of=found.timestamp)


def _offset_of(message: Message) -> int:
    """Return the offset of an error, librdkafka's invalid one if it has no place."""
    offset: int | None = message.offset()
    return OFFSET_INVALID if offset is None else offset


def _fetched(messages: list[Message], *, full: bool) -> Fetched:
    if not any(map(Message.error, messages)):
        return Fetched(polled_of(messages), np.arange(len(messages)), [], full)
    faults, records, places = [], [], []
    for place, message in enumerate(messages):
        if (error := message.error()) is None:
            records.append(message)
            places.append(place)
        else:
            faults.append(Fault(place, error, message.partition(), _offset_of(message)))
    return Fetched(polled_of(records), np.array(places, np.int64), faults, full)

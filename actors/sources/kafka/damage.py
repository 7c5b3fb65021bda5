"""Damaged batches: what librdkafka reports of them, and the search for the first offset behind one.

Used by the Kafka source. librdkafka has no call that skips a batch: a consumer that begins within a damaged batch gets the
error again, with the batch's first offset. Behind the batch it gets a record, or the end of the partition.
"""

import threading
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from actors.sources.kafka.fetch import unassign

DAMAGED = {
    KafkaError._BAD_MSG,  # noqa: SLF001  # their public names
    KafkaError._BAD_COMPRESSION,  # noqa: SLF001
    KafkaError._NOT_IMPLEMENTED,  # noqa: SLF001  # a format that does not exist
    KafkaError.INVALID_MSG,  # the broker itself finds the damage
}
"""The codes of errors of a partition that a damaged batch causes."""

_WAIT_S = 5.0
_POLL_S = 0.5


@dataclass(slots=True)
class Damage:
    """A damaged batch: its first offset, the reason, and when the search behind it was `tried_at`; `search` is under way."""

    base: int
    why: str
    tried_at: float
    search: "Future[int | None] | None" = None
    failure: str | None = None

    @property
    def reason(self) -> str:
        """The reason, and why the search failed."""
        return self.why if self.failure is None else f"{self.why}; its end is not found: {self.failure}"

    def found(self) -> int | None:
        """Return the result of the search, None if it failed. Call it once the search is done."""
        assert self.search is not None, "a search was begun"
        try:
            return self.search.result()
        except (KafkaException, OSError) as error:
            self.failure = str(error)
            return None


def search(
    settings: Mapping[str, Any], topic: str, partition: int, base: int, start: int, *, ends: bool
) -> "Future[int | None]":
    """Find the offset at which reading can go on, on a thread of its own: `start` if the batch at `base` can be read by now.

    Else the first offset behind the batch if it `ends`, or None. `start` is an offset within the batch. Takes some 20 requests.
    The future raises KafkaException or OSError if Kafka does not answer.
    """
    future: Future[int | None] = Future()

    def run() -> None:
        try:
            consumer = Consumer({**settings, "error_cb": lambda _: None})
            try:
                if not _within(consumer, topic, partition, start, base):
                    future.set_result(start)
                else:
                    future.set_result(_end_of(consumer, topic, partition, base, start) if ends else None)
            finally:
                consumer.close()
        except BaseException as error:  # noqa: BLE001  # the future raises it
            if not future.done():
                future.set_exception(error)

    threading.Thread(target=run, name="damage", daemon=True).start()
    return future


def _end_of(consumer: Consumer, topic: str, partition: int, base: int, start: int) -> int:
    """Search with steps that double, and then by halves. Each batch has its own first offset, so no other one is skipped."""
    inside, step = start, 1
    while _within(consumer, topic, partition, inside + step, base):
        inside, step = inside + step, 2 * step
    behind = inside + step
    while behind - inside > 1:
        middle = (inside + behind) // 2
        if _within(consumer, topic, partition, middle, base):
            inside = middle
        else:
            behind = middle
    return behind


def _within(consumer: Consumer, topic: str, partition: int, offset: int, base: int) -> bool:
    """Whether `offset` is in the batch that begins at `base`. Raises OSError if Kafka sends nothing."""
    place = TopicPartition(topic, partition, offset)
    consumer.incremental_assign([place])
    try:
        waited_s = 0.0
        while waited_s < _WAIT_S:
            found = consumer.poll(_POLL_S)
            if found is None:
                waited_s += _POLL_S
            elif (inside := _inside(found, base)) is not None:
                return inside
        raise OSError(f"topic {topic}, partition {partition}: no record and no error from offset {offset} on")
    finally:
        unassign(consumer, [place])


def _inside(found: Message, base: int) -> bool | None:
    """Whether the answer comes from the batch at `base`; None if it does not show that."""
    error = found.error()
    if error is None or error.code() in {KafkaError._PARTITION_EOF, KafkaError._AUTO_OFFSET_RESET}:  # noqa: SLF001
        return False
    if error.code() in DAMAGED:
        return found.offset() == base
    if error.fatal():
        raise KafkaException(error)
    return None

"""Whether readers see what was committed, and which partitions have a transaction open.

After a kill Kafka 4.4.0 may count a transaction as committed without a marker in the partitions. The transaction is then open
for ever, and the next one of the same producer decides about its records. Used by the Kafka sink, on its thread.
"""

import contextlib
import time
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from actors.kafka_topic import client_settings, metadata_of

_TIMEOUT_S = 5.0
_STEP_S = 0.02
_LONGEST_S = 15.0
"""A marker comes within milliseconds. If a broker answers for this time without one, Kafka has left the transaction open."""


def consumer_of(settings: Mapping[str, Any], owner: str, level: str, **more: Any) -> Consumer:
    """Return a consumer of the isolation `level` in the group `owner`, with `more` settings."""
    return Consumer({**client_settings(settings), "group.id": owner, "isolation.level": level, **more})


def partitions_of(consumer: Consumer, topic: str) -> list[TopicPartition]:
    """Return the partitions of a topic, none if it is absent. Raises KafkaException."""
    about = metadata_of(consumer, topic, _TIMEOUT_S).topics[topic]
    if about.error is not None and about.error.code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
        raise KafkaException(about.error)
    return [TopicPartition(topic, number) for number in about.partitions]


def open_partitions(settings: Mapping[str, Any], topic: str, owner: str) -> list[int]:
    """Return the partitions in which a transaction is open, of any program. Raises KafkaException. Cost: some 30 ms."""
    ends: list[dict[int, int]] = []
    for level in ("read_committed", "read_uncommitted"):
        with contextlib.closing(consumer_of(settings, owner, level)) as consumer:
            ends.append(_ends(consumer, partitions_of(consumer, topic)))
    shown, written = ends
    return [number for number, end in written.items() if shown.get(number, 0) < end]


def _ends(consumer: Consumer, places: Iterable[TopicPartition]) -> dict[int, int]:
    """Return the offset of each partition up to which this consumer may read. Raises KafkaException."""
    return {place.partition: consumer.get_watermark_offsets(place, timeout=_TIMEOUT_S)[1] for place in places}


class _Commit(NamedTuple):
    checkpoint: int
    begins: Mapping[int, int]


class LeftOpenError(Exception):
    """Kafka has left a committed transaction open."""


class Commits:
    """Follows the transactions of one producer: where each begins, and whether readers see the one that was committed last."""

    def __init__(self, settings: Mapping[str, Any], topic: str, owner: str) -> None:
        self._settings = settings
        self._topic = topic
        self._owner = owner
        self.pending = False
        """Whether the open transaction has records, reported or not."""
        self._begins: dict[int, int] = {}
        self._newest: _Commit | None = None
        self._open_since: float | None = None
        self._consumer: Consumer | None = None

    def delivered(self, partition: int | None, offset: int | None) -> None:
        """Take the place of a record of the open transaction."""
        if partition is not None and offset is not None and partition not in self._begins:
            self._begins[partition] = offset

    def committed(self, checkpoint: int) -> None:
        """Take note that the open transaction is committed."""
        self._newest = _Commit(checkpoint, self._begins) if self._begins else None
        self._begins, self._open_since, self.pending = {}, None, False

    def wait(self, deadline: float) -> None:
        """Return once readers see the newest commit. Cost: mostly one request.

        Raises OSError at `deadline`, KafkaException if Kafka does not answer, LeftOpenError if readers never will.
        """
        while self._newest is not None:
            is_open, now = self._is_open(self._newest.begins), time.monotonic()
            self._open_since = self._open_since or now
            if not is_open:
                self._newest = None
            elif now - self._open_since > _LONGEST_S:
                raise LeftOpenError(f"Kafka has left the transaction of checkpoint {self._newest.checkpoint} open")
            elif now > deadline:
                raise OSError(f"readers do not see the results of checkpoint {self._newest.checkpoint} yet")
            else:
                time.sleep(_STEP_S)  # no other actor shares this thread

    def _is_open(self, begins: Mapping[int, int]) -> bool:
        """Whether the first open transaction of a partition is the one that begins there. An earlier one hides the answer."""
        if self._consumer is None:
            self._consumer = consumer_of(self._settings, self._owner, "read_committed")
        places = [TopicPartition(self._topic, number) for number in begins]
        try:
            return any(end == begins[number] for number, end in _ends(self._consumer, places).items())
        except KafkaException:
            # An idle consumer of librdkafka 2.16 may ask a leader that is gone for ever. A fresh one finds the new leader.
            self._drop_consumer()
            raise

    def forget(self) -> None:
        """Follow nothing, because the producer is dropped."""
        self._begins, self._newest, self.pending = {}, None, False
        self._drop_consumer()

    def _drop_consumer(self) -> None:
        if self._consumer is not None:
            self._consumer.close()
            self._consumer = None

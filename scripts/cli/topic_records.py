"""The first or the newest records of a topic. Joins no group, commits nothing and creates nothing in Kafka."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition

from actors.kafka_topic import client_settings

_TIMEOUT_S = 10.0
_NEXT = "start the broker, or correct its address or kafka.security.protocol"
_UNREACHABLE = {KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN, KafkaError._TIMED_OUT, KafkaError._RESOLVE}  # noqa: SLF001  # public names
_TAIL = -2_000
"""librdkafka's RD_KAFKA_OFFSET_TAIL_BASE: less a number, it is the place of that many records before the end."""


@dataclass(frozen=True, slots=True)
class Given:
    """A record: its place in words, its value and key, its time in Kafka, ms since 1970, and its headers."""

    place: str
    value: bytes | None
    key: bytes | None = None
    stamp: int = -1
    headers: Sequence[tuple[str, bytes | None]] = ()


class AbsentError(ValueError):
    """The topic does not exist."""


def of_topic(
    settings: Mapping[str, Any], topic: str, count: int, *, end: Literal["first", "newest"] = "first", each: int | None = None
) -> list[Given]:
    """Return records of a topic in the order of their times in Kafka: the first ones or the newest ones, `count` at most.

    `each` partition gives that many at most, or else `count`. Raises AbsentError if there is no such topic, and ValueError if
    it cannot be read within 10 s.
    """
    with _Looking(settings) as looking:
        return looking.records(topic, count, end=end, each=each)


def names_of_topics(settings: Mapping[str, Any]) -> list[str]:
    """Return the names of the topics of a cluster, without those of Kafka itself. Raises ValueError if it does not answer."""
    with _Looking(settings) as looking:
        return looking.names()


class _Looking:
    """A consumer that only looks, and the reasons why it cannot."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self._reasons: list[str] = []
        self._address = str(settings["bootstrap.servers"])
        own: dict[str, Any] = {
            **client_settings(settings),
            "group.id": "firnline-config-try",
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "enable.partition.eof": True,
            "allow.auto.create.topics": False,
            "auto.offset.reset": "earliest",
            "error_cb": lambda error: self._reasons.append(error.str()),
        }
        self._consumer = Consumer(own)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._consumer.close()

    def names(self) -> list[str]:
        """See `names_of_topics`."""
        try:
            return sorted(name for name in self._consumer.list_topics(timeout=_TIMEOUT_S).topics if not name.startswith("__"))
        except KafkaException as error:
            raise ValueError(f"{self._address}: {self._why(error)}") from None

    def records(self, topic: str, count: int, *, end: Literal["first", "newest"], each: int | None) -> list[Given]:
        """See `of_topic`."""
        deadline = time.monotonic() + _TIMEOUT_S
        try:
            partitions = self._partitions(topic)
            most = min(count, each or count)
            place = OFFSET_BEGINNING if end == "first" else _TAIL - most
            self._consumer.assign([TopicPartition(topic, number, place) for number in partitions])
            found = sorted(self._read(topic, dict.fromkeys(partitions, most), deadline), key=lambda one: one[0])
        except KafkaException as error:
            if error.args[0].code() in {KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC}:  # noqa: SLF001  # its public name
                raise AbsentError(f"topic {topic}: it does not exist") from None
            raise ValueError(f"topic {topic}: {self._why(error)}") from None
        return [given for _, given in (found[:count] if end == "first" else found[-count:])]

    def _why(self, error: KafkaException) -> str:
        self._consumer.poll(0)  # the reasons come through `error_cb`
        reason = next(iter(self._reasons), error.args[0].str())
        return f"{reason}: {_NEXT}" if error.args[0].code() in _UNREACHABLE else reason

    def _partitions(self, topic: str) -> list[int]:
        known = self._consumer.list_topics(topic, timeout=_TIMEOUT_S).topics[topic]
        if known.error is not None:
            raise KafkaException(known.error)
        return list(known.partitions)

    def _read(self, topic: str, wanted: dict[int, int], deadline: float) -> list[tuple[tuple[int, int, int], Given]]:
        """Return records of each partition, up to the number `wanted` of each, with their order."""
        found: list[tuple[tuple[int, int, int], Given]] = []
        while wanted:
            message = self._consumer.poll(max(0.0, deadline - time.monotonic()))
            if message is None:
                raise ValueError(f"topic {topic}: expected its records within {_TIMEOUT_S:.0f} s, got {len(found)}")
            partition: Any = message.partition()
            error = message.error()
            if error is not None and error.code() != KafkaError._PARTITION_EOF:  # noqa: SLF001  # its public name
                raise KafkaException(error)
            if partition not in wanted:
                continue
            if error is None:
                offset: Any = message.offset()
                value: Any = message.value()
                key: Any = message.key()
                headers: Any = message.headers()
                stamp = message.timestamp()[1]
                given = Given(f"{partition}/{offset}", value, key, stamp, tuple(headers or ()))
                found.append(((stamp, partition, offset), given))
                wanted[partition] -= 1
            if error is not None or not wanted[partition]:
                del wanted[partition]
                self._consumer.pause([TopicPartition(topic, partition)])
        return found

"""The writer of records that could not be taken in, to a topic of their own, as they came and with where they came from.

Used by who reads a stream; `scripts/replay.py` puts them back.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from actors.kafka_topic import ensure_topic

TOPIC, PARTITION, OFFSET, REASON = (f"firnline.{name}" for name in ("topic", "partition", "offset", "reason"))
"""The headers that a dead letter has besides its own."""

_PREPARE_S = 3.0
_AGAIN_S = 0.1
_MAKE_AGAIN_S = 5.0
_LONGEST_REASON = 1_000
_TUNING: dict[str, Any] = {
    "linger.ms": 5,
    "enable.idempotence": True,
    "message.timeout.ms": 0,
    "topic.metadata.propagation.max.ms": 300_000,
    "queue.buffering.max.messages": 100_000,
    "queue.buffering.max.kbytes": 16 << 10,
    "log_level": 0,
}


@dataclass(frozen=True, slots=True)
class Dead:
    """A record as it came, where it stood, and why it was not taken in."""

    value: bytes | None
    key: bytes | None
    headers: Sequence[tuple[str, bytes | None]]
    partition: int
    offset: int
    reason: str


class DeadLetterSink:
    """Writes the refused records of the topic `origin` to `topic`, created if absent. One actor owns it.

    `write` waits for nothing but the topic to be made, which it tries every five seconds until it is. What finds no room,
    100,000 records or 16 MiB, while Kafka is away, is given up, counted as `lost` and told; the records themselves are still in
    `origin`. A stream that starts again from a checkpoint writes some twice.
    """

    def __init__(self, settings: Mapping[str, Any], topic: str, *, origin: str, on_error: Callable[[str], None]) -> None:
        self._settings = settings
        self._topic = topic
        self._origin = origin
        self._on_error = on_error
        self._there = False
        self._make_at = 0.0
        self._producer = Producer({**_TUNING, **settings, "error_cb": lambda error: on_error(error.str())})
        self.written = 0
        self.delivered = 0
        self.lost = 0

    def write(self, records: Sequence[Dead]) -> None:
        """Hand the records to librdkafka, and look which of those before it has written. Cost: 3 us a record."""
        self._producer.poll(0)  # those make room
        lost = self.lost
        if not self._there and time.monotonic() >= self._make_at:
            try:
                self._make()
            except OSError as error:  # the records wait in librdkafka's queue
                self._make_at = time.monotonic() + _MAKE_AGAIN_S
                self._on_error(str(error))
        for record in records:
            self.written += 1
            added: list[tuple[str, bytes | None]] = [
                (TOPIC, self._origin.encode()),
                (PARTITION, b"%d" % record.partition),
                (OFFSET, b"%d" % record.offset),
                (REASON, record.reason[:_LONGEST_REASON].encode()),
            ]
            headers: list[Any] = [header for header in record.headers if not header[0].startswith("firnline.")] + added
            try:
                self._producer.produce(self._topic, record.value, record.key, headers=headers, on_delivery=self._settled)
            except BufferError:
                self.lost += 1
            except KafkaException as error:  # such as one that is larger than the topic takes
                self._settled(error.args[0], None)
        if self.lost > lost:
            self._on_error(f"topic {self._topic}: no room for {self.lost - lost} dead letters")

    def prepare(self) -> None:
        """Wait until Kafka has acknowledged all, three seconds at most.

        Raises OSError where that is not so by then.
        """
        if not self.written:
            return
        self._make()
        deadline = time.monotonic() + _PREPARE_S
        while len(self._producer):
            self._producer.flush(_AGAIN_S)
            if time.monotonic() > deadline:
                raise OSError(f"topic {self._topic}: Kafka has not acknowledged {len(self._producer)} dead letters")

    def close(self) -> None:
        """Wait a little for what is under way."""
        try:
            self.prepare()
        except OSError as error:
            self._on_error(str(error))

    def _make(self) -> None:
        if not self._there:
            ensure_topic(self._settings, self._topic, 1)
            self._there = True

    def _settled(self, error: KafkaError | None, _: Message | None) -> None:
        if error is None:
            self.delivered += 1
        else:
            self.lost += 1
            self._on_error(f"a dead letter for topic {self._topic} is given up: {error.str()}")

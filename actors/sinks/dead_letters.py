"""The sink of dead letters: refused records, written to a topic of their own with the place that they came from.

Used by the dead letter writer, on its thread. `scripts/replay.py` puts dead letters back.
"""

import contextlib
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from actors.kafka_topic import LOOKS_ONLY, ensure_topic, longest_record
from actors.kafka_trouble import Reasons
from actors.messages import Dead

TOPIC, PARTITION, OFFSET, REASON = (f"firnline.{name}" for name in ("topic", "partition", "offset", "reason"))
"""Headers that a dead letter has in addition to its own."""

_SECURE_S = 3.0
_FLUSH_S = 0.1
_MAKE_AGAIN_S = 5.0
_LONGEST_REASON = 1_000
_ADDED_BYTES = 2_048
"""The most bytes of the headers that a dead letter has in addition to its own."""

_TUNING: dict[str, Any] = {
    "linger.ms": 5,
    "enable.idempotence": True,
    "message.timeout.ms": 0,
    "topic.metadata.propagation.max.ms": 300_000,
    "queue.buffering.max.messages": 100_000,
    "queue.buffering.max.kbytes": 16 << 10,
    "log_level": 0,
    **LOOKS_ONLY,
}


class DeadLetterSink:
    """Writes the refused records of the topic `origin` to `topic`, which is created if absent. One actor owns it.

    librdkafka's queue holds 100,000 records or 16 MiB. Records beyond that are held here until the queue has room. A topic that
    is created takes the longest records of `origin` with the headers. A record that Kafka refuses, such as one that is longer
    than an existing topic takes, is given up, counted as `lost`, and reported to `on_error`.
    """

    def __init__(self, settings: Mapping[str, Any], topic: str, *, origin: str, on_error: Callable[[str], None]) -> None:
        self._settings = settings
        self._topic = topic
        self._origin = origin
        self._on_error = on_error
        self._make_at = 0.0
        self._held: deque[Dead] = deque()
        self._reasons = Reasons(settings, on_error)
        self._producer: Producer | None = None
        self.written = 0
        self.delivered = 0
        self.lost = 0

    @property
    def held(self) -> int:
        """The number of records that librdkafka had no room for yet."""
        return len(self._held)

    @property
    def unacknowledged(self) -> int:
        """The number of records that Kafka has neither acknowledged nor refused. `len(producer)` counts error events too."""
        return self.written - self.delivered - self.lost

    def write(self, records: Iterable[Dead]) -> None:
        """Hold `records` for the next `poll`. Never waits."""
        before = len(self._held)
        self._held.extend(records)
        self.written += len(self._held) - before

    def poll(self) -> None:
        """Take Kafka's acknowledgements, and hand the held records to librdkafka. Cost: 3 us a record.

        Waits up to twenty seconds for the topic and its limit, which is tried every five seconds until it succeeds.
        """
        if self._producer is not None:
            self._producer.poll(0)  # acknowledged records leave the queue
        elif time.monotonic() >= self._make_at:
            try:
                self._producer = self._connected()
            except OSError as error:  # records wait here
                self._make_at = time.monotonic() + _MAKE_AGAIN_S
                self._on_error(str(error))
        self._hand_over()

    def secure(self) -> bool:
        """Wait up to three seconds until Kafka has acknowledged all records. Returns whether it has; if not, reports why."""
        if not self.written:
            return True
        try:
            producer = self._producer = self._producer or self._connected()
        except OSError as error:
            self._on_error(str(error))
            return False
        deadline = time.monotonic() + _SECURE_S
        while self.unacknowledged:
            self._hand_over()
            producer.flush(_FLUSH_S)
            if time.monotonic() > deadline:
                missing = f"topic {self._topic}: Kafka has not acknowledged {self.unacknowledged} dead letters"
                self._on_error("; ".join([missing, *self._reasons.newest]))
                return False
        self._reasons.clear()
        return True

    def close(self) -> None:
        """Wait up to three seconds for the acknowledgements that are missing."""
        self.secure()

    def _connected(self) -> Producer:
        """Return a client that writes what the topic takes. Creates the topic if it is absent. Raises OSError if that fails."""
        ensure_topic(self._settings, self._topic, 1, longest=self._longest)
        try:
            return self._client({"message.max.bytes": longest_record(self._settings, self._topic)})
        except PermissionError:  # the topic's limit is unknown, so librdkafka's default applies
            return self._client({})

    def _longest(self) -> int | None:
        """Return the bytes of the longest dead letter of the topic `origin`; None if that is unknown."""
        with contextlib.suppress(OSError):
            return longest_record(self._settings, self._origin) + _ADDED_BYTES if self._origin else None
        return None

    def _client(self, limit: Mapping[str, int]) -> Producer:
        own: dict[str, Any] = {**_TUNING, **self._settings, **limit, "error_cb": self._reasons}
        return Producer(own)

    def _hand_over(self) -> None:
        """Give librdkafka as many of the held records as it has room for."""
        while self._held and self._producer is not None:
            record = self._held[0]
            added: list[tuple[str, bytes | None]] = [
                (TOPIC, self._origin.encode()),
                (PARTITION, b"%d" % record.partition),
                (OFFSET, b"%d" % record.offset),
                (REASON, record.reason[:_LONGEST_REASON].encode()),
            ]
            headers: list[Any] = [header for header in record.headers if not header[0].startswith("firnline.")] + added
            try:
                self._producer.produce(self._topic, record.value, record.key, headers=headers, on_delivery=self._delivered)
            except BufferError:  # the queue is full
                return
            except KafkaException as error:  # such as a record that is larger than the topic takes
                self._delivered(error.args[0], None)
            self._held.popleft()

    def _delivered(self, error: KafkaError | None, _: Message | None) -> None:
        if error is None:
            self.delivered += 1
        else:
            self.lost += 1
            self._on_error(f"a dead letter for topic {self._topic} is given up: {error.str()}")

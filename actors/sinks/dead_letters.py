"""The sink of dead letters: refused records, written to a topic of their own with the place that they came from.

Used by the dead letter writer, on its thread. `scripts/replay.py` puts dead letters back.
"""

import contextlib
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from actors.kafka_topic import LOOKS_ONLY, ensure_topic, longest_record, refuses_writes
from actors.kafka_trouble import Reasons
from actors.messages import Dead
from actors.sinks.reports import give_up, listen

TOPIC, PARTITION, OFFSET, REASON = (f"firnline.{name}" for name in ("topic", "partition", "offset", "reason"))
"""Headers that a dead letter has in addition to its own."""

_SECURE_S = 3.0
_STEP_S = 0.1
_MAKE_AGAIN_S = 5.0
_LONGEST_REASON = 1_000
_ADDED_BYTES = 2_048
"""The most bytes of the headers that a dead letter has in addition to its own."""

_ENDED = {
    KafkaError._FATAL,  # noqa: SLF001  # their public names
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
}
"""Errors of a record that end the client: another client may write the same record later."""

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
    than an existing topic takes, is given up, counted as `lost`, and reported to `on_error`. If librdkafka ends the client, or
    the right to write is missing, the records under way are held again for another client; some may then come twice.
    """

    def __init__(self, settings: Mapping[str, Any], topic: str, *, origin: str, on_error: Callable[[str], None]) -> None:
        self._settings = settings
        self._topic = topic
        self._origin = origin
        self._on_error = on_error
        self._make_at = 0.0
        self._held: deque[Dead] = deque()
        self._back: list[Dead] = []
        self._reasons = Reasons(settings, on_error)
        self._producer: Producer | None = None
        self._ended: KafkaError | None = None
        self.written = 0
        self.delivered = 0
        self.lost = 0

    @property
    def held(self) -> int:
        """The number of records that wait here, because librdkafka has no room for them or there is no client."""
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

        A client is made at the first call, and five seconds after the last one has failed or ended. That takes up to half a
        minute, because Kafka is asked for both topics' limits.
        """
        if time.monotonic() >= self._make_at:
            self._connect()
        self._go_on(0.0)

    def secure(self) -> bool:
        """Wait up to three seconds until Kafka has acknowledged all records. Returns whether it has; if not, reports why.

        If there is no client, one is made before, which takes as long as in `poll`.
        """
        if self.unacknowledged:
            self._connect()
        deadline = time.monotonic() + _SECURE_S
        while self.unacknowledged and self._producer is not None and time.monotonic() < deadline:
            self._go_on(_STEP_S)
        if self.unacknowledged:
            missing = f"topic {self._topic}: Kafka has not acknowledged {self.unacknowledged} dead letters"
            self._on_error("; ".join([missing, *self._reasons.newest]))
            return False
        self._reasons.clear()
        return True

    def close(self) -> None:
        """Wait for the acknowledgements that are missing, as `secure` does."""
        self.secure()

    def _go_on(self, timeout_s: float) -> None:
        """Take reports, for `timeout_s` at most, and hand the held records over. A client that has ended is dropped."""
        if self._producer is None:
            return
        self._hand_over()
        self._ended = listen(self._producer, timeout_s) or self._ended
        if self._ended is not None:
            self._drop(self._producer, self._ended)

    def _drop(self, producer: Producer, reason: KafkaError) -> None:
        """Hold the records under way again, and wait before another client is made."""
        give_up(producer)
        self._held.extendleft(reversed(self._back))
        self._back.clear()
        self._producer, self._ended, self._make_at = None, None, time.monotonic() + _MAKE_AGAIN_S
        refused = refuses_writes(self._settings, self._topic)
        why = f"Kafka refuses the right to WRITE topic {self._topic}" if refused else f"topic {self._topic}: {reason.str()}"
        self._on_error(f"{why}: {self.unacknowledged} dead letters wait")

    def _connect(self) -> None:
        """Make a client, unless there is one. If that fails, the records wait here, and `on_error` gets the reason."""
        try:
            self._producer = self._producer or self._connected()
        except OSError as error:
            self._make_at = time.monotonic() + _MAKE_AGAIN_S
            self._on_error(str(error))

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
        while self._held and self._producer is not None and self._ended is None:
            record = self._held[0]
            added: list[tuple[str, bytes | None]] = [
                (TOPIC, self._origin.encode()),
                (PARTITION, b"%d" % record.partition),
                (OFFSET, b"%d" % record.offset),
                (REASON, record.reason[:_LONGEST_REASON].encode()),
            ]
            headers: list[Any] = [header for header in record.headers if not header[0].startswith("firnline.")] + added
            report = partial(self._report, record)
            try:
                self._producer.produce(self._topic, record.value, record.key, headers=headers, on_delivery=report)
            except BufferError:  # the queue is full
                return
            except KafkaException as error:  # such as a record that is larger than the topic takes
                if self._ends(error.args[0]):
                    return
                self._lose(error.args[0])
            self._held.popleft()

    def _report(self, record: Dead, error: KafkaError | None, _: Message | None) -> None:
        """Take the report of one record. The records of a client that has ended are held again."""
        if error is None:
            self.delivered += 1
        elif self._ends(error):
            self._back.append(record)
        else:
            self._lose(error)

    def _ends(self, error: KafkaError) -> bool:
        """Return whether the client has ended, by this error or before."""
        if error.code() in _ENDED:
            self._ended = self._ended or error
        return self._ended is not None

    def _lose(self, error: KafkaError) -> None:
        """Give one record up."""
        self.lost += 1
        self._on_error(f"a dead letter for topic {self._topic} is given up: {error.str()}")

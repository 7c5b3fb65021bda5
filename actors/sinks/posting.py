"""The client that writes posted records to a stream's own topic, and reports when Kafka has acknowledged them.

Used by the writer, on its thread.
"""

import contextlib
import math
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import compress
from typing import Any, NamedTuple
from zlib import crc32

import numpy as np
from confluent_kafka import KafkaError, KafkaException, Message, Producer

from actors.kafka_topic import LOOKS_ONLY, ensure_topic, longest_record, may_write
from actors.kafka_trouble import Reasons
from actors.replies import Lasting

_BROKER_TIMEOUT_S = 5.0
_AGAIN_S = 0.05
_KEPT_S = 120.0
_MOST_QUEUED = 200_000
_TUNING: dict[str, Any] = {
    "linger.ms": 2,
    "enable.idempotence": True,
    "queue.buffering.max.messages": _MOST_QUEUED,  # some 100 MB
    "log_level": 0,
    **LOOKS_ONLY,
}
_UNKNOWN = {KafkaError._MSG_TIMED_OUT, KafkaError._TIMED_OUT, KafkaError._PURGE_INFLIGHT}  # noqa: SLF001  # their public names
"""Errors of a record that Kafka may have written all the same."""

_LASTING: dict[int, Lasting] = {
    KafkaError.MSG_SIZE_TOO_LARGE: "too large",
    KafkaError.TOPIC_AUTHORIZATION_FAILED: "forbidden",
    KafkaError.CLUSTER_AUTHORIZATION_FAILED: "forbidden",
    KafkaError.INVALID_RECORD: "invalid",
    KafkaError.INVALID_TIMESTAMP: "invalid",
    KafkaError.POLICY_VIOLATION: "invalid",
}
"""Errors that the same record would get again. Kafka reports a missing key as INVALID_RECORD."""


class Unwritten(NamedTuple):
    """Why records of a request are not written, or may not be. `lasting` is None if a repetition may succeed."""

    reason: str
    lasting: Lasting | None = None


Acknowledged = Callable[[Unwritten | None, dict[int, int]], None]
"""Gets the reason why not all records were written, or None, and the last offset by partition."""


class KafkaWriter:
    """Writes posted records to a stream's own topic. If it is absent it is created with `partitions` partitions, unless None.

    One actor owns it. Waits `timeout_s` for the topic. A record that is not acknowledged within two minutes is given up.
    """

    def __init__(self, settings: Mapping[str, Any], topic: str, *, partitions: int | None, timeout_s: float) -> None:
        self._settings = settings
        self._topic = topic
        self._wanted = partitions
        self._timeout_s = timeout_s
        self._reasons = Reasons(settings)
        self._longest: int | None = None
        self._dead = False
        self._producer = self._connect()
        self._partitions = 0

    def write(
        self, values: Sequence[bytes], keys: Sequence[bytes], done: Acknowledged, *, until: float = math.inf
    ) -> "Receipt":
        """Write each value with its key to the partition of the CRC32 of the key, in the order given. Cost: 2 us a record.

        Writes nothing if a record is longer than the topic takes, if the client's queue has no room for all, or if the topic is
        found after `until`.
        """
        count = self._count()
        receipt = Receipt(len(values), self._explained, done)
        if isinstance(count, Unwritten) or not values:
            receipt.refuse(count if isinstance(count, Unwritten) else None)
            return receipt
        if (refusal := self._refusal(values, keys, until)) is not None:
            receipt.refuse(refusal)
            return receipt
        places = np.fromiter(map(crc32, keys), np.int64, len(keys)) % count
        for number in np.unique(places).tolist():
            own = compress(zip(keys, values, strict=True), (places == number).tolist())
            records: list[dict[str, Any]] = [{"key": key, "value": value} for key, value in own]
            self._producer.produce_batch(self._topic, records, partition=number, on_delivery=receipt)
            refused = [record["_error"] for record in records if "_error" in record]
            for error in refused:
                receipt(error, None)
            if refused:
                self._partitions = 0  # the topic may have been recreated with fewer partitions
        return receipt

    def _refusal(self, values: Sequence[bytes], keys: Sequence[bytes], until: float) -> Unwritten | None:
        """Return why none of these records can be written."""
        longest = max(len(key) + len(value) for key, value in zip(keys, values, strict=True))
        if self._longest is not None and longest > self._longest:
            self._partitions = 0  # the next request reads the topic's limit again
            return Unwritten(f"topic {self._topic} takes records of {self._longest} bytes, and one has {longest}", "too large")
        if len(self._producer) + len(values) > _MOST_QUEUED:
            return Unwritten("earlier records fill the queue")
        if time.monotonic() >= until:
            return Unwritten("the topic was found too late")
        return None

    def write_to_all(self, key: bytes, value: bytes, done: Acknowledged) -> None:
        """Write one record to every partition, new ones included."""
        count = self._count(refresh=True)
        if isinstance(count, Unwritten):
            done(count, {})
            return
        receipt = Receipt(count, self._explained, done)
        for number in range(count):
            try:
                self._producer.produce(self._topic, value, key, number, on_delivery=receipt)
            except KafkaException as error:
                receipt(error.args[0], None)

    def poll(self) -> int:
        """Take acknowledgements. Returns the number of records that are not acknowledged yet."""
        self._listen(0.0)
        return len(self._producer)

    def close(self) -> None:
        """Wait up to five seconds for acknowledgements.

        `Producer.flush` may end with a SystemError: it calls a delivery report while it raises an exception.
        """
        deadline = time.monotonic() + _BROKER_TIMEOUT_S
        while len(self._producer) and time.monotonic() < deadline:
            self._listen(0.1)

    def _listen(self, timeout_s: float) -> None:
        """Take acknowledgements; wait up to `timeout_s` for the first of them."""
        try:
            self._producer.poll(timeout_s)
        except KafkaException:  # librdkafka has ended this client, and reports each of its records
            self._dead = True

    def _connect(self) -> Producer:
        """Make a client whose batches are not longer than the topic takes: Kafka refuses all records of a longer batch."""
        longest = {"message.max.bytes": self._longest} if self._longest is not None else {}
        timeout_ms = int(1000 * max(self._timeout_s, _KEPT_S))
        own: dict[str, Any] = {"message.timeout.ms": timeout_ms, "error_cb": self._reasons}
        return Producer({**_TUNING, **self._settings, **longest, **own})

    def _count(self, *, refresh: bool = False) -> int | Unwritten:
        """Return the number of partitions once the topic exists; the reason if that is not reported in time."""
        if self._dead:
            self._revive()
        if self._partitions and not refresh:
            return self._partitions
        deadline = time.monotonic() + self._timeout_s
        while (left := deadline - time.monotonic()) > 0:
            try:
                if self._wanted is not None:
                    ensure_topic(self._settings, self._topic, self._wanted)
                known = self._producer.list_topics(self._topic, timeout=left).topics[self._topic]
            except KafkaException as error:
                self._listen(0.0)  # the reasons of the connections
                return Unwritten("; ".join(self._reasons.newest) or error.args[0].str(), _LASTING.get(error.args[0].code()))
            except OSError as error:
                return Unwritten(str(error))
            if known.error is not None and known.error.code() in _LASTING:
                return Unwritten(known.error.str(), _LASTING[known.error.code()])
            if known.partitions:
                self._partitions = len(known.partitions)
                self._respect_limit()
                return self._partitions
            time.sleep(min(left, _AGAIN_S))  # a new topic takes a moment; no other actor shares this thread
        return Unwritten(f"topic {self._topic} does not exist")

    def _explained(self, error: KafkaError) -> Unwritten:
        """Return why a record was not written. Without the right to write, a client may end without naming the right."""
        self._dead = self._dead or error.code() == KafkaError._FATAL  # noqa: SLF001  # its public name
        lasting = _LASTING.get(error.code())
        if lasting is None and self._dead:
            with contextlib.suppress(OSError):
                if not may_write(self._settings, self._topic):
                    return Unwritten(f"Kafka refuses the right to WRITE topic {self._topic}", "forbidden")
        return Unwritten(error.str(), lasting)

    def _revive(self) -> None:
        """Replace a client that librdkafka has ended for good."""
        with contextlib.suppress(KafkaException):
            self._producer.purge()
        self.close()
        self._producer, self._dead = self._connect(), False
        self._reasons.clear()

    def _respect_limit(self) -> None:
        """Read how long a record of the topic may be. Without the right to read that, Kafka refuses what is too long."""
        try:
            longest = longest_record(self._settings, self._topic)
        except OSError:
            return
        if longest != self._longest:
            self.close()
            self._longest = longest
            self._producer = self._connect()


class Receipt:
    """Counts the acknowledgements of one request: `left` records have none yet, `unknown` ones may be written or not.

    `explained` returns the reason of an error, and `problem` is the first one.
    """

    def __init__(self, count: int, explained: Callable[[KafkaError], Unwritten], done: Acknowledged) -> None:
        self.left = count
        self.acknowledged = self.refused = self.unknown = 0
        self.problem: Unwritten | None = None
        self.offsets: dict[int, int] = {}
        self._explained = explained
        self._done = done

    def __call__(self, error: KafkaError | None, message: Message | None) -> None:
        """Take the report of one record."""
        if error is not None:
            self.problem = self.problem or self._explained(error)
            if error.code() in _UNKNOWN:
                self.unknown += 1
            else:
                self.refused += 1
        elif message is not None:
            partition, offset = message.partition(), message.offset()
            assert partition is not None, "a delivered record has a place"
            assert offset is not None, "a delivered record has a place"
            self.offsets[partition] = max(offset, self.offsets.get(partition, -1))
            self.acknowledged += 1
        self.left -= 1
        if not self.left:
            self._done(self.problem, self.offsets)

    def refuse(self, problem: Unwritten | None) -> None:
        """End the request without a record."""
        self.refused, self.left, self.problem = self.left, 0, problem
        self._done(problem, {})

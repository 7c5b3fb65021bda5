"""The client that writes posted records to a stream's own topic, and reports when Kafka has acknowledged them.

Used by the writer, on its thread.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import compress
from typing import Any
from zlib import crc32

import numpy as np
from confluent_kafka import KafkaError, KafkaException, Message, Producer

from actors.kafka_topic import LOOKS_ONLY, ensure_topic

_BROKER_TIMEOUT_S = 5.0
_AGAIN_S = 0.05

_KEPT_S = 120.0
_MOST_QUEUED = 200_000
_UNKNOWN = {KafkaError._MSG_TIMED_OUT, KafkaError._TIMED_OUT}  # noqa: SLF001  # their public names
"""Errors of a record that Kafka may have written all the same."""

Acknowledged = Callable[[str | None, dict[int, int]], None]
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
        self._producer = Producer(
            {
                "linger.ms": 2,
                "enable.idempotence": True,
                "queue.buffering.max.messages": _MOST_QUEUED,  # some 100 MB
                "log_level": 0,
                **LOOKS_ONLY,
                **settings,
                "message.timeout.ms": int(1000 * max(timeout_s, _KEPT_S)),
                "error_cb": lambda _: None,
            }
        )
        self._partitions = 0

    def write(
        self, values: Sequence[bytes], keys: Sequence[bytes], done: Acknowledged, *, until: float = math.inf
    ) -> "Receipt":
        """Write each value with its key to the partition of the CRC32 of the key, in the order given. Cost: 2 us a record.

        Writes nothing if the client's queue has no room for all, or if the topic is found after `until`.
        """
        count = self._count()
        receipt = Receipt(len(values), done)
        if not values or not count:
            receipt.refuse(None if count else "the topic has no partitions")
            return receipt
        if len(self._producer) + len(values) > _MOST_QUEUED:
            receipt.refuse("earlier records fill the queue")
            return receipt
        if time.monotonic() >= until:
            receipt.refuse("the topic was found too late")
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

    def write_to_all(self, key: bytes, value: bytes, done: Acknowledged) -> None:
        """Write one record to every partition, new ones included."""
        count = self._count(refresh=True)
        if not count:
            done("the topic has no partitions", {})
            return
        receipt = Receipt(count, done)
        for number in range(count):
            self._producer.produce(self._topic, value, key, number, on_delivery=receipt)

    def poll(self) -> int:
        """Take acknowledgements. Returns the number of records that are not acknowledged yet."""
        self._producer.poll(0)
        return len(self._producer)

    def close(self) -> None:
        """Wait up to five seconds for acknowledgements."""
        self._producer.flush(_BROKER_TIMEOUT_S)

    def _count(self, *, refresh: bool = False) -> int:
        """Return the number of partitions once the topic exists; 0 if that is not reported in time."""
        deadline = time.monotonic() + self._timeout_s
        count = 0 if refresh else self._partitions
        while not count and (left := deadline - time.monotonic()) > 0:
            try:
                if self._wanted is not None:
                    ensure_topic(self._settings, self._topic, self._wanted)
                known = self._producer.list_topics(self._topic, timeout=left).topics
            except (KafkaException, OSError):
                return 0
            count = self._partitions = len(known[self._topic].partitions)
            if not count:
                time.sleep(min(left, _AGAIN_S))  # a new topic takes a moment; no other actor shares this thread
        return count


class Receipt:
    """Counts the acknowledgements of one request: `left` records have none yet, `unknown` ones may be written or not."""

    def __init__(self, count: int, done: Acknowledged) -> None:
        self.left = count
        self.acknowledged = self.refused = self.unknown = 0
        self.problem: str | None = None
        self.offsets: dict[int, int] = {}
        self._done = done

    def __call__(self, error: KafkaError | None, message: Message | None) -> None:
        """Take the report of one record."""
        if error is not None:
            self.problem = self.problem or error.str()
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

    def refuse(self, problem: str | None) -> None:
        """End the request without a record."""
        self.refused, self.left, self.problem = self.left, 0, problem
        self._done(problem, {})

"""The client that writes what is posted to a stream's own topic, and says when Kafka has all of it.

Used by the writer, which has a thread of its own for it.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from itertools import compress
from typing import Any

import numpy as np
from confluent_kafka import KafkaError, KafkaException, Message, Producer

from actors.kafka_topic import ensure_topic

_BROKER_TIMEOUT_S = 5.0
_AGAIN_S = 0.05

Acknowledged = Callable[[str | None, dict[int, int]], None]
"""Takes the reason why not all records were taken, or None; and the last offset by partition."""


class KafkaWriter:
    """Writes what clients post to a stream's own topic, and says when Kafka has all of it. The writer owns it.

    The topic is created with so many `partitions` where it is absent, unless None. A record that is not acknowledged within
    `timeout_s` is given up, and never comes later.
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
                "queue.buffering.max.messages": 200_000,  # some 100 MB
                "log_level": 0,
                **settings,
                "message.timeout.ms": int(1000 * timeout_s),
                "error_cb": lambda _: None,
            }
        )
        self._partitions = 0

    def write(self, values: Sequence[bytes], shards: Sequence[int], done: Acknowledged) -> None:
        """Write each value to the partition that its shard says, in the order given. Cost: 2 us a record."""
        count = self._count()
        if not values or not count:
            done(None if count else "the topic has no partitions", {})
            return
        receipt = _Receipt(len(values), done)
        places = np.array(shards, np.int64) % count
        for number in np.unique(places).tolist():
            records: list[dict[str, Any]] = [{"value": value} for value in compress(values, (places == number).tolist())]
            self._producer.produce_batch(self._topic, records, partition=number, on_delivery=receipt)
            refused = [record["_error"] for record in records if "_error" in record]
            for error in refused:
                receipt(error, None)
            if refused:
                self._partitions = 0  # the topic may be another one by now, with fewer of them

    def write_to_all(self, key: bytes, value: bytes, done: Acknowledged) -> None:
        """Write one record to every partition, also those that are new by now."""
        count = self._count(anew=True)
        if not count:
            done("the topic has no partitions", {})
            return
        receipt = _Receipt(count, done)
        for number in range(count):
            self._producer.produce(self._topic, value, key, number, on_delivery=receipt)

    def poll(self) -> int:
        """Look for acknowledgements; returns how many records are still under way."""
        self._producer.poll(0)
        return len(self._producer)

    def close(self) -> None:
        """Wait a little for what is under way."""
        self._producer.flush(_BROKER_TIMEOUT_S)

    def _count(self, *, anew: bool = False) -> int:
        """Return the number of partitions, once the topic is there; 0 where that is not known in time."""
        deadline = time.monotonic() + self._timeout_s
        count = 0 if anew else self._partitions
        while not count and (left := deadline - time.monotonic()) > 0:
            try:
                if self._wanted is not None:
                    ensure_topic(self._settings, self._topic, self._wanted)
                known = self._producer.list_topics(self._topic, timeout=left).topics
            except (KafkaException, OSError):
                return 0
            count = self._partitions = len(known[self._topic].partitions)
            if not count:
                time.sleep(min(left, _AGAIN_S))  # a new topic takes a moment; the writer has this thread to itself
        return count


class _Receipt:
    """Counts down the acknowledgements of one request."""

    def __init__(self, count: int, done: Acknowledged) -> None:
        self._left = count
        self._done = done
        self._error: str | None = None
        self._offsets: dict[int, int] = {}

    def __call__(self, error: KafkaError | None, message: Message | None) -> None:
        """Take one report."""
        if error is not None:
            self._error = self._error or error.str()
        elif message is not None:
            partition, offset = message.partition(), message.offset()
            assert partition is not None, "a delivered record has a place"
            assert offset is not None, "a delivered record has a place"
            self._offsets[partition] = max(offset, self._offsets.get(partition, -1))
        self._left -= 1
        if not self._left:
            self._done(self._error, self._offsets)

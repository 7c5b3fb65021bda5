"""Sends records to Kafka at a rate. On the embedded broker it stays near the readers, because that broker drops old records.

Used by the producer.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable
from itertools import compress
from typing import Any

import numpy as np
from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition
from rich.console import Console

from scripts.produce.spec import Chunk

_AHEAD = 20_000
"""Unread records that a partition of the embedded broker may hold. It drops records beyond 100,000 or 5 MiB."""

_ASK_S = 0.05
_SLICE_S = 0.05
"""With a rate, the time for which records are sent at once."""

_MOST_AT_ONCE = 10_000
_MOST_ON_LEASH = 2_000
_QUIET_S = 1.0


def at_once(rate: float | None) -> int:
    """Return how many records to send at once, so that a rate is even."""
    return _MOST_AT_ONCE if rate is None else max(1, min(_MOST_AT_ONCE, int(rate * _SLICE_S)))


class Failures:
    """Counts the records that the broker refused, and keeps the first reason."""

    def __init__(self) -> None:
        self.count = 0
        self.first: str | None = None

    def __call__(self, error: Any, _: Any) -> None:
        """Take one delivery report; librdkafka is set to report only failures."""
        self.count += 1
        self.first = self.first or error.str()


class Leash:
    """Holds a producer back while the consumer group `group` is far behind it on the embedded broker."""

    def __init__(self, bootstrap: str, topic: str, group: str) -> None:
        self._reader = Consumer({"bootstrap.servers": bootstrap, "group.id": group})
        self._topic = topic
        self._sent: Counter[int] = Counter()
        self._committed: dict[int, int] = {}
        self._asked_at = 0.0

    def sent(self, partitions: list[int]) -> None:
        """Count records that were sent, by their partitions."""
        self._sent.update(partitions)

    def must_wait(self) -> bool:
        """Whether the next slice could leave a partition with too many unread records. Asks the broker at most every 50 ms."""
        if not self._sent or time.monotonic() - self._asked_at < _ASK_S:
            return self._ahead() > _AHEAD - _MOST_ON_LEASH
        self._asked_at = time.monotonic()
        self._committed = {
            place.partition: max(0, place.offset)
            for place in self._reader.committed([TopicPartition(self._topic, number) for number in self._sent], timeout=5)
        }
        return self._ahead() > _AHEAD - _MOST_ON_LEASH

    def begin(self, partitions: int) -> None:
        """Count the records that the partitions hold already."""
        for number in range(partitions):
            end = self._reader.get_watermark_offsets(TopicPartition(self._topic, number), timeout=5)[1]
            self._sent[number] = end

    def _ahead(self) -> int:
        return max((count - self._committed.get(number, 0) for number, count in self._sent.items()), default=0)


class Sending:
    """Sends chunks at a rate, and counts their records."""

    def __init__(self, bootstrap: str, topic: str, *, rate: float | None, leash: Leash | None, stop: threading.Event) -> None:
        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap,
                "linger.ms": 20,
                "batch.size": 1_000_000,
                "message.max.bytes": 8 << 20,
                "queue.buffering.max.messages": 500_000,
                "queue.buffering.max.kbytes": 512 << 10,
                "enable.idempotence": leash is None,
                "delivery.report.only.error": True,
                "message.timeout.ms": 30_000,
                "log_level": 3,
            }
        )
        self._topic = topic
        self._rate = rate
        self._leash = leash
        self._stop = stop
        self._began = time.monotonic()
        self._waited = False
        self.sent = 0
        self.failures = Failures()

    def send(self, chunk: Chunk, console: Console, on_progress: Callable[[int], None]) -> None:
        """Send a chunk, in slices that the rate and the leash allow. Stops early if interrupted or after a failure.

        After each slice `on_progress` gets the number of records sent so far.
        """
        size = at_once(self._rate) if self._leash is None else min(at_once(self._rate), _MOST_ON_LEASH)
        for low in range(0, len(chunk.values), size):
            self._await_turn(console)
            if self._stop.is_set() or self.failures.first:
                return
            self._slice(chunk.values[low : low + size], chunk.partitions[low : low + size])
            on_progress(self.sent)

    def finish(self) -> None:
        """Wait until the broker has acknowledged every record; after a failure, drop the records still in the queue."""
        while len(self._producer) and self.failures.first is None:
            self._producer.flush(0.5)
        if self.failures.first:
            self._producer.purge(in_flight=False)
            self._producer.flush(10)

    @property
    def delivered(self) -> int:
        """Records that the broker has acknowledged; exact after `finish`."""
        return self.sent - len(self._producer) - self.failures.count

    def _await_turn(self, console: Console) -> None:
        if self._rate is not None:
            due = self._began + self.sent / self._rate
            while not self._stop.is_set() and (remaining := due - time.monotonic()) > 0:
                self._producer.poll(min(remaining, 0.1))
        since = time.monotonic()
        while self._leash is not None and not self._stop.is_set() and not self.failures.first and self._leash.must_wait():
            if not self._waited and time.monotonic() - since > _QUIET_S:
                self._waited = True
                console.print("waiting for the service to read the records on the broker", style="dim")
            self._producer.poll(_ASK_S)

    def _slice(self, values: list[bytes], partitions: list[int]) -> None:
        # librdkafka uses the partition of a batch, and ignores that of a record in it.
        places = np.array(partitions)
        for number in set(partitions):
            self._to_partition(number, [{"value": value} for value in compress(values, (places == number).tolist())])
        if self._leash is not None:
            self._leash.sent(partitions)

    def _to_partition(self, number: int, records: list[dict[str, Any]]) -> None:
        """Give records to librdkafka; retry those that its queue has no room for. Any other refusal is a failure."""
        while records and not self.failures.first and not self._stop.is_set():
            taken = self._producer.produce_batch(self._topic, records, partition=number, on_delivery=self.failures)
            self.sent += taken
            refused = (
                [(record, record.pop("_error")) for record in records if "_error" in record] if taken < len(records) else []
            )
            for _, error in refused:
                if error.code() != KafkaError._QUEUE_FULL:  # noqa: SLF001  # its public name
                    self.failures.first = error.str()
            records = [record for record, _ in refused]
            self._producer.poll(0.05 if records else 0)

"""The client that writes posted records to a stream's own topic, and reports what Kafka answers.

Used by the writer, on its thread.
"""

import contextlib
import math
import time
from collections import deque
from collections.abc import Mapping, Sequence
from itertools import compress
from typing import Any
from zlib import crc32

import numpy as np
from confluent_kafka import KafkaError, KafkaException, Producer

from actors.kafka_topic import LOOKS_ONLY, ensure_topic, left_until, longest_record, metadata_of, refuses_writes
from actors.kafka_trouble import Reasons
from actors.replies import Lasting
from actors.sinks.receipt import Acknowledged, Receipt, Unwritten
from actors.sinks.reports import give_up, listen, listen_to_all

_BROKER_TIMEOUT_S = 5.0
_AGAIN_S = 0.05
_LAST_LOOK_S = 0.2
"""A request with less time may time out, and would hide that the topic is absent."""

_LIMIT_AGAIN_S = 5.0
_KEPT_S = 120.0
_MOST_QUEUED = 200_000
_TUNING: dict[str, Any] = {
    "linger.ms": 2,
    "enable.idempotence": True,
    "queue.buffering.max.messages": _MOST_QUEUED,  # some 100 MB
    "log_level": 0,
    **LOOKS_ONLY,
}
_LASTING: dict[int, Lasting] = {
    KafkaError.MSG_SIZE_TOO_LARGE: "too large",
    KafkaError.TOPIC_AUTHORIZATION_FAILED: "forbidden",
    KafkaError.CLUSTER_AUTHORIZATION_FAILED: "forbidden",
    KafkaError.INVALID_RECORD: "invalid",
    KafkaError.INVALID_TIMESTAMP: "invalid",
    KafkaError.POLICY_VIOLATION: "invalid",
}
"""Errors that the same record would get again. Kafka reports a missing key as INVALID_RECORD."""


class KafkaWriter:
    """Writes posted records to a stream's own topic. If it is absent it is created with `partitions` partitions, unless None.

    One actor owns it. A request waits up to `timeout_s` for the topic and its limit. A record that is not acknowledged within
    two minutes is given up. If librdkafka ends the client, one request for the user's rights takes up to five seconds more.
    """

    def __init__(self, settings: Mapping[str, Any], topic: str, *, partitions: int | None, timeout_s: float) -> None:
        self._settings = settings
        self._topic = topic
        self._wanted = partitions
        self._timeout_s = timeout_s
        self._reasons = Reasons(settings)
        self._longest: int | None = None
        self._limit_at = -math.inf
        self._dead = False
        self._forbidden: bool | None = None
        self._settled: deque[Receipt] = deque()
        self._producer = self._connect()
        self._partitions = 0

    def write(self, values: Sequence[bytes], keys: Sequence[bytes], done: Acknowledged, *, until: float = math.inf) -> Receipt:
        """Write each value with its key to the partition of the CRC32 of the key, in the order given. Cost: 2 us a record.

        Writes nothing if a record is longer than the topic takes, if the client's queue has no room for all, or if the topic is
        found after `until`. Then `done` is called at once, else by `poll` or `close` when all records are reported.
        """
        receipt = Receipt(len(values), self._explained, self._settled.append, done)
        if not values:
            return receipt.refuse(None)
        longest = max(len(key) + len(value) for key, value in zip(keys, values, strict=True))
        count = self._count(refresh=self._is_too_long(longest) and time.monotonic() >= self._limit_at)
        if isinstance(count, Unwritten):
            return receipt.refuse(count)
        if (refusal := self._refusal(len(values), longest, until)) is not None:
            return receipt.refuse(refusal)
        places = np.fromiter(map(crc32, keys), np.int64, len(keys)) % count
        for number in np.unique(places).tolist():
            own = compress(zip(keys, values, strict=True), (places == number).tolist())
            self._send(number, [{"key": key, "value": value} for key, value in own], receipt)
        return receipt

    def write_to_all(self, key: bytes, value: bytes, done: Acknowledged, *, until: float = math.inf) -> Receipt:
        """Write one record to every partition, new ones included; see `write`."""
        count = self._count(refresh=True)
        known = 0 if isinstance(count, Unwritten) else count
        receipt = Receipt(known, self._explained, self._settled.append, done)
        refusal = count if isinstance(count, Unwritten) else self._refusal(count, len(key) + len(value), until)
        if refusal is not None:
            return receipt.refuse(refusal)
        for number in range(known):
            self._send(number, [{"key": key, "value": value}], receipt)
        return receipt

    def poll(self) -> int:
        """Take acknowledgements. Returns the number of records that are not acknowledged yet."""
        self._dead = listen(self._producer, 0.0) is not None or self._dead
        self._settle()
        return len(self._producer)

    def close(self) -> None:
        """Wait up to five seconds for acknowledgements."""
        self._finish(_BROKER_TIMEOUT_S)

    # The records -----------------------------------------------------------------------------------------------------

    def _refusal(self, count: int, longest: int, until: float) -> Unwritten | None:
        """Return why none of `count` records can be written, the longest of which has `longest` bytes."""
        if self._is_too_long(longest):
            return Unwritten(f"topic {self._topic} takes records of {self._longest} bytes, and one has {longest}", "too large")
        if len(self._producer) + count > _MOST_QUEUED:
            return Unwritten("earlier records fill the queue")
        if time.monotonic() >= until:
            return Unwritten("the topic was found too late")
        return None

    def _is_too_long(self, nbytes: int) -> bool:
        return self._longest is not None and nbytes > self._longest

    def _send(self, number: int, records: list[dict[str, Any]], receipt: Receipt) -> None:
        """Give the client the records of one partition."""
        self._producer.produce_batch(self._topic, records, partition=number, on_delivery=receipt)
        for record in records:
            if "_error" in record:
                self._partitions = 0  # the topic may have been recreated with fewer partitions
                receipt(record["_error"], None)

    def _settle(self) -> None:
        """Call `done` of the requests whose records are all reported. Not during a report, because this may ask Kafka."""
        while self._settled:
            receipt = self._settled.popleft()
            receipt.done(receipt)

    def _explained(self, error: KafkaError) -> Unwritten:
        """Return why a record was not written. Without the right to write, a client may end without naming the right.

        Kafka is asked for the right once for each client.
        """
        self._dead = self._dead or error.code() == KafkaError._FATAL  # noqa: SLF001  # its public name
        lasting = _LASTING.get(error.code())
        if lasting == "too large" and self._longest is not None:
            self._partitions, self._limit_at = 0, -math.inf  # the limit has changed: the next request reads the new one
        if lasting is None and self._dead:
            if self._forbidden is None:
                self._forbidden = refuses_writes(self._settings, self._topic)
            if self._forbidden:
                return Unwritten(f"Kafka refuses the right to WRITE topic {self._topic}", "forbidden")
        return Unwritten(error.str(), lasting)

    # The client and the topic ----------------------------------------------------------------------------------------

    def _connect(self) -> Producer:
        """Make a client whose batches are not longer than the topic takes: Kafka refuses all records of a longer batch."""
        longest = {"message.max.bytes": self._longest} if self._longest is not None else {}
        timeout_ms = int(1000 * max(self._timeout_s, _KEPT_S))
        own: dict[str, Any] = {"message.timeout.ms": timeout_ms, "error_cb": self._reasons}
        return Producer({**_TUNING, **self._settings, **longest, **own})

    def _replace(self) -> None:
        """Make another client. Records that the old one still has under way are given up, and reported before."""
        give_up(self._producer)
        self._settle()
        self._producer, self._dead, self._forbidden = self._connect(), False, None
        self._reasons.clear()

    def _finish(self, timeout_s: float) -> bool:
        """Wait until all records are reported, for `timeout_s` at most. Return whether they are."""
        self._dead = listen_to_all(self._producer, timeout_s) is not None or self._dead
        self._settle()
        return not len(self._producer)

    def _count(self, *, refresh: bool) -> int | Unwritten:
        """Return the number of partitions once the topic exists; the reason if that is not reported in time."""
        if self._dead:
            self._replace()
        if self._partitions and not refresh:
            return self._partitions
        deadline = time.monotonic() + self._timeout_s
        while (found := self._look(deadline)) == 0:
            if deadline - time.monotonic() < _LAST_LOOK_S:
                return Unwritten(f"topic {self._topic} does not exist")
            time.sleep(_AGAIN_S)  # a new topic takes a moment; no other actor shares this thread
        if isinstance(found, int):
            if not self._respects_limit(deadline):
                return Unwritten(f"topic {self._topic} has another limit of length, and earlier records are under way")
            self._partitions = found
        return found

    def _look(self, deadline: float) -> int | Unwritten:
        """Create the topic if that is wanted. Return its number of partitions, 0 if it is absent; or why Kafka refuses."""
        try:
            if self._wanted is not None:
                left_s = deadline - time.monotonic()
                ensure_topic(self._settings, self._topic, self._wanted, timeout_s=left_s)
            known = metadata_of(self._producer, self._topic, left_until(deadline)).topics[self._topic]
        except KafkaException as error:
            self.poll()  # the reasons of the connections
            return Unwritten("; ".join(self._reasons.newest) or error.args[0].str(), _LASTING.get(error.args[0].code()))
        except OSError as error:
            return Unwritten(str(error))
        if known.error is not None and known.error.code() in _LASTING:
            return Unwritten(known.error.str(), _LASTING[known.error.code()])
        return len(known.partitions)

    def _respects_limit(self, deadline: float) -> bool:
        """Read how long a record of the topic may be, once in five seconds, and make a client for a limit that has changed.

        Returns False if earlier records are under way until `deadline`: then the client stays, because a new one would lose
        them. Without the right to read the limit, Kafka refuses what is too long.
        """
        now = time.monotonic()
        if now < self._limit_at:
            return True
        longest = self._longest
        with contextlib.suppress(OSError):
            longest = longest_record(self._settings, self._topic, timeout_s=left_until(deadline))
        if longest != self._longest:
            if not self._finish(min(_BROKER_TIMEOUT_S, left_until(deadline))):
                self._partitions = 0  # the next request tries again
                return False
            self._longest = longest
            self._replace()
        self._limit_at = now + _LIMIT_AGAIN_S
        return True

"""The transactions of one shard's writer in the checkpoint topic, each with the generation of the lease group.

Two fences. Kafka refuses a commit if the group has moved on since this process last had the shard, so a process that was frozen
changes nothing. And all holders of a shard have one transactional id, so a new holder ends at once what the last one left open.
The id alone would not do: a process that wakes just before it connects would fence off its replacement.
"""

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, Producer, TopicPartition

_TIMEOUT_S = 10.0
_ABORT_S = 2.0
_STEP_S = 0.05
_LIFE_MS = 300_000
_PASSED = (KafkaError.ILLEGAL_GENERATION, KafkaError.REBALANCE_IN_PROGRESS)
_WAITING = 16
"""The most records that wait for an acknowledgement, so that a large file takes little memory."""

Claim = Callable[[], Any]
"""Returns the group's metadata if this process still has the shard; None if not. Kafka judges the metadata at the commit."""


class PassedError(OSError):
    """Kafka has refused a commit, because the group has a newer generation than the claim.

    It is so for a moment while other processes join or leave, and for good if the shard has moved. Nothing is committed.
    """


class Writer:
    """Writes to partition `shard` of `topic`. Connecting ends an open transaction of an earlier holder.

    `ended` is asked while records wait. Every method raises OSError; make a new writer then, except after a PassedError.
    Not thread-safe.
    """

    def __init__(self, settings: Mapping[str, Any], topic: str, shard: int, claim: Claim, ended: Callable[[], bool]) -> None:
        self._topic = topic
        self._shard = shard
        self._claim = claim
        self._ended = ended
        self._failed: str | None = None
        self._claimed()
        own = {
            "transactional.id": f"{topic}-{shard}",
            "transaction.timeout.ms": settings.get("transaction.timeout.ms", _LIFE_MS),
            "linger.ms": 0,
            "log_level": 0,
        }
        with self._troubles("connect"):
            self._producer = Producer({**settings, **own})
            self._producer.init_transactions(_TIMEOUT_S)

    def begin(self) -> None:
        """Begin a transaction."""
        with self._troubles("begin"):
            self._producer.begin_transaction()

    def write(
        self,
        key: bytes,
        value: bytes | None,
        on_offset: Callable[[int], None] = lambda _: None,
        *,
        partition: int | None = None,
    ) -> None:
        """Write one record, to the partition of the shard unless another one is given; None deletes the key.

        `on_offset` gets its offset once Kafka has acknowledged it.
        """

        def delivered(error: KafkaError | None, message: Message) -> None:
            if error is not None:
                self._failed = error.str()
            else:
                on_offset(int(message.offset() or 0))

        place = self._shard if partition is None else partition
        with self._troubles("write"):
            self._producer.produce(self._topic, value, key, partition=place, on_delivery=delivered)
        self._wait(_WAITING)

    def flush(self) -> None:
        """Wait until every record is acknowledged."""
        self._wait(0)

    def commit(self, at: int) -> None:
        """Commit the records, and `at` as the offset of the newest manifest, unless Kafka has given the shard to another."""
        self.flush()
        place = TopicPartition(self._topic, self._shard, at)
        with self._troubles("commit"):
            try:
                self._producer.send_offsets_to_transaction([place], self._claimed(), _TIMEOUT_S)
            except KafkaException as error:
                if error.args[0].code() in _PASSED:
                    raise PassedError(f"topic {self._topic}: commit: {error.args[0].str()}") from error
                raise
            self._producer.commit_transaction(_TIMEOUT_S)

    def abort(self) -> None:
        """Abort the transaction, after a PassedError: another one may begin."""
        with self._troubles("abort"):
            self._producer.abort_transaction(_TIMEOUT_S)

    def close(self) -> None:
        """Abort what is open, if Kafka answers; else the next holder does."""
        with contextlib.suppress(KafkaException):
            self._producer.abort_transaction(_ABORT_S)

    def _claimed(self) -> Any:
        metadata = self._claim()
        if metadata is None:
            raise OSError(f"shard {self._shard} has moved to another process")
        return metadata

    def _wait(self, most: int) -> None:
        """Wait until at most `most` records wait for their acknowledgement."""
        deadline = time.monotonic() + _TIMEOUT_S
        self._poll(0)
        left = len(self._producer)
        while left > most and self._failed is None:
            self._poll(_STEP_S)
            before, left = left, len(self._producer)
            if left < before:
                deadline = time.monotonic() + _TIMEOUT_S
            if self._ended() or time.monotonic() > deadline:
                raise OSError(f"topic {self._topic}: {left} records are not acknowledged")
        if self._failed is not None:
            raise OSError(f"topic {self._topic}: {self._failed}")

    def _poll(self, timeout_s: float) -> None:
        """Have the callbacks called. An error that ends the client comes from here too."""
        with self._troubles("write"):
            self._producer.poll(timeout_s)

    @contextlib.contextmanager
    def _troubles(self, what: str) -> Iterator[None]:
        try:
            yield
        except (KafkaException, BufferError) as error:
            reason = error.args[0].str() if isinstance(error, KafkaException) else str(error)
            raise OSError(f"topic {self._topic}: {what}: {reason}") from error

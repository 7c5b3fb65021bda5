"""The receipt of a request to write records: what Kafka has reported about them, and why some are not written.

Used by the client that writes posted records and by the writer, on the writer's thread.
"""

from collections.abc import Callable
from typing import NamedTuple

from confluent_kafka import KafkaError, Message

from actors.replies import Lasting

_UNKNOWN = {KafkaError._MSG_TIMED_OUT, KafkaError._TIMED_OUT, KafkaError._PURGE_INFLIGHT}  # noqa: SLF001  # their public names
"""Errors of a record that Kafka may have written all the same."""


class Unwritten(NamedTuple):
    """Why records of a request are not written, or may not be. `lasting` is None if a repetition may succeed."""

    reason: str
    lasting: Lasting | None = None


class Receipt:
    """Counts the reports about one request: `left` records have none yet, `unknown` ones may be written or not.

    `offsets` has the last offset by partition. `settled` gets the receipt at the last report, during `Producer.poll`.
    `explained` returns the reason of an error. `done` gets the receipt once.
    """

    def __init__(
        self,
        count: int,
        explained: Callable[[KafkaError], Unwritten],
        settled: "Acknowledged",
        done: "Acknowledged",
    ) -> None:
        self.left = count
        self.acknowledged = self.refused = self.unknown = 0
        self.offsets: dict[int, int] = {}
        self.done = done
        self._explained = explained
        self._settled = settled
        self._error: KafkaError | None = None
        self._problem: Unwritten | None = None

    def explain(self) -> Unwritten | None:
        """Return why the first refused record is not written; None if no record is refused yet. May ask Kafka for rights."""
        if self._problem is None and self._error is not None:
            self._problem = self._explained(self._error)
        return self._problem

    def __call__(self, error: KafkaError | None, message: Message | None) -> None:
        """Take the report of one record. Asks Kafka nothing."""
        if error is not None:
            if self._error is None:
                self._error = error
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
            self._settled(self)

    def refuse(self, problem: Unwritten | None) -> "Receipt":
        """End the request without a record."""
        self.refused, self.left, self._problem = self.left, 0, problem
        self.done(self)
        return self


Acknowledged = Callable[[Receipt], None]
"""Gets the receipt of a request whose records are all reported."""

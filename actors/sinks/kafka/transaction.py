"""Kafka transactions, one at a time: results become visible together with the number of the checkpoint that has them.

Used by the Kafka sink. The number is the committed offset of a consumer group that no consumer uses; `marks.py` has the note
beside it. This file also decides what a failed request to Kafka means.
"""

import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer, TopicPartition

from actors.kafka_trouble import PASSING
from actors.sinks.kafka.marks import Note
from actors.sinks.kafka.visible import consumer_of
from actors.sinks.reports import listen_to_all
from actors.sinks.sink import Fenced, Refused

_TIMEOUT_S = 5.0
_LIBRARYS_TIMEOUT_S = 4.0
_LIFE_MS = 900_000
"""How long a transaction may stay open, unless the user sets it: the longest that a broker allows by default."""

_LIFE = "transaction.timeout.ms"
_SPARE = 1.5

_GROUP = {KafkaError.GROUP_AUTHORIZATION_FAILED}
_ID = {KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED}
_TOPIC = {KafkaError.TOPIC_AUTHORIZATION_FAILED}
_CLUSTER = {KafkaError.CLUSTER_AUTHORIZATION_FAILED}


def longest_s(settings: Mapping[str, Any]) -> float:
    """Return the most seconds between two commits for which a transaction surely lasts, with the user's `settings`."""
    return float(settings.get(_LIFE, _LIFE_MS)) / 1_000 / _SPARE


def begun(
    settings: Mapping[str, Any], tuning: Mapping[str, Any], topic: str, transactional_id: str, every_s: float
) -> "tuple[Producer, Transaction]":
    """Connect a producer, and begin its transactions. Fences off an earlier process, and aborts its open transaction.

    Without a setting of the user, a transaction may last as long as the broker allows, but at least 1.5 times the `every_s`
    seconds between two commits. Raises OSError if Kafka cannot do so now, or never with these settings.
    """
    wanted = int(settings.get(_LIFE, _LIFE_MS))
    least = wanted if _LIFE in settings else max(1_000, int(1_000 * _SPARE * every_s))
    while True:
        producer = Producer({**tuning, **settings, "transactional.id": transactional_id, _LIFE: wanted})
        try:
            return producer, Transaction(settings, producer, topic, transactional_id)
        except _TooLongError as error:
            if wanted <= least:
                reason = f"the broker allows no transaction of {wanted} ms, which is {_reason(settings, every_s)}"
                raise OSError(f"{reason}: raise the broker's transaction.max.timeout.ms, or lower that setting") from error
            wanted = max(least, wanted // 2)


def _reason(settings: Mapping[str, Any], every_s: float) -> str:
    return f"kafka.{_LIFE}" if _LIFE in settings else f"{_SPARE} times checkpoint.every_ms ({1_000 * every_s:.0f})"


class _TooLongError(Exception):
    """The broker does not allow transactions as long as the producer's `transaction.timeout.ms`."""


class Transaction:
    """The transactions of `producer`. The transactional id is also the group that holds the checkpoint's number for `topic`.

    Fences off an earlier process with the same id, and aborts its open transaction. Raises OSError if Kafka cannot do so now.
    """

    def __init__(self, settings: Mapping[str, Any], producer: Producer, topic: str, transactional_id: str) -> None:
        self._producer = producer
        self._topic = topic
        self._committing: Note | None = None
        self._asked: Future[None] | None = None
        self._id = transactional_id
        self.open = self.refused = False
        self.committed: Note | None = None
        try:
            _waited(_begun(lambda: producer.init_transactions(_LIBRARYS_TIMEOUT_S)))
            consumer = consumer_of(settings, transactional_id, "read_committed")
            try:
                self._group = consumer.consumer_group_metadata()
            finally:
                consumer.close()
        except KafkaException as error:
            if error.args[0].code() == KafkaError.INVALID_TRANSACTION_TIMEOUT:
                raise _TooLongError from error
            raise trouble_of(error, group=transactional_id) from error

    def begin(self) -> None:
        """Begin a transaction unless one is open. Sends no request."""
        if not self.open:
            try:
                self._producer.begin_transaction()
            except KafkaException as error:
                raise trouble_of(error) from error
            self.open = True

    def commit(self, note: Note) -> None:
        """Commit all delivered records and the note together. A second call with the same note continues the first.

        Raises OSError if the outcome is unknown, Refused or Fenced if the commit is impossible.
        """
        if note == self.committed:
            return
        if self._asked is None:
            self.begin()
            self._asked = _begun(lambda: self._commit(note))
        asked = self._asked
        try:
            _waited(asked)
        except KafkaException as error:
            trouble = trouble_of(error, read=self._topic, group=self._id)
            self.refused = isinstance(trouble, Refused)
            raise trouble from error
        except OSError as error:
            if not asked.done():
                # librdkafka is past its own time limit, and may never return although the broker is back. A new client can
                # find out whether the commit succeeded.
                raise Fenced(f"{error} to a commit") from error
            raise
        finally:
            if asked.done():
                self._asked = None
        self.committed, self._committing, self.open = note, None, False

    def abort(self) -> None:
        """Take back the records that are not committed. If Kafka does not answer, the next start aborts them."""
        if self.open:
            self.open = False
            try:
                _waited(_begun(lambda: self._producer.abort_transaction(_LIBRARYS_TIMEOUT_S)))
            except KafkaException as error:
                raise trouble_of(error) from error

    def take_back(self, partitions: Iterable[int]) -> None:
        """Abort what Kafka has left open of earlier transactions of this id in `partitions`. Waits five seconds at most.

        The abort of a transaction with a record in the partition ends both. Raises OSError, Refused or Fenced if that fails.
        """
        self.begin()
        reports: list[KafkaError | None] = []
        try:
            for number in partitions:
                self._producer.produce(self._topic, b"", partition=number, on_delivery=lambda error, _: reports.append(error))
        except KafkaException as error:
            raise trouble_of(error, write=self._topic) from error
        reports.insert(0, listen_to_all(self._producer, _TIMEOUT_S))
        refused = next((error for error in reports if error is not None), None)
        if refused is not None:
            raise trouble_of(KafkaException(refused), write=self._topic)
        if len(self._producer):
            raise OSError("Kafka does not answer")
        self.abort()

    def _commit(self, note: Note) -> None:
        if self._committing != note:
            place = TopicPartition(self._topic, 0, note.checkpoint, note.encode())
            self._producer.send_offsets_to_transaction([place], self._group, _LIBRARYS_TIMEOUT_S)
            self._committing = note
        self._producer.commit_transaction(_LIBRARYS_TIMEOUT_S)


def _begun(work: Callable[[], object]) -> Future[None]:
    """Run `work` on a thread of its own, because librdkafka exceeds its time limits while a connection is down."""
    future: Future[None] = Future()

    def run() -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001  # the future raises it
            future.set_exception(error)
        else:
            future.set_result(None)

    threading.Thread(target=run, name="transaction", daemon=True).start()
    return future


def _waited(asked: Future[None]) -> None:
    """Wait five seconds. Raises OSError if the work is not done by then, KafkaException if it failed."""
    try:
        asked.result(_TIMEOUT_S)
    except TimeoutError as error:
        raise OSError("Kafka does not answer") from error


def trouble_of(error: KafkaException, *, read: str = "", write: str = "", group: str = "") -> OSError | Fenced:
    """Return the error to raise for a failed call: Refused if a right is missing, OSError if it may be retried, else Fenced.

    `read` or `write` is the topic that the call reads or writes, and `group` the consumer group or transactional id that it
    uses: the error names the right by them.
    """
    reason: KafkaError = error.args[0]
    code = reason.code()
    if code in _TOPIC:
        return Refused(f"the right to WRITE topic {write}" if write else f"the right to READ and DESCRIBE topic {read}")
    if code in _GROUP:
        return Refused(f"the right to READ and DESCRIBE group {group}")
    if code in _ID:
        return Refused(f"the right to WRITE and DESCRIBE transactional id {group}")
    if code in _CLUSTER:
        return Refused("the right to use the cluster (IDEMPOTENT_WRITE, or CREATE for an absent topic)")
    passes = (reason.retriable() and not reason.txn_requires_abort()) or code in PASSING
    return OSError(reason.str()) if passes and not reason.fatal() else Fenced(reason.str())

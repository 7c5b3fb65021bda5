"""Kafka transactions, one at a time: results become visible together with the number of the checkpoint that has them.

Used by the Kafka sink. The number is the committed offset of a consumer group that no consumer uses. A process that restarts
reads it to find the checkpoint that the results in the topic belong to.
"""

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition

from actors.kafka_topic import client_settings
from actors.sinks.sink import Fenced

_TIMEOUT_S = 5.0
_LIBRARYS_TIMEOUT_S = 4.0
_LIFE_MS = 900_000
"""How long a transaction may stay open: the most that a broker allows by default."""

_PASSING = {
    KafkaError._TIMED_OUT,  # noqa: SLF001  # their public names
    KafkaError._TRANSPORT,  # noqa: SLF001
    KafkaError.NOT_COORDINATOR,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
}
"""Errors of a broker that starts. librdkafka does not mark all of them as worth a retry."""


def transaction_settings(transactional_id: str) -> dict[str, Any]:
    """Return the settings of a producer for transactions."""
    return {"transactional.id": transactional_id, "transaction.timeout.ms": _LIFE_MS}


class Transaction:
    """The transactions of `producer`. The transactional id is also the group that holds the checkpoint's number for `topic`.

    Fences off an earlier process with the same id, and aborts its open transaction. Raises OSError if Kafka cannot do so now.
    """

    def __init__(self, settings: Mapping[str, Any], producer: Producer, topic: str, transactional_id: str) -> None:
        self._producer = producer
        self._topic = topic
        self._committing: int | None = None
        self._asked: Future[None] | None = None
        self.open = False
        _waited(_begun(lambda: producer.init_transactions(_LIBRARYS_TIMEOUT_S)))
        try:
            consumer = Consumer(client_settings(settings) | {"group.id": transactional_id})
            try:
                self._group = consumer.consumer_group_metadata()
                (found,) = consumer.committed([TopicPartition(topic, 0)], timeout=_TIMEOUT_S)
            finally:
                consumer.close()
        except KafkaException as error:
            raise trouble_of(error) from error
        if found.error is not None:
            raise OSError(f"topic {topic}: {found.error.str()}")
        self.committed = max(0, int(found.offset))

    def begin(self) -> None:
        """Begin a transaction unless one is open. Sends no request."""
        if not self.open:
            try:
                self._producer.begin_transaction()
            except KafkaException as error:
                raise trouble_of(error) from error
            self.open = True

    def commit(self, checkpoint: int) -> None:
        """Commit all delivered records and the number together. A second call with the same number continues the first.

        Raises OSError if the outcome is unknown, Fenced if the commit is impossible.
        """
        if checkpoint == self.committed:
            return
        if self._asked is None:
            self.begin()
            self._asked = _begun(lambda: self._commit(checkpoint))
        asked = self._asked
        try:
            _waited(asked)
        except OSError as error:
            if not asked.done():
                # librdkafka is past its own time limit, and may never return although the broker is back. A new client can
                # find out whether the commit succeeded.
                raise Fenced(f"{error} to a commit") from error
            raise
        finally:
            if asked.done():
                self._asked = None
        self.committed, self._committing, self.open = checkpoint, None, False

    def abort(self) -> None:
        """Take back the records that are not committed. If Kafka does not answer, the next start aborts them."""
        if self.open:
            self.open = False
            _waited(_begun(lambda: self._producer.abort_transaction(_LIBRARYS_TIMEOUT_S)))

    def _commit(self, checkpoint: int) -> None:
        if self._committing != checkpoint:
            place = TopicPartition(self._topic, 0, checkpoint)
            self._producer.send_offsets_to_transaction([place], self._group, _LIBRARYS_TIMEOUT_S)
            self._committing = checkpoint
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
    """Wait five seconds. Raises OSError if the work is not done by then or may be retried, Fenced if a retry cannot help."""
    try:
        asked.result(_TIMEOUT_S)
    except TimeoutError as error:
        raise OSError("Kafka does not answer") from error
    except KafkaException as error:
        raise trouble_of(error) from error


def trouble_of(error: KafkaException) -> Fenced | OSError:
    """Return the error to raise for a failed call: OSError if it may be retried, else Fenced."""
    reason: KafkaError = error.args[0]
    if reason.retriable() and not reason.fatal() and not reason.txn_requires_abort():
        return OSError(reason.str())
    if reason.code() in _PASSING and not reason.fatal():
        return OSError(reason.str())
    return Fenced(reason.str())

"""One Kafka transaction after the other: results become visible together with the number of the checkpoint behind them.

Used by the Kafka sink. The number is the committed offset of a group of the transaction's own, so whoever starts again can
ask which checkpoint the results in the topic belong to.
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
"""How long one may stay open; brokers allow no more, unless they are told to."""


_PASSING = {
    KafkaError._TIMED_OUT,  # noqa: SLF001  # their public names
    KafkaError._TRANSPORT,  # noqa: SLF001
    KafkaError.NOT_COORDINATOR,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
}
"""What a broker says, or does not, while it starts; not all of it counts as worth another try with librdkafka."""


def transaction_settings(transactional_id: str) -> dict[str, Any]:
    """Return what a producer needs to know for transactions."""
    return {"transactional.id": transactional_id, "transaction.timeout.ms": _LIFE_MS}


class Transaction:
    """The transactions of `producer`, whose id is also the group that holds the checkpoint's number for `topic`.

    Fences a predecessor of the same id, and aborts what it left open. Raises OSError where Kafka cannot do that now.
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
        """Begin one, unless one is open. Asks no broker."""
        if not self.open:
            try:
                self._producer.begin_transaction()
            except KafkaException as error:
                raise trouble_of(error) from error
            self.open = True

    def commit(self, checkpoint: int) -> None:
        """Commit all that was delivered, and the number, at once. Called again with the same number it goes on.

        Raises OSError where that is not known to be done, Fenced where it cannot be done any more.
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
                # librdkafka is past its own time limit, and may never end, though the broker is back: another client can
                # tell what came of it.
                raise Fenced(f"{error} to a commit") from error
            raise
        finally:
            if asked.done():
                self._asked = None
        self.committed, self._committing, self.open = checkpoint, None, False

    def abort(self) -> None:
        """Take back what was not committed, as far as Kafka answers; what stays open holds readers back until a next start."""
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
    """Begin to do what librdkafka may not end in time: while a connection is down its own time limits do not hold."""
    future: Future[None] = Future()

    def run() -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001  # who waits gets it
            future.set_exception(error)
        else:
            future.set_result(None)

    threading.Thread(target=run, name="transaction", daemon=True).start()
    return future


def _waited(asked: Future[None]) -> None:
    """Wait some seconds. Raises OSError where it is not done by then, or may be tried again; else Fenced."""
    try:
        asked.result(_TIMEOUT_S)
    except TimeoutError as error:
        raise OSError("Kafka does not answer") from error
    except KafkaException as error:
        raise trouble_of(error) from error


def trouble_of(error: KafkaException) -> Fenced | OSError:
    """Return what the failure of one call means to the caller: OSError for what may be tried again."""
    told: KafkaError = error.args[0]
    if told.retriable() and not told.fatal() and not told.txn_requires_abort():
        return OSError(told.str())
    if told.code() in _PASSING and not told.fatal():
        return OSError(told.str())
    return Fenced(told.str())

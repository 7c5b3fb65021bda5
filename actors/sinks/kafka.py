"""The sink that writes results to a Kafka topic: at least once, and with a transactional id exactly once.

Used by the publisher, on its thread.
"""

import contextlib
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from actors.kafka_topic import LOOKS_ONLY, ensure_topic, longest_record
from actors.sinks.sink import Fenced, Sink
from actors.sinks.transaction import Transaction, transaction_settings, trouble_of

_BROKER_TIMEOUT_S = 5.0
_PREPARE_S = 3.0
_LONGEST_RECORD = 64 << 20

_TUNING: dict[str, Any] = {
    "linger.ms": 5,
    "enable.idempotence": True,
    "queue.buffering.max.messages": 10_000_000,
    "queue.buffering.max.kbytes": 1 << 20,
    "log_level": 0,
    **LOOKS_ONLY,
}


class KafkaSink(Sink):
    """Writes records to `topic`, which is created if absent. librdkafka retries without a limit of time.

    With a `transactional_id`, which no other process may use at the same time, records are written in transactions that
    `commit` ends. Readers of committed records then see the results of a checkpoint whole or not at all. Without the id a
    restart repeats the records written since its checkpoint.
    """

    delivered = 0

    def __init__(
        self,
        settings: Mapping[str, Any],
        topic: str,
        *,
        transactional_id: str | None = None,
        on_error: Callable[[str], None],
    ) -> None:
        self._settings = settings
        self._topic = topic
        self._id = transactional_id
        self._on_error = on_error
        self._producer: Producer | None = None
        self._transaction: Transaction | None = None
        self._held: deque[bytes] = deque()
        self._prepared = False
        self._broken: str | None = None

    def write(self, blocks: Iterator[bytes]) -> None:
        """Hand the records to librdkafka. The first call creates the topic if it is absent."""
        self._connect()
        self._prepared = False
        records = list(_records(blocks))
        self.written += len(records)
        self._held.extend(records)
        self._hand_over()

    def poll(self) -> None:
        """Take acknowledgements. Raises Fenced if the transaction is lost."""
        if self._producer is not None:
            self._listen(0.0)
            self._hand_over()

    def prepare(self) -> dict[str, int]:
        """Wait until Kafka has acknowledged all records, three seconds at most. Raises OSError after that."""
        self._prepared = False
        deadline = time.monotonic() + _PREPARE_S
        while self._held or (self._producer is not None and len(self._producer)):
            self._connect()
            self._hand_over()
            self._listen(max(0.0, min(0.1, deadline - time.monotonic())))
            if time.monotonic() > deadline:
                raise OSError(f"topic {self._topic}: Kafka has not acknowledged {self.written - self.delivered} records")
        self._prepared = True
        return {"written": self.written}

    def commit(self, checkpoint: int) -> None:
        """Commit the transaction together with the checkpoint's number. Cost: about 10 ms."""
        if self._id is None:
            return
        self._connect()
        assert self._transaction is not None, "connected with an id"
        assert self._prepared or checkpoint == self._transaction.committed, "a commit follows a prepare, with no write between"
        try:
            self._transaction.commit(checkpoint)
        except OSError as error:
            raise OSError(f"topic {self._topic}: {error}") from error
        except Fenced as error:
            raise Fenced(f"topic {self._topic}: {error}") from error
        self._prepared = False

    def committed(self) -> int | None:
        """Ask Kafka over a new connection, which aborts a transaction that an earlier process left open. None without an id."""
        if self._id is None:
            return None
        self._forget()
        self._connect()
        assert self._transaction is not None, "connected with an id"
        return self._transaction.committed

    def restore(self, place: Any | None) -> None:
        """Take back the records that are not committed. Without an id no record can be taken back."""
        if self._id is None:
            return
        if self._broken is not None or (self._transaction is not None and self._transaction.open):
            self._forget()  # the next connection aborts it
        self._held.clear()
        self._prepared = False
        self.written = self.delivered = 0 if place is None else int(place["written"])

    def close(self) -> None:
        """Wait five seconds at most for the records under way. Records that are not committed are taken back."""
        if self._producer is None:
            return
        if self._transaction is None:
            self._listen(_BROKER_TIMEOUT_S)
            return
        try:
            self._transaction.abort()
        except (OSError, Fenced) as error:
            self._on_error(f"topic {self._topic}: the transaction stays open: {error}")
        self._forget()

    def _connect(self) -> None:
        """Make the client, unless there is one."""
        if self._id is None and self._broken is not None:  # the client's records are given up; a new client may succeed
            self._forget()
        self._check()
        if self._producer is not None:
            return
        ensure_topic(self._settings, self._topic, 1)
        settings = {**_TUNING, **self._settings, "error_cb": lambda error: self._on_error(error.str())}
        if self._id is None:
            self._producer = Producer({"message.timeout.ms": 0, **settings})
            return
        # If Kafka refuses one record, the whole transaction is lost. So no record that is too large may reach it.
        settings["message.max.bytes"] = longest_record(self._settings, self._topic)
        producer = Producer({**settings, **transaction_settings(self._id)})
        self._transaction = Transaction(self._settings, producer, self._topic, self._id)
        self._producer = producer

    def _forget(self) -> None:
        """Drop the client and the records that it has under way."""
        if self._producer is not None:
            self._producer.purge()
            with contextlib.suppress(KafkaException):  # the client is broken, which is why it is dropped
                self._producer.flush(_BROKER_TIMEOUT_S)  # reports the purged records, so that they are counted
        self._producer = self._transaction = self._broken = None

    def _hand_over(self) -> None:
        """Give librdkafka as many of the held records as it has room for."""
        if self._broken is not None or not self._held:
            return
        assert self._producer is not None, "the sink connects before it holds records"
        if self._transaction is not None:
            self._transaction.begin()
        while self._held:
            try:
                self._producer.produce(self._topic, self._held[0], on_delivery=self._acknowledged)
            except BufferError:  # librdkafka's queue is full
                return
            except KafkaException as error:
                reason = error.args[0]
                if reason.code() != KafkaError.MSG_SIZE_TOO_LARGE and self._transaction is not None:
                    raise trouble_of(error) from error
                self._give_up(reason)
            self._held.popleft()

    def _acknowledged(self, error: KafkaError | None, _: Message | None) -> None:
        if error is None:
            self.delivered += 1
        elif self._transaction is None:
            self._give_up(error)
        else:
            self._broken = error.str()

    def _give_up(self, error: KafkaError) -> None:
        self.delivered += 1
        self._on_error(f"a record for topic {self._topic} is given up: {error.str()}")

    def _listen(self, timeout_s: float) -> None:
        """Take acknowledgements; wait up to `timeout_s` while some are missing."""
        assert self._producer is not None, "connected before"
        try:
            if timeout_s:
                self._producer.flush(timeout_s)
            else:
                self._producer.poll(0)
        except KafkaException as error:  # this client will never deliver a record again
            self._broken = error.args[0].str()
            self._on_error(error.args[0].str())
        self._check()

    def _check(self) -> None:
        """Raise Fenced if the transaction is lost."""
        if self._broken is not None and self._id is not None:
            raise Fenced(f"topic {self._topic}: {self._broken}")


def _records(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """Cut blocks into records. A record longer than any topic takes is cut to a length that is still too long for a topic."""
    begun = bytearray()
    for block in blocks:
        first, *lines = block.split(b"\n")
        begun += first[: _LONGEST_RECORD - len(begun)]
        if lines:
            yield bytes(begun)
            *whole, rest = lines
            yield from whole
            begun = bytearray(rest)

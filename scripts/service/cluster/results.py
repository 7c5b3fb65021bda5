"""The results of a stream in Kafka, of which one process at a time writes the next: the one that has the lease of shard 0.

Rows go to the output topic and, by their keys, to a compacted topic of the cluster, the book, in one transaction. It commits an
offset of the lease topic too, with the membership of the group, so Kafka refuses it once another process may have the lease. A
process that begins ends what the one before has under way, which has the same transactional id, and reads the book.
"""

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition

from actors.kafka_topic import LOOKS_ONLY, ensure_topic, longest_record
from actors.sinks.kafka.visible import consumer_of, open_partitions
from scripts.service.cluster.group import Grant
from scripts.service.cluster.topics import COMPACTED, ensure_own

_TIMEOUT_S = 10.0
_PATIENCE_S = 30.0
_STEP_S = 0.1
_LEAST_MS = 10_000


class Results:
    """Writes rows of JSON to the topic `output`, with the values of the members `key` as keys, and by `meaning` to `book`.

    `owner` is the transactional id. `leases` is the lease topic and the group. One actor owns it.
    """

    def __init__(
        self,
        settings: Mapping[str, Any],
        grant: Callable[[], Grant | None],
        *,
        leases: str,
        session_ms: int,
        owner: str,
        book: str,
        output: str,
        key: Sequence[str],
        meaning: str,
    ) -> None:
        self._settings = dict(settings)
        self._grant = grant
        self._leases = leases
        self._session_ms = session_ms
        self._owner = owner
        self._book = book
        self._output = output
        self._key = tuple(key)
        self._prefix = f"{output}/{meaning}/".encode()
        self._epoch: int | None = None
        self._producer: Producer | None = None

    def lease(self) -> int | None:
        """See the protocol."""
        grant = self._grant()
        return grant.epoch if grant is not None else None

    def begin(self, epoch: int, take: Callable[[bytes], None]) -> None:
        """See the protocol. Cost: some 0.3 s, and 2 us for each row in the book."""
        self.close()
        try:
            self._create_topics()
            self._producer = self._client()
            self._producer.init_transactions(_TIMEOUT_S)
            self._wait_for_markers()
            with contextlib.closing(self._reader()) as reader:
                self._read(reader, take)
        except KafkaException as error:
            self.close()
            raise OSError(f"topic {self._output}: {error.args[0].str()}") from error
        except OSError:
            self.close()
            raise
        self._epoch = epoch

    def write(self, lines: Sequence[tuple[bytes, bytes]]) -> None:
        """See the protocol. Cost: some 20 ms."""
        grant, producer = self._grant(), self._producer
        if producer is None or grant is None or grant.epoch != self._epoch:
            raise OSError(f"topic {self._output}: this process has no longer the lease of shard 0")
        try:
            producer.begin_transaction()
            for name, line in lines:
                producer.produce(self._output, line, self._key_of(line))
                producer.produce(self._book, line, self._prefix + name, partition=0)
            place = TopicPartition(self._leases, 0, grant.epoch + 1, self._owner)
            producer.send_offsets_to_transaction([place], grant.membership, _TIMEOUT_S)
            producer.commit_transaction(_TIMEOUT_S)
        except KafkaException as error:
            self.close()
            raise OSError(f"topic {self._output}: {error.args[0].str()}") from error

    def close(self) -> None:
        """See the protocol. What is not taken back now is taken back by the next process, or by Kafka after a while."""
        producer, self._producer, self._epoch = self._producer, None, None
        if producer is not None:
            with contextlib.suppress(KafkaException):
                producer.abort_transaction(_TIMEOUT_S)

    def _create_topics(self) -> None:
        """Create both topics unless they exist."""
        ensure_topic(self._settings, self._output, 1)
        longest_record(self._settings, self._output, keyed=bool(self._key))
        ensure_own(self._settings, self._book, 1, COMPACTED)

    def _client(self) -> Producer:
        """Return a client that writes in transactions."""
        return Producer(
            {
                "log_level": 0,
                **LOOKS_ONLY,
                **self._settings,
                "transactional.id": self._owner,
                "transaction.timeout.ms": max(_LEAST_MS, self._session_ms),
            }
        )

    def _key_of(self, line: bytes) -> bytes | None:
        if not self._key:
            return None
        members = msgspec.json.decode(line)
        return "/".join(str(members[name]) for name in self._key).encode()

    def _reader(self) -> Consumer:
        more = {"enable.partition.eof": True, "enable.auto.commit": False, "auto.offset.reset": "earliest"}
        return consumer_of(self._settings, self._leases, "read_committed", **more)

    def _wait_for_markers(self) -> None:
        """Wait until readers see how each transaction with records in the book has ended.

        They do once `init_transactions` has returned, unless Kafka has lost a marker when a broker was killed. To go on
        then would publish its rows twice.
        """
        deadline = time.monotonic() + _PATIENCE_S
        while open_partitions(self._settings, self._book, self._leases):
            if time.monotonic() > deadline:
                raise OSError(f"topic {self._book}: a transaction of an earlier process is still open")
            time.sleep(_STEP_S)

    def _read(self, reader: Consumer, take: Callable[[bytes], None]) -> None:
        """Read the rows of this output from the book."""
        reader.assign([TopicPartition(self._book, 0, 0)])
        heard_at = time.monotonic()
        while True:
            messages = reader.consume(10_000, _STEP_S)
            if messages:
                heard_at = time.monotonic()
            elif time.monotonic() - heard_at > _TIMEOUT_S:
                raise OSError(f"topic {self._book}: its end is not reached")
            for message in messages:
                error, name, value = message.error(), message.key(), message.value()
                if error is not None and error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001  # its public name
                    return
                if error is not None:
                    raise KafkaException(error)
                if isinstance(name, bytes) and name.startswith(self._prefix) and value is not None:
                    take(value)

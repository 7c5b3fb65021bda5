"""What this process announces in the lease topic: that it has a shard, and then that the shard answers.

Each announcement is a transaction that also commits an offset of the group, with the generation of the group. So Kafka refuses
it if another process may have the shard by now.
"""

from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from scripts.service.cluster.group import Group, membership_of
from scripts.service.cluster.records import Announced

_TIMEOUT_S = 10.0


class Announcer:
    """Announces shards of the process `me`. `client` makes a producer with some settings.

    It knows for each lease whether Kafka has acknowledged it, whether it was read back, whether the shard answers, and whether
    that is announced. For one thread, but for what `read_back` returns.
    """

    def __init__(self, client: Callable[[Mapping[str, Any]], Producer], group: Group, me: Announced, secret: bytes) -> None:
        self._client = client
        self._group = group
        self._me = me
        self._secret = secret
        self._producer: Producer | None = None
        self._acknowledged: dict[int, int] = {}
        self._read_back: dict[int, int] = {}
        self._ready: dict[int, int] = {}
        self._told: dict[int, int] = {}

    def connect(self) -> Producer:
        """Return the producer. The first call takes some 0.5 s. Raises KafkaException."""
        if self._producer is None:
            own = {
                "transactional.id": f"{self._group.topic}-{self._me.process}",
                "transaction.timeout.ms": self._group.session_ms,
                "linger.ms": 0,
                "log_level": 0,
            }
            made = self._client(own)
            made.init_transactions(_TIMEOUT_S)
            self._producer = made
        return self._producer

    def announce(self, member: Consumer, due: Mapping[int, int | None]) -> None:
        """Announce that this process has these shards; those with a lease, that they answer by it.

        Raises KafkaException if Kafka may have given them to others, or does not answer.
        """
        try:
            offsets = self._write(self.connect(), member, due)
        except KafkaException:
            self._producer = None  # a new client ends what this one has left open
            raise
        for shard, lease in due.items():
            if lease is None:
                self._acknowledged[shard] = offsets[shard]
            else:
                self._told[shard] = lease

    def _write(self, producer: Producer, member: Consumer, due: Mapping[int, int | None]) -> dict[int, int]:
        """Write and commit one record for each shard, and return its offset."""
        offsets = dict[int, int]()

        def delivered(error: KafkaError | None, message: Message) -> None:
            if error is None:
                offsets[int(message.partition() or 0)] = int(message.offset() or 0)

        producer.begin_transaction()
        for number, lease in due.items():
            announced = Announced(number, self._me.process, self._me.host, self._me.port, self._me.pid, lease)
            key, value = announced.record(self._secret)
            producer.produce(self._group.topic, value, key, partition=number, on_delivery=delivered)
        producer.flush(_TIMEOUT_S)
        _require(set(offsets) == set(due))
        places = [TopicPartition(self._group.topic, number, offset + 1) for number, offset in offsets.items()]
        producer.send_offsets_to_transaction(places, membership_of(member), _TIMEOUT_S)
        producer.commit_transaction(_TIMEOUT_S)
        return offsets

    def read_back(self, shard: int, epoch: int) -> Callable[[], None]:
        """Note that an announcement was read back. Return what is to be called once the shard answers, on any thread."""
        self._read_back[shard] = epoch
        return partial(self._ready.__setitem__, shard, epoch)

    def forget(self, shard: int) -> None:
        """Note that another process has a shard."""
        for known in (self._read_back, self._ready, self._told):
            known.pop(shard, None)

    def answering(self, shards: Collection[int]) -> dict[int, int]:
        """Return those of `shards` that answer by their newest lease, with that lease, if that is not announced yet."""
        ready = self._ready.copy()  # another thread adds to it
        return {
            shard: epoch
            for shard, epoch in self._read_back.items()
            if shard in shards and self._acknowledged.get(shard) == epoch == ready.get(shard) and self._told.get(shard) != epoch
        }

    @property
    def done(self) -> bool:
        """Whether each shard of this process is announced to answer."""
        return self._told == self._read_back


def _require(acknowledged: bool) -> None:
    """Raise KafkaException unless all records are acknowledged."""
    if not acknowledged:
        raise KafkaException(KafkaError(KafkaError._TIMED_OUT, "no acknowledgement in time"))  # noqa: SLF001  # its public name

"""Reads one partition of a checkpoint topic: its newest manifest, and the files that a manifest lists. Never writes."""

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Self

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from actors.columns.snapshot import DamagedError
from actors.kafka_trouble import PASSING
from scripts.service.cluster.checkpoints.manifest import Manifest, Part, is_manifest
from scripts.service.cluster.topics import READS

_TIMEOUT_S = 10.0
_STEP_S = 0.1
_SKIPPED = 8
"""Up to this number of records are read and left out, because that is faster than to seek past them."""

_OWN: dict[str, Any] = {
    **READS,
    "fetch.wait.max.ms": 50,
    "queued.min.messages": 16,
}


class Reader:
    """Reads partition `shard` of `topic` as the group `group`, whose committed offset is that of the newest manifest.

    `ended` is asked while records are awaited. Every method raises OSError if Kafka does not answer. Not thread-safe.
    """

    def __init__(
        self, settings: Mapping[str, Any], topic: str, shard: int, group: str, secret: bytes, ended: Callable[[], bool]
    ) -> None:
        self._topic = topic
        self._shard = shard
        self._secret = secret
        self._ended = ended
        self._consumer = Consumer({**settings, **_OWN, "group.id": group})
        self._next: int | None = None
        self.distrusts = False
        """Whether there was a manifest without the right proof."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._consumer.close()

    def committed(self) -> int:
        """Return the offset of the newest manifest as the group has it; 0 if it has none."""
        deadline = time.monotonic() + _TIMEOUT_S
        while True:
            try:
                (place,) = self._consumer.committed([TopicPartition(self._topic, self._shard)], deadline - time.monotonic())
                break
            except KafkaException as error:
                left_s = deadline - time.monotonic()
                if error.args[0].code() not in PASSING or left_s < _STEP_S or self._ended():
                    raise OSError(f"topic {self._topic}: {error.args[0].str()}") from error
                time.sleep(_STEP_S)
        if place.error is not None:
            raise OSError(f"topic {self._topic}: {place.error.str()}")
        return max(0, place.offset)

    def newest(self, at: int, claim: int) -> Manifest | None:
        """Return the newest manifest before the offset `claim`. It should be at the offset `at`, else all records are read.

        Waits until the record at `claim` can be read. Without a manifest with the right proof returns None.
        """
        for start in (at, 0):
            found: Manifest | None = None
            for message in self._records(start, claim + 1, waits=True):
                if is_manifest(message.key()):
                    manifest = Manifest.of(self._shard, message.value() or b"", self._secret)
                    self.distrusts |= manifest is None
                    found = manifest or found
            if found is not None:
                return found
        return None

    def pieces(self, part: Part) -> Iterator[bytes]:
        """Yield the bytes of a file, piece by piece. Raises DamagedError if a record of it is not where it should be."""
        keys = iter(part.keys)
        wanted = next(keys, None)
        if wanted is None:
            return
        for message in self._records(part.at, part.at + part.pieces):
            if message.key() != wanted:
                break
            yield message.value() or b""
            wanted = next(keys, None)
            if wanted is None:
                return
        raise DamagedError(f"{part.stream}/{part.name} is not whole in topic {self._topic}")

    def _records(self, start: int, end: int, *, waits: bool = False) -> Iterator[Message]:
        """Yield the committed records from offset `start` to `end`, or to the end of the partition unless this `waits`."""
        if self._next is None or not self._next <= start <= self._next + _SKIPPED:
            self._consumer.assign([TopicPartition(self._topic, self._shard, start)])
        self._next = start
        deadline = time.monotonic() + _TIMEOUT_S
        while self._next < end:
            if self._ended():
                raise OSError(f"shard {self._shard} ends")
            message = self._consumer.poll(_STEP_S)
            if message is None:
                if time.monotonic() > deadline:
                    raise OSError(f"topic {self._topic}: no record comes from partition {self._shard}")
                continue
            deadline = time.monotonic() + _TIMEOUT_S
            if (problem := message.error()) is not None:
                if problem.code() != KafkaError._PARTITION_EOF:  # noqa: SLF001  # its public name
                    raise OSError(f"topic {self._topic}: {problem.str()}")
                if not waits:
                    self._next = None
                    return
                continue
            self._next = _offset_of(message) + 1
            if start <= self._next - 1 < end:
                yield message
        if self._next > end:
            self._next = None


def _offset_of(message: Message) -> int:
    return int(message.offset() or 0)

"""Writes blocks to a topic by key: each transaction has them, how far they go, and the group's offset of that."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from confluent_kafka import Consumer, KafkaError, TopicPartition

from actors.cluster.rekeyed.source import BLOCK, STANDING
from scripts.service.cluster.checkpoints.fence import Claim, PassedError, Writer
from scripts.service.cluster.checkpoints.reader import Reader

_TIMEOUT_S = 10.0
_PASSING_S = 5.0
_AGAIN_S = 0.1
_STEP_S = 0.1
_LIFE_MS = 20_000
"""A transaction that is left open holds all readers of the topic back, until the next holder of the shard connects."""


class Outlet:
    """Writes for the shard `shard` while `claim` gives the membership of the lease `group`.

    `ensure` creates the topic if it is absent, and returns the bytes of its longest record.
    """

    def __init__(
        self, settings: Mapping[str, Any], topic: str, group: str, shard: int, claim: Claim, ensure: Callable[[], int]
    ) -> None:
        self._settings = {"compression.type": "lz4", "transaction.timeout.ms": _LIFE_MS, **settings}
        self._topic = topic
        self._group = group
        self._shard = shard
        self._claim = claim
        self._ensure = ensure
        self._ended = threading.Event()
        self._writer: Writer | None = None

    def holds(self) -> bool:
        """See the protocol."""
        return self._claim() is not None

    def begin(self) -> bytes | None:
        """See the protocol. Cost: some 0.2 s."""
        self.close()
        longest = self._ensure()
        self._writer = Writer(
            {**self._settings, "message.max.bytes": longest}, self._topic, self._shard, self._claim, self._ended.is_set
        )
        with Reader(self._settings, self._topic, self._shard, self._group, b"", self._ended.is_set) as reader:
            at = reader.committed()
        return self._standing(at) if at else None

    def write(self, blocks: Sequence[Sequence[bytes]], standing: bytes) -> None:
        """See the protocol. Cost: some 20 ms. If the group changes meanwhile, it is written again with the new membership."""
        began = time.monotonic()
        while True:
            try:
                return self._write(blocks, standing)
            except PassedError:
                if time.monotonic() - began > _PASSING_S or self._ended.wait(_AGAIN_S) or self._writer is None:
                    raise
                self._writer.abort()

    def close(self) -> None:
        """See the protocol."""
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()

    def _write(self, blocks: Sequence[Sequence[bytes]], standing: bytes) -> None:
        writer = self._writer
        if writer is None:
            raise OSError(f"topic {self._topic}: not connected")
        at: list[int] = []
        writer.begin()
        for each in blocks:
            for shard, block in enumerate(each):
                writer.write(BLOCK, block, partition=shard)
        writer.write(STANDING, standing, at.append)
        writer.flush()
        writer.commit(at[0])

    def _standing(self, at: int) -> bytes | None:
        """Return the record at an offset; None if retention has deleted it. It is committed, because the offset is."""
        own = {
            "group.id": self._group,
            "enable.auto.commit": False,
            "isolation.level": "read_uncommitted",  # transactions of other forwarders may be open before it
            "auto.offset.reset": "latest",
            "enable.partition.eof": True,
            "log_level": 0,
        }
        reader = Consumer({**self._settings, **own})
        try:
            reader.assign([TopicPartition(self._topic, self._shard, at)])
            deadline = time.monotonic() + _TIMEOUT_S
            while time.monotonic() < deadline:
                message = reader.poll(_STEP_S)
                if message is None:
                    continue
                error, value = message.error(), message.value()
                if error is not None and error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001  # its public name
                    return None
                if error is not None:
                    raise OSError(f"topic {self._topic}: {error.str()}")
                return value if message.offset() == at and message.key() == STANDING else None
            raise OSError(f"topic {self._topic}: no record comes from partition {self._shard}")
        finally:
            reader.close()

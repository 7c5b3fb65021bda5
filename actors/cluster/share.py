"""The source of a shard: the partitions p of a topic with p modulo `shards` = `shard`."""

from collections.abc import Iterable
from typing import Any

from actors.sources.kafka.source import KafkaSource


class SharedSource(KafkaSource):
    """Reads the partitions of one of `shards` shards. The other arguments are those of the base."""

    def __init__(self, *given: Any, shard: int, shards: int, **more: Any) -> None:
        self._shard, self._shards = shard, shards
        self._targets: dict[int, int] = {}
        self._partition_count = 0
        super().__init__(*given, **more)

    def caught_up(self) -> bool:
        """Return whether each partition is read to where it ended when this source first saw it. Any thread may call it.

        Cost: O(partitions).
        """
        targets = self._targets.copy()
        reached = self._next.copy()
        return self._reading and all(
            max(reached.get(number, -1), self._ends.reached(number)) >= end for number, end in targets.items()
        )

    def partition_count(self) -> int:
        """Return the number of partitions of the topic, of all shards, as last seen."""
        return self._partition_count

    def _begin(self, partitions: Iterable[int]) -> bool:
        known = set(partitions)
        self._partition_count = len(known)
        return super()._begin({number for number in known if number % self._shards == self._shard})

    def _range(self, number: int, wanted: int) -> tuple[int, int]:
        low, high = super()._range(number, wanted)
        self._targets.setdefault(number, high)
        return low, high

    def _unread(self) -> bool:
        return bool(self._next) and super()._unread()  # a topic may have fewer partitions than there are shards

    def _renew(self) -> None:
        super()._renew()
        self._targets = {}

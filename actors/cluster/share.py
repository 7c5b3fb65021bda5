"""The source of a shard: the partitions p of a topic with p modulo `shards` = `shard`."""

import math
import time
from collections.abc import Iterable
from typing import Any

from actors.sources.kafka.source import KafkaSource
from actors.sources.polled import Place, Polled


class SharedSource(KafkaSource):
    """Reads the partitions of one of `shards` shards. The other arguments are those of the base."""

    def __init__(self, *given: Any, shard: int, shards: int, **more: Any) -> None:
        self._shard, self._shards = shard, shards
        self._targets: dict[int, int] = {}
        self._partition_count = 0
        self._caught_up_at: float | None = None
        self._news_at = self._whole_at = -math.inf
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

    def caught_up_at(self) -> float | None:
        """Return when `caught_up` became true, monotonic; None if it is false. Any thread may call it. Cost: as `caught_up`."""
        at = self._caught_up_at
        return at if at is not None and self.caught_up() else None

    @property
    def news_at(self) -> float:
        """When the last record came, monotonic; -inf before the first one. Any thread may ask."""
        return self._news_at

    def whole_at(self, taken_at: float) -> float | None:
        """Return until when (monotonic) all records were read, by the leaders' answers; None if some came after `taken_at`.

        It is some 1 to 2 s ago, because the leaders are asked once a second; -inf before their first answers. Any thread may
        call it.
        """
        whole_at = self._whole_at  # before `news_at`, which `poll` sets first
        return whole_at if self._news_at <= taken_at else None

    def open(self, place: Place) -> bool:
        """Open as every source of Kafka, and forget what was read."""
        self._caught_up_at, self._whole_at = None, -math.inf
        return super().open(place)

    def poll(self, count: int, timeout_s: float) -> Polled:
        """Poll as every source of Kafka, and note how far. Cost: nothing for a record, and O(partitions) once a second."""
        began = time.monotonic()
        polled = super().poll(count, timeout_s)
        if len(polled.values):
            self._news_at = time.monotonic()
        known_at, ends = (self._reach.known_at, self._reach.ends) if self._next else (began, {})
        if known_at > self._whole_at and all(self._read_to(number) >= ends.get(number, math.inf) for number in self._next):
            self._whole_at = known_at
        if self._caught_up_at is None and self.caught_up():
            self._caught_up_at = time.monotonic()
        return polled

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

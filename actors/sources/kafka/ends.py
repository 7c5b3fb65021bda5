"""The ends of a topic's partitions: where they are, which are read to their end, and which have an open transaction behind it.

The Kafka source owns it. With `isolation.level: read_committed` librdkafka reports a partition as at its end if the next record
belongs to a transaction that is not committed yet. Only the high watermark shows that there are more records.
"""

import math
from collections.abc import Callable, Collection, Mapping
from collections.abc import Set as AbstractSet
from concurrent.futures import Future
from typing import Any

import numpy as np
from numpy.typing import NDArray

from actors.kafka_topic import offset_in

_HIGHS_S_A_PARTITION = 0.0005
_PERIOD_S = 0.2
_PERIOD_S_A_PARTITION = 0.0001
_AGAIN_S = 1.0


class Highs:
    """Keeps the offset after the last record of each partition, because asking librdkafka for thousands of them takes long.

    `high` returns that offset of one partition, as of the last fetch. It does not wait. Cost: 7 us.
    """

    def __init__(self, high: Callable[[int], int]) -> None:
        self._high = high
        self._at = -math.inf
        self._known: dict[int, int] = {}

    def of(self, partitions: AbstractSet[int], now: float) -> Mapping[int, int]:
        """Return the offset of each of `partitions`, as of now, or of many partitions as of 0.5 ms before for each at most.

        Cost: O(partitions); 7 us a partition if they are asked for.
        """
        if now - self._at >= len(partitions) * _HIGHS_S_A_PARTITION or self._known.keys() != partitions:
            self._at, self._known = now, {number: self._high(number) for number in partitions}
        return self._known


class Ends:
    """Follows the partitions that librdkafka has reported as at their end.

    `high` returns the offset after the last record of a partition, as of the last fetch, committed or not. `stable` asks the
    broker for the offset up to which each partition can be read, in the background. Neither waits.
    """

    def __init__(self, high: Callable[[int], int], stable: Callable[[Collection[int]], Mapping[int, Future[Any]]]) -> None:
        self._high = high
        self._stable = stable
        self._reached: dict[int, int] = {}
        self._asked: dict[int, Future[Any]] = {}
        self._looked_at = self._asked_at = 0.0
        self.held: dict[int, int | None] = {}
        """By partition with records that cannot be read yet: the first offset of an open transaction, None if it is unknown."""

    def after(self, read: NDArray[np.unsignedinteger[Any]], reached: Mapping[int, int], now: float) -> frozenset[int]:
        """Take in one poll: the partition of each record, and then the partitions reported as at their end, with the offset.

        Returns the partitions that are read to their end since the last call. Cost: 1 ns a record; 3 us for each partition at
        its end, five times a second, or of many partitions 0.1 ms later for each.
        """
        if self._reached and read.size:
            self.forget(np.flatnonzero(np.bincount(read)).tolist())
        self.forget(reached)
        self._reached |= reached
        look = now - self._looked_at >= _PERIOD_S + len(self._reached) * _PERIOD_S_A_PARTITION
        if look:
            self._looked_at = now
        ended = set(reached)
        for number in self._reached if look else reached:
            if self._high(number) > self._reached[number]:
                self.held.setdefault(number, None)
                ended.discard(number)
        if self.held:
            self._find_reasons(now)
        return frozenset(ended)

    def reached(self, partition: int) -> int:
        """Return the end that a partition was read to; -1 if it is not at its end."""
        return self._reached.get(partition, -1)

    def forget(self, partitions: Collection[int] | None = None) -> None:
        """Forget these partitions, or all of them: they were read on, or are not read any more."""
        for number in list(self._reached) if partitions is None else partitions:
            self._reached.pop(number, None)
            self.held.pop(number, None)
            self._asked.pop(number, None)

    def _find_reasons(self, now: float) -> None:
        """Ask the broker why records cannot be read. They may also be on their way, so only the broker's answer counts."""
        for number, asked in list(self._asked.items()):
            if asked.done():
                del self._asked[number]
                if offset_in(asked) == self._reached[number]:
                    self.held[number] = self._reached[number]
        unknown = [number for number, since in self.held.items() if since is None and number not in self._asked]
        if unknown and now - self._asked_at >= _AGAIN_S:
            self._asked_at = now
            self._asked |= self._stable(unknown)

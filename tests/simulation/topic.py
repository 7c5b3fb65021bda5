"""Kafka's side of a run: a topic with everything that will ever be written to it, and when.

Its partitions may come later, lose their oldest records, and the whole topic may be deleted and made again.
"""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple


class Record(NamedTuple):
    """A record: when it is written (seconds of the run), what it holds, and what a view should make of it."""

    at: float
    value: bytes | None
    truth: Any
    """The event; None where the record is none."""
    key: bytes | None = None
    poison: bool = False
    """Whether a slice fails at it."""
    stamp: int | None = None
    """The time that its producer gave it, ms of the run, where that is not when it was written."""

    @property
    def time(self) -> int:
        """The time that it has in Kafka, ms of the run."""
        return int(1000 * self.at) if self.stamp is None else self.stamp


class Partition:
    """A log. `records` in the order in which they are written; `deletions`: when which offset becomes the first one left."""

    def __init__(self, records: Sequence[Record], *, there_from: float, deletions: Sequence[tuple[float, int]] = ()) -> None:
        self.records = sorted(records, key=lambda record: record.at)
        self.there_from = there_from
        self._times = [record.at for record in self.records]
        self._deletions = deletions

    def with_records(self, records: Iterable[Record]) -> "Partition":
        """Return the same partition with other records, written at the same times."""
        return Partition(list(records), there_from=self.there_from, deletions=self._deletions)

    @property
    def complete_at(self) -> float:
        """When nothing changes any more."""
        return max([self.there_from, *self._times[-1:], *(at for at, _ in self._deletions)])

    def end(self, now: float) -> int:
        """Return the offset that the next record will get."""
        return bisect_right(self._times, now)

    def low(self, now: float) -> int:
        """Return the first offset that can be read."""
        return min(self.end(now), max((low for at, low in self._deletions if at <= now), default=0))


@dataclass(frozen=True)
class Life:
    """The topic from its making to its deletion."""

    identity: str
    since: float
    until: float
    partitions: Sequence[Partition]

    def there(self, now: float) -> list[int]:
        """Return the partitions that there are."""
        return [number for number, each in enumerate(self.partitions) if each.there_from <= now]


@dataclass
class SimulatedTopic:
    """All the lives of a topic, one after the other, perhaps with none in between."""

    lives: Sequence[Life]

    def current(self, now: float) -> int | None:
        """Return which life it is, or None where there is no topic."""
        return next((place for place, life in enumerate(self.lives) if life.since <= now < life.until), None)

    @property
    def records(self) -> list[Record]:
        """The records of all partitions of all lives."""
        return [record for life in self.lives for partition in life.partitions for record in partition.records]

    @property
    def complete_at(self) -> float:
        """When nothing is written any more, and nothing changes."""
        life = self.lives[-1]
        return max(life.since, *(each.complete_at for each in life.partitions))


@dataclass
class _Share:
    """Of one partition: up to where it was given out, and which ranges never were."""

    position: int = 0
    missed: list[tuple[int, int]] = field(default_factory=list)
    told: list[tuple[int, int]] = field(default_factory=list)
    """Those of the missed ones that the reader must have been told of: it had read before them."""


class Ledger:
    """Which records the reader was given, as far as it says itself where it goes on: what its answers must consist of."""

    def __init__(self, topic: SimulatedTopic) -> None:
        self._topic = topic
        self._shares: dict[int, dict[int, _Share]] = {}

    def begin(self, life: int, offsets: dict[int, int], *, afresh: bool) -> None:
        """Go on in `life` at `offsets`; what was given out beyond them does not count, nor, `afresh`, anything before."""
        if afresh:
            self._shares = {}
        self._shares.setdefault(life, {})  # also where nothing of it is given before there is another one
        for later in [number for number in self._shares if number > life]:
            del self._shares[later]
        for number, share in self._shares.get(life, {}).items():
            offset = offsets.get(number, 0)
            share.position = offset
            share.missed = [(low, min(high, offset)) for low, high in share.missed if low < offset]
            share.told = [(low, min(high, offset)) for low, high in share.told if low < offset]

    def missed(self, life: int, partition: int, low: int, high: int, *, told: bool) -> None:
        """Records from `low` to `high` were gone before they could be given."""
        share = self._share(life, partition)
        share.missed.append((low, high))
        if told:
            share.told.append((low, high))
        share.position = max(share.position, high)

    def gave(self, life: int, partition: int, position: int) -> None:
        """Everything before `position` was given."""
        self._share(life, partition).position = position

    def lives(self, *, to_come: bool = False) -> list[list[Record]]:
        """Return what was given, by life, in the order of each partition; with `to_come`, also what the newest life will give."""
        lives = self._given(to_come=to_come)
        return [
            [self._topic.lives[life].partitions[number].records[offset] for number, offset in places] for life, places in lives
        ]

    def refused(self) -> list[tuple[int, int, bytes | None]]:
        """Return the partition, the offset and the value of each record that was given and is no event."""
        return [
            (number, offset, record.value)
            for life, places in self._given(to_come=False)
            for number, offset in places
            if (record := self._topic.lives[life].partitions[number].records[offset]).truth is None
        ]

    def _given(self, *, to_come: bool) -> list[tuple[int, list[tuple[int, int]]]]:
        """Return the partition and the offset of each record that was given, by life."""
        newest = max(self._shares, default=0)
        given = []
        for life, shares in sorted(self._shares.items()):
            places: list[tuple[int, int]] = []
            for number, partition in enumerate(self._topic.lives[life].partitions):
                share = shares.get(number, _Share())
                end = len(partition.records) if to_come and life == newest else share.position
                at = 0
                for low, high in [*sorted(share.missed), (end, end)]:
                    places += [(number, offset) for offset in range(at, min(low, end))]
                    at = max(at, high)
            given.append((life, places))
        return given

    def whole(self, now: float) -> bool:
        """Whether all that there is was given."""
        life = self._topic.current(now)
        if life is None:
            return False
        shares = self._shares.get(life, {})
        partitions = self._topic.lives[life].partitions
        return all(shares.get(number, _Share()).position == partitions[number].end(now) for number in range(len(partitions)))

    @property
    def complete(self) -> bool:
        """Whether nothing was gone before it could be given."""
        return not any(share.missed for shares in self._shares.values() for share in shares.values())

    def lost(self) -> list[Record]:
        """Return the records of which the reader was told that they are missing."""
        return [
            record
            for life, shares in self._shares.items()
            for number, share in shares.items()
            for low, high in share.told
            for record in self._topic.lives[life].partitions[number].records[low:high]
        ]

    def _share(self, life: int, partition: int) -> _Share:
        return self._shares.setdefault(life, {}).setdefault(partition, _Share())

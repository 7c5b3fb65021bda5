"""The topic of a run, with all records and the times at which they are written.

Partitions may be added later, the oldest records may be deleted, and the topic may be deleted and created again.
"""

import copy
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple


class Record(NamedTuple):
    """A record: the time at which it is written (seconds of the run), its value, and the event that a view should decode."""

    at: float
    value: bytes | None
    truth: Any
    """The event, or None if the view must refuse the record."""
    key: bytes | None = None
    poison: bool = False
    """Whether a slice fails at it."""
    stamp: int | None = None
    """The producer's timestamp, ms of the run. None: the time at which the record is written."""

    @property
    def time(self) -> int:
        """The record's timestamp in Kafka, ms of the run."""
        return int(1000 * self.at) if self.stamp is None else self.stamp


class Partition:
    """A log. `records` are in the order of writing. A deletion is a time, and the first offset that remains at that time."""

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
        """The time of the last change."""
        return max([self.there_from, *self._times[-1:], *(at for at, _ in self._deletions)])

    def end(self, now: float) -> int:
        """Return the offset that the next record will get."""
        return bisect_right(self._times, now)

    def low(self, now: float) -> int:
        """Return the first offset that can be read."""
        return min(self.end(now), max((low for at, low in self._deletions if at <= now), default=0))


@dataclass(frozen=True)
class Life:
    """The topic from its creation to its deletion."""

    identity: str
    since: float
    until: float
    partitions: Sequence[Partition]

    def there(self, now: float) -> list[int]:
        """Return the partitions that exist."""
        return [number for number, each in enumerate(self.partitions) if each.there_from <= now]


@dataclass
class SimulatedTopic:
    """The lives of a topic, one after the other. Between two lives there may be no topic."""

    lives: Sequence[Life]

    def current(self, now: float) -> int | None:
        """Return the index of the current life, or None if there is no topic."""
        return next((place for place, life in enumerate(self.lives) if life.since <= now < life.until), None)

    @property
    def records(self) -> list[Record]:
        """The records of all partitions of all lives."""
        return [record for life in self.lives for partition in life.partitions for record in partition.records]

    @property
    def complete_at(self) -> float:
        """The time of the last write or other change."""
        life = self.lives[-1]
        return max(life.since, *(each.complete_at for each in life.partitions))


@dataclass
class _Share:
    """The records of one partition that were given: those before `position`, except for the `missed` ranges."""

    position: int = 0
    missed: list[tuple[int, int]] = field(default_factory=list)
    reported: list[tuple[int, int]] = field(default_factory=list)
    """The missed ranges that the reader must report as gaps, because it had read records before them."""


class Ledger:
    """The records that the reader was given, up to the offsets at which it continues. Its answers must consist of these."""

    def __init__(self, topic: SimulatedTopic) -> None:
        self._topic = topic
        self._shares: dict[int, dict[int, _Share]] = {}
        self.read_again = False
        """Whether the present process, after a failure before its first checkpoint, has begun again with the earliest record."""
        self.forgotten = False
        """Whether it had been given records of a topic that is gone before it has begun again."""

    def copy(self) -> "Ledger":
        """Return the ledger of another reader that begins with the same records."""
        made = Ledger(self._topic)
        made._shares = copy.deepcopy(self._shares)
        made.read_again, made.forgotten = self.read_again, self.forgotten
        return made

    def start(self) -> None:
        """Enter that a process starts that has no checkpoint: no record was given to it."""
        self._shares, self.read_again, self.forgotten = {}, False, False

    def begin(self, life: int, offsets: dict[int, int], *, afresh: bool) -> None:
        """Continue in `life` at `offsets`: records beyond them do not count as given. If `afresh`, no record does."""
        if afresh:
            given = {number for number, shares in self._shares.items() if any(share.position for share in shares.values())}
            self.read_again |= bool(given)
            self.forgotten |= bool(given - {life})
            self._shares = {}
        self._shares.setdefault(life, {})  # even if no record of this life is given
        for later in [number for number in self._shares if number > life]:
            del self._shares[later]
        for number, share in self._shares.get(life, {}).items():
            offset = offsets.get(number, 0)
            share.position = offset
            share.missed = [(low, min(high, offset)) for low, high in share.missed if low < offset]
            share.reported = [(low, min(high, offset)) for low, high in share.reported if low < offset]

    def missed(self, life: int, partition: int, low: int, high: int, *, reported: bool) -> None:
        """Enter that the records from `low` up to `high` were deleted before they could be given."""
        share = self._share(life, partition)
        share.missed.append((low, high))
        if reported:
            share.reported.append((low, high))
        share.position = max(share.position, high)

    def gave(self, life: int, partition: int, position: int) -> None:
        """Enter that every record before `position` was given."""
        self._share(life, partition).position = position

    def lives(self, *, to_come: bool = False) -> list[list[Record]]:
        """Return the given records by life, in the order of each partition; with `to_come`, also the later records of the newest life."""
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
        """Whether every existing record was given."""
        life = self._topic.current(now)
        if life is None:
            return False
        shares = self._shares.get(life, {})
        partitions = self._topic.lives[life].partitions
        return all(shares.get(number, _Share()).position == partitions[number].end(now) for number in range(len(partitions)))

    @property
    def complete(self) -> bool:
        """Whether no record was deleted before it could be given."""
        return not any(share.missed for shares in self._shares.values() for share in shares.values())

    def lost(self) -> list[Record]:
        """Return the records in the gaps that the reader must report."""
        return [
            record
            for life, shares in self._shares.items()
            for number, share in shares.items()
            for low, high in share.reported
            for record in self._topic.lives[life].partitions[number].records[low:high]
        ]

    def _share(self, life: int, partition: int) -> _Share:
        return self._shares.setdefault(life, {}).setdefault(partition, _Share())

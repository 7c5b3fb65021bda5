"""The records of a chaos run, by view. Event times are out of order by less than the lateness.

`load.py` sends the records.
"""

import heapq
import json
from collections.abc import Iterator
from random import Random
from typing import NamedTuple
from zlib import crc32

PARTITIONS = {"sets": 3, "top": 4, "segments": 5, "uniques": 3, "words": 2, "funnel": 3}
"""Partitions of the topic of each view."""

LATENESS_MS = 500
WITHIN_MS = 2_000
STEPS = ("created", "paid", "shipped")
_DISORDER_MS = 400
_JUNK = 0.01
_LOST = 0.0005
_CLOSING = 16
"""Events that end a stretch of sets in each partition: enough to move the watermark past all earlier events."""


class Record(NamedTuple):
    """A record that is sent to a partition."""

    partition: int
    value: bytes


class Maker:
    """Makes the records of one view. The event times of each call of `next` follow those of the call before."""

    def __init__(self, seed: str, partitions: int) -> None:
        self.chance = Random(seed)
        self.partitions = partitions

    def next(self, count: int) -> Iterator[Record]:
        """Make about `count` records, in the order in which they are sent."""
        raise NotImplementedError

    def at_time(self, second: int) -> Record | None:
        """Make an event of this time, in seconds since 1970; None if events of the view have no time."""
        del second
        return None

    def closing(self) -> tuple[int, list[Record]] | None:
        """Make the events that end a stretch, with the time before which all is decided; None if nothing has to be decided."""
        return None

    def junk(self, value: bytes) -> bytes:
        """Return `value`, or sometimes a part of it that is no event."""
        return value[: self.chance.randrange(len(value))] if self.chance.random() < _JUNK else value


class Sets(Maker):
    """Events of three steps, some milliseconds apart, shuffled within the lateness, with some junk."""

    at = 1_685_695_916_000

    def next(self, count: int) -> Iterator[Record]:
        """Make events."""
        found = []
        for _ in range(count):
            self.at += self.chance.randrange(20)
            found.append((self.at + self.chance.randrange(_DISORDER_MS), self.at))
        for _, time_ms in sorted(found):
            yield Record(self.chance.randrange(self.partitions), self._value(time_ms))

    def closing(self) -> tuple[int, list[Record]]:
        """Make the events that end a stretch. Return the time of the first one: all earlier events can be ordered then."""
        begin = self.at = self.at + 2 * LATENESS_MS
        made = []
        for _ in range(_CLOSING):
            for partition in range(self.partitions):
                made.append(Record(partition, b"%c_%d" % (self.chance.choice(b"RGB"), self.at)))
                self.at += 1
        self.at += LATENESS_MS
        return begin, made

    def at_time(self, second: int) -> Record:
        """Make an event of any step."""
        return Record(self.chance.randrange(self.partitions), b"%c_%d" % (self.chance.choice(b"RGB"), 1_000 * second))

    def _value(self, time_ms: int) -> bytes:
        if self.chance.random() < _JUNK:
            return self.chance.choice([b"", b"X_1685695916000", b"R_", b"G_12x", b"B1685695916000", b"r_1685695916000"])
        return b"%c_%d" % (self.chance.choice(b"RGB"), time_ms)


class Top(Maker):
    """Ids with values, most of them new. Each id keeps to one partition."""

    count = 0

    def next(self, count: int) -> Iterator[Record]:
        """Make upserts. A third of them change an id that exists."""
        for _ in range(count):
            self.count += self.chance.random() < 0.6
            name = b"id%08x" % (self.chance.randrange(self.count + 1) if self.chance.random() < 0.4 else self.count)
            value = b"%s_%d" % (name, self.chance.randrange(-(10**5), 10**5))
            yield Record(crc32(name) % self.partitions, b"no value" if self.chance.random() < _JUNK else value)


class Segments(Maker):
    """Batches of ten segments, interleaved. Some segments are repeated, some with other numbers; a few are never sent."""

    def __init__(self, seed: str, partitions: int) -> None:
        super().__init__(seed, partitions)
        self._batch = 0
        self._made: list[Record] = []

    def next(self, count: int) -> Iterator[Record]:
        """Make segments; some batches stay incomplete until a later call."""
        while len(self._made) < count + 50:
            self._batch += 1
            for place in range(10):
                self._made.append(self._segment(place))
                if self.chance.random() < 0.01:
                    self._made.append(self.chance.choice([self._made[-1], self._segment(place)]))
        for _ in range(count):
            # A repeated segment follows at least some places later, so that this list alone decides which one is first.
            record = self._made.pop(self.chance.randrange(30))
            if self.chance.random() < _LOST:
                continue
            if (junk := self.junk(record.value)) != record.value:
                yield Record(record.partition, junk)
            yield record

    def _segment(self, place: int) -> Record:
        data = sorted(self.chance.randrange(10**6) for _ in range(self.chance.randrange(1, 12)))
        value = json.dumps({"batch_id": self._batch, "segment_id": place, "data": data}).encode()
        return Record(place % self.partitions, value)


class Uniques(Maker):
    """Frames of some hundred users, half a second apart. Some frames are minutes late."""

    at = 1_468_244_384.0

    def next(self, count: int) -> Iterator[Record]:
        """Make frames."""
        for _ in range(count):
            self.at += self.chance.random()
            late = self.chance.randrange(300) if self.chance.random() < 0.02 else 0
            made = self._frame(round(self.at - late, 3))
            yield made._replace(value=self.junk(made.value))

    def at_time(self, second: int) -> Record:
        """Make a frame."""
        return self._frame(second)

    def _frame(self, second: float) -> Record:
        frame = {"page": "/shop", "ts": second, "uid": f"u{self.chance.randrange(700)}", "v": [1, {}]}
        return Record(self.chance.randrange(self.partitions), json.dumps(frame).encode())


class Words(Maker):
    """Events of a few types and words, a tenth of a second apart."""

    at = 1_513_765_893.0

    def next(self, count: int) -> Iterator[Record]:
        """Make events."""
        for _ in range(count):
            self.at += 0.2 * self.chance.random()
            made = self.at_time(int(self.at))
            yield made._replace(value=self.junk(made.value))

    def at_time(self, second: int) -> Record:
        """Make an event of a few words."""
        words = " ".join(f"w{min(int(self.chance.expovariate(0.05)), 300)}" for _ in range(self.chance.randrange(5)))
        kind = self.chance.choice(["foo", "bar", "baz"])
        event = {"event_type": kind, "data": words, "timestamp": second}
        return Record(self.chance.randrange(self.partitions), json.dumps(event).encode())


class Funnel(Maker):
    """Orders of three steps, most of them complete in time, shuffled within the lateness. Some keys come again.

    Each key keeps to one partition.
    """

    at = 1_685_695_916_000
    _count = 0

    def __init__(self, seed: str, partitions: int) -> None:
        super().__init__(seed, partitions)
        self._pending: list[tuple[int, int, str]] = []

    def next(self, count: int) -> Iterator[Record]:
        """Make events. Later steps of some orders come in a later call."""
        found: list[tuple[int, Record]] = []
        while len(found) < count:
            self.at += self.chance.randrange(20)
            if self.chance.random() < 0.4:
                self._begin()
            while self._pending and self._pending[0][0] <= self.at:
                time_ms, step, key = heapq.heappop(self._pending)
                found.append((time_ms + self.chance.randrange(_DISORDER_MS), self._record(key, STEPS[step], time_ms)))
        for _, record in sorted(found):
            yield record._replace(value=self.junk(record.value))

    def closing(self) -> tuple[int, list[Record]]:
        """Make the events that end a stretch, of keys of their own. All that began before is final after them."""
        self._pending.clear()
        begin = self.at + 2 * LATENESS_MS
        self.at = begin + WITHIN_MS + 2 * LATENESS_MS
        made = []
        for _ in range(_CLOSING):
            for partition in range(self.partitions):
                made.append(self._record(f"c{self.at}", STEPS[0], self.at)._replace(partition=partition))
                self.at += 1
        self.at += LATENESS_MS
        return begin, made

    def _begin(self) -> None:
        """Begin an order: some of its steps are lacking, late, twice, or in another order."""
        self._count += self.chance.random() < 0.8
        key, time_ms = f"A{self._count - self.chance.randrange(3)}", self.at
        for step in range(len(STEPS)):
            for _ in range(self.chance.choices([0, 1, 2], [1, 12, 1])[0]):
                heapq.heappush(self._pending, (time_ms, step, key))
            time_ms += self.chance.randrange(self.chance.choice([0, 300, 1_500]) + 1)

    def _record(self, key: str, step: str, time_ms: int) -> Record:
        value = json.dumps({"id": key, "type": step, "at": time_ms}).encode()
        return Record(crc32(key.encode()) % self.partitions, value)


MAKERS: dict[str, type[Maker]] = {
    "sets": Sets,
    "top": Top,
    "segments": Segments,
    "uniques": Uniques,
    "words": Words,
    "funnel": Funnel,
}
"""The maker of records of each view."""

"""A source that reads a simulated topic, with the irregularities of a real broker. It implements `Source`."""

import random
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from actors.columns.values import Values
from actors.sources.polled import Gap, Place, Polled
from tests.simulation.clock import SimulatedClock
from tests.simulation.faults import Faults, TroubleError
from tests.simulation.topic import Ledger, Record, SimulatedTopic


class SimulatedSource:
    """Reads `topic`, and enters each record that it gives into `ledger`. A slow partition gives nothing for at most `slow_s`.

    Some slow partitions are reported as held by an open transaction.
    """

    finished = False
    endless = True

    def __init__(
        self,
        topic: SimulatedTopic,
        ledger: Ledger,
        clock: SimulatedClock,
        chance: random.Random,
        faults: Faults,
        *,
        slow_s: float,
    ) -> None:
        self._topic = topic
        self._ledger = ledger
        self._clock = clock
        self._chance = chance
        self._faults = faults
        self._slow_s = slow_s
        self._life: int | None = None
        self._next: dict[int, int] = {}
        self._reported: set[int] = set()
        self._only: int | None = None
        self._held: dict[int, float] = {}
        self._gaps: list[Gap] = []
        self._opened = False
        self._epoch = 0

    def open(self, place: Place) -> bool:
        if self._faults.strikes("open"):
            raise TroubleError("the broker is away")
        life = self._topic.current(self._clock.now())
        if life is None or self._faults.strikes("unseen"):
            return False
        self._epoch = place.epoch
        self._only = None
        self._reported.clear()
        self._opened = True
        self._next = dict(place.offsets)
        known = next((number for number, each in enumerate(self._topic.lives) if each.identity == place.identity), life)
        self._ledger.begin(known, self._next, afresh=place.identity is None and not place.offsets)
        self._life = known
        if known != life:
            self._begin_again(life)
        return self.extend()

    def extend(self) -> bool:
        now = self._clock.now()
        if self._life is None or self._topic.current(now) != self._life:
            return False
        life = self._topic.lives[self._life]
        for number in filter(self._reads, life.there(now)):
            low = life.partitions[number].low(now)
            if number not in self._next and low:
                self._ledger.missed(self._life, number, 0, low, reported=False)
            self._next.setdefault(number, low)
            self._skip(number, now)
        return True

    def rest(self, timeout_s: float) -> None:
        """Wait for nothing: else time would pass for all actors."""

    def poll(self, count: int, timeout_s: float) -> Polled:
        assert self._opened, "open the source before reading"
        now = self._clock.now()
        ended: set[int] = set()
        life = self._topic.current(now)
        if life != self._life:
            ended = set(self._next)
            if life is None:
                return polled([], frozenset(ended), self._epoch)
            self._begin_again(life)
        if self._faults.strikes("poll"):
            raise TroubleError("connection cut")
        found = [] if self._faults.strikes("empty poll") else self._found(count, now)
        if self._faults.strikes("poll after reading"):
            raise TroubleError("connection cut in the middle of an answer")
        if not found:
            self._clock.advance(timeout_s)
        ended -= {partition for partition, _, _ in found}
        return replace(polled(found, frozenset(ended | self._at_end(now)), self._epoch), held=self._transactions(now))

    def _transactions(self, now: float) -> dict[int, int | None]:
        """Return the partitions with records that are slow to come, as if an open transaction held them."""
        return {
            number: self._next[number] if number % 2 else None
            for number, until in self._held.items()
            if until > now and self._only in {None, number} and self._waits(number, now)
        }

    def _waits(self, number: int, now: float) -> bool:
        """Whether a partition that is read has more records."""
        assert self._life is not None, "`open` sets it"
        return number in self._next and self._next[number] < self._topic.lives[self._life].partitions[number].end(now)

    def only(self, partition: int | None) -> None:
        self._only = partition

    def place(self) -> Place:
        identity = None if self._life is None else self._topic.lives[self._life].identity
        return Place(dict(self._next), identity, self._epoch)

    def lag(self) -> dict[int, int]:
        assert self._life is not None, "open the source before reading its lag"
        partitions = self._topic.lives[self._life].partitions
        return {number: partitions[number].end(self._clock.now()) - offset for number, offset in self._next.items()}

    def trouble(self) -> None:
        return None

    def gaps(self) -> list[Gap]:
        gaps, self._gaps = self._gaps, []
        return gaps

    def commit(self) -> None:
        assert self._opened, "open the source before committing"

    def close(self) -> None:
        self._opened = False

    def _reads(self, number: int) -> bool:
        """Whether this source reads a partition. A subclass may leave some out."""
        return True

    def _begin_again(self, life: int) -> None:
        """Read another life of the topic from its beginning."""
        self._gaps += [Gap(number, None, "recreated") for number in sorted(self._next)]
        self._life, self._next = life, {}
        self._reported.clear()
        self._epoch += 1
        self.extend()

    def _skip(self, number: int, now: float) -> None:
        """Continue at the first record that the topic has now, and report the gap before it."""
        assert self._life is not None, "`open` sets it"
        at, low = self._next[number], self._topic.lives[self._life].partitions[number].low(now)
        if at < low:
            self._gaps.append(Gap(number, low - at, "deleted"))
            self._ledger.missed(self._life, number, at, low, reported=True)
            self._next[number] = low

    def _found(self, count: int, now: float) -> list[tuple[int, int, Record]]:
        """Return some records of some partitions."""
        assert self._life is not None, "`open` sets it"
        found: list[tuple[int, int, Record]] = []
        numbers = sorted(self._next)
        self._chance.shuffle(numbers)
        for number in numbers:
            partition = self._topic.lives[self._life].partitions[number]
            if self._only not in {None, number} or self._held.get(number, 0.0) > now:
                continue
            if self._faults.strikes("slow partition"):
                self._held[number] = now + self._slow_s * self._chance.random()
                continue
            self._skip(number, now)
            at, end = self._next[number], partition.end(now)
            until = min(end, at + self._chance.randint(1, max(1, count - len(found))))
            found += [(number, offset, partition.records[offset]) for offset in range(at, until)]
            self._next[number] = until
            self._ledger.gave(self._life, number, until)
            if until > at:
                self._reported.discard(number)
            if len(found) >= count:
                break
        return found

    def _at_end(self, now: float) -> set[int]:
        """Return the partitions that are at their end and were not reported so yet."""
        assert self._life is not None, "`open` sets it"
        partitions = self._topic.lives[self._life].partitions
        ended = {
            number
            for number, offset in self._next.items()
            if number not in self._reported
            and offset == partitions[number].end(now)
            and self._held.get(number, 0.0) <= now
            and self._only in {None, number}
        }
        self._reported |= ended
        return ended


def polled(found: Sequence[tuple[int, int, Record]], ended: frozenset[int], epoch: int) -> Polled:
    """Return records, each with its partition and offset, as one poll."""
    return Polled(
        Values.of([record.value for _, _, record in found]),
        np.array([partition for partition, _, _ in found], np.uint8),
        lambda: np.array([offset for _, offset, _ in found], np.int64),
        lambda: np.array([record.time for _, _, record in found], np.int64),
        lambda place: found[place][2].key,
        ended=ended,
        epoch=epoch,
    )

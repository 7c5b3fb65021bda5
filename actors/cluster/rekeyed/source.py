"""The source of a shard whose records come from a topic by key: it gives them as if it had read all partitions of their own.

The partitions, offsets and times of its records are those of the topic where they come from. How far that topic is in time is
in the marks of the blocks. Whether a partition is read to its end is asked of its leader, so a partition whose forwarder is
absent holds the stream back: a block waits until the leaders have said, after it came, which partitions are still at their end.
"""

import math
import time
from collections import deque
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Protocol

import numpy as np

from actors.cluster.rekeyed.blocks import Block, Collected, Range, block_of
from actors.cluster.rekeyed.forwarder import Forwarding
from actors.replies import Trouble
from actors.sources.polled import Gap, Place, Polled
from actors.sources.source import Source

BLOCK = b"block"
STANDING = b"standing"
"""The keys of the records in a topic by key."""

_MOST_BLOCKS = 16
_HURRY_S = 0.05
"""The least time between two requests to the leaders that do not wait for the next second."""


class Ends(Protocol):
    """What is known of the topic of the records. See `actors.sources.kafka.extent`."""

    @property
    def partitions(self) -> Collection[int]:
        """The partitions, as last seen."""

    @property
    def identity(self) -> str | None:
        """The id of the topic, None if the broker has none."""

    def open(self) -> bool:
        """Ask for the partitions, and forget earlier ends. Returns False if there is no topic."""

    def extend(self) -> bool:
        """Ask for the partitions again. Returns False if there is no topic."""

    def ends(self, now: float) -> tuple[float, Mapping[int, int]]:
        """Return when the leaders were asked last that have all answered, and the end of each partition; -inf before that."""

    def hurry(self) -> None:
        """Have the next `ends` ask the leaders, although a second has not passed."""

    def trouble(self) -> Trouble | None:
        """Return why the ends are unknown, None if they are known."""

    def close(self) -> None:
        """Disconnect."""


class RekeyedSource:
    """Reads the blocks of the shard `shard` of `shards` from `carrier`, a source of its partition of the topic by key.

    `ends` knows the topic of the records, and `status` the trouble of the forwarder here. `complain` gets each new problem.
    """

    finished = False
    endless = True

    def __init__(
        self,
        carrier: Source,
        ends: Ends,
        status: Forwarding,
        *,
        shard: int,
        shards: int,
        complain: Callable[[str], object],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._carrier = carrier
        self._ends = ends
        self._status = status
        self._shard, self._shards = shard, shards
        self._complain = complain
        self._now = now
        self._waiting: deque[tuple[int, Block]] = deque()
        self._came_at = -math.inf
        self._asked_at = -math.inf
        self._at_end: set[int] = set()
        self._reached: dict[int, int] = {}
        self._changed_at: dict[int, float] = {}
        self._at: Place | None = None
        self._identity: str | None = None
        self._gaps: list[Gap] = []
        self._judged_at = -math.inf
        self._held: dict[int, int | None] = {}
        self._targets: dict[int, int] | None = None
        self._reading = False
        self._stopped: Trouble | None = None
        self._caught_up_at: float | None = None
        self._news_at = self._whole_at = -math.inf

    # What a shard is asked, on any thread ----------------------------------------------------------------------------

    def caught_up(self) -> bool:
        """Return whether each partition is read to where it ended when this source began."""
        targets = self._targets
        reached = self._reached.copy()
        return self._reading and targets is not None and all(reached.get(each, 0) >= end for each, end in targets.items())

    def caught_up_at(self) -> float | None:
        """Return when `caught_up` became true, monotonic; None if it is false."""
        at = self._caught_up_at
        return at if at is not None and self.caught_up() else None

    @property
    def news_at(self) -> float:
        """When the last record came, monotonic; -inf before the first one."""
        return self._news_at

    def whole_at(self, taken_at: float) -> float | None:
        """Return until when all records were read, by the leaders' answers; None if some came after `taken_at`."""
        whole_at = self._whole_at  # before `news_at`, which `poll` sets first
        return whole_at if self._news_at <= taken_at else None

    def partition_count(self) -> int:
        """Return the number of partitions of the topic by key: a shard has one."""
        return self._shards

    # The contract of a source ----------------------------------------------------------------------------------------

    def open(self, place: Place) -> bool:
        """See the contract."""
        self._reading, self._caught_up_at, self._whole_at = False, None, -math.inf
        self._stopped, self._targets = None, None
        self._waiting.clear()
        self._at_end.clear()
        self._gaps, self._held, self._changed_at, self._judged_at = [], {}, {}, -math.inf
        if not self._ends.open() or not self._carrier.open(place.carrier or Place()):
            return False
        self._carrier.gaps()  # what is missing there shows in the ranges of later blocks
        self._at = self._carrier.place()
        self._identity = place.identity or self._ends.identity
        self._reached = {number: place.offsets.get(number, 0) for number in {*self._ends.partitions, *place.offsets}}
        self._reading = True
        return True

    def extend(self) -> bool:
        """See the contract."""
        if not self._ends.extend():
            return False
        for number in self._ends.partitions:
            self._reached.setdefault(number, 0)
        return self._carrier.extend()

    def poll(self, count: int, timeout_s: float) -> Polled:
        """Return the records of some blocks, `count` or some more. Cost: a copy, and 2 us a block."""
        found = Collected()
        held = self._held
        ended = self._judge(self._now())
        if self._stopped is None:
            self._fetch(timeout_s)
        if self._may_take(held):
            while self._waiting and found.count < count and not self._gaps:
                if not self._take(found):
                    break
        if found.count:
            self._news_at = self._now()
        if self._caught_up_at is None and self.caught_up():
            self._caught_up_at = self._now()
        return found.polled(ended=ended, held=self._held)

    def rest(self, timeout_s: float) -> None:
        """See the contract. If blocks wait, it does not."""
        if self._reading and self._stopped is None and not self._waiting:
            self._carrier.rest(timeout_s)

    def trouble(self) -> Trouble | None:
        """See the contract."""
        if self._stopped is not None:
            return self._stopped
        return self._ends.trouble() or self._carrier.trouble() or (self._status.trouble if self._reading else None)

    def gaps(self) -> list[Gap]:
        """See the contract."""
        found, self._gaps = self._gaps, []
        return found

    def only(self, partition: int | None) -> None:
        """Read all partitions: the blocks have them mixed."""

    def place(self) -> Place:
        """See the contract."""
        return Place(dict(self._reached), self._identity, 0, self._at)

    def lag(self) -> dict[int, int]:
        """Return the lag of the partitions that this shard forwards, so that all shards together have each partition once.

        A shard that forwards none has those of all.
        """
        _, ends = self._ends.ends(self._now())
        lag = {number: max(0, ends.get(number, 0) - at) for number, at in self._reached.items()}
        return {number: each for number, each in lag.items() if number % self._shards == self._shard} or lag

    def commit(self) -> None:
        """See the contract."""
        self._carrier.commit()

    def close(self) -> None:
        """See the contract."""
        self._reading = False
        self._waiting.clear()
        self._carrier.close()
        self._ends.close()

    # Blocks ----------------------------------------------------------------------------------------------------------

    def _fetch(self, timeout_s: float) -> None:
        """Take the next blocks of the partition, if none waits."""
        if self._waiting:
            return
        polled = self._carrier.poll(_MOST_BLOCKS, timeout_s)
        self._carrier.gaps()
        self._came_at = self._now()
        offsets = polled.offsets().tolist()
        for index, value in enumerate(polled.values.listed):
            if polled.key_of(index) == BLOCK:
                try:
                    self._waiting.append((offsets[index], block_of(value or b"")))
                except ValueError as error:
                    self._stop(f"the record at offset {offsets[index]} of the topic by key is no block: {error}")
                    return

    def _may_take(self, held: Mapping[int, int | None]) -> bool:
        """Whether blocks that wait may be taken. `held` has the partitions that the last poll has reported as held.

        A partition that was at its end may have got records before those in the blocks, and they may not be forwarded yet. So
        the leaders must have answered after the blocks came, and who reads this source must know which partitions are held.
        """
        if not self._waiting or self._stopped is not None:
            return False
        if not self._held.keys() <= held.keys():
            return False
        if not self._at_end or self._judged_at > self._came_at:
            return True
        now = self._now()
        if now - self._asked_at >= _HURRY_S:
            self._asked_at = now
            self._ends.hurry()
            self._ends.ends(now)  # it asks
        return False

    def _take(self, found: Collected) -> bool:
        """Take the first block that waits. Returns False if gaps lie before it, and records of this poll before these."""
        offset, block = self._waiting[0]
        if block.identity is not None and self._identity is not None and block.identity != self._identity:
            self._stop("the topic was deleted and created again: take another cluster.name, which reads everything again")
            return False
        gaps = [each for each in block.ranges if 0 < self._reached.get(each.partition, 0) < each.start]
        if gaps and found.count:
            return False
        for each in gaps:
            self._skip(each)
        if gaps:
            return False
        self._at = _after(self._at, self._carrier.place(), offset, self._shard)
        self._waiting.popleft()
        rows = self._unread(block)
        for each in block.ranges:
            self._pass(each, found)
        found.add(block, rows)
        return True

    def _skip(self, found: Range) -> None:
        """Note that records before a range are missing. One shard counts them."""
        number = found.partition
        count = found.start - self._reached[number]
        own = number % self._shards == self._shard
        self._gaps.append(Gap(number, count if own else 0, found.reason or "deleted"))
        self._reached[number] = found.start
        if own:
            self._complain(f"partition {number}: {count} offsets missing: {found.reason or 'deleted'}")

    def _unread(self, block: Block) -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
        """Return the rows of a block that lie behind what is read. Cost: mostly O(ranges)."""
        behind = [each for each in block.ranges if each.start < self._reached.get(each.partition, 0)]
        rows = np.arange(block.offsets.size)
        if not behind:
            return rows
        kept = np.ones(rows.size, np.bool_)
        for each in behind:
            kept &= (block.partitions != each.partition) | (block.offsets >= self._reached[each.partition])
        return rows[kept]

    def _pass(self, found: Range, into: Collected) -> None:
        """Note how far a partition is by a range, unless all of it was known."""
        before = self._reached.get(found.partition, 0)
        if found.end < before or (found.end == before and found.start < found.end):
            return
        self._reached[found.partition] = found.end
        self._changed_at[found.partition] = self._now()
        if found.mark.recent.size or found.mark.ahead:
            self._at_end.discard(found.partition)
        into.mark(found.partition, found.mark)

    def _stop(self, reason: str) -> None:
        """Read nothing more, because what comes cannot be understood."""
        self._waiting.clear()
        self._complain(reason)
        self._stopped = Trouble("damaged", time.time(), (reason,))

    # Ends ------------------------------------------------------------------------------------------------------------

    def _judge(self, now: float) -> frozenset[int]:
        """Return the partitions of which every record is read, by the newest answers of the leaders.

        An answer counts for a partition if it was asked for after the last block of it.
        """
        known_at, ends = self._ends.ends(now)
        if self._targets is None and known_at > -math.inf:
            self._targets = dict(ends)
        if known_at <= self._judged_at:
            return frozenset()
        self._judged_at = known_at
        behind = {number for number, at in self._reached.items() if at < ends.get(number, math.inf)}
        if not behind:
            self._whole_at = max(self._whole_at, known_at)
        self._held = dict.fromkeys(behind)
        ended = {
            number for number in self._reached if number not in behind and self._changed_at.get(number, -math.inf) <= known_at
        }
        self._at_end = (self._at_end | ended) - behind
        return frozenset(ended)


def _after(before: Place | None, now: Place, offset: int, shard: int) -> Place:
    """Return the place behind the block at an offset."""
    assert before is not None, "the source is open"
    return replace(now, offsets={**before.offsets, shard: offset + 1})

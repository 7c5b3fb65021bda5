"""Live slices of sets that last at most `within`. A frozen slice is like that of other sets.

A live slice has the complete open sets, the events that wait, and the dead events, each as one ascending column a step. An
event waits if it may still be in a set with an event that is not earlier than the latest one: so an event of the first step
waits until its limit has passed. All others are dead: only a late event can use them.
"""

from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from typing_extensions import override

from actors.columns.column import Column
from actors.columns.fields import integer
from actors.columns.sealed import CHUNK
from actors.columns.snapshot import State
from actors.columns.times import NO_TIMES, Times, count_before
from actors.timeline.batch import Batch
from actors.views.sets.arguments import Explain
from actors.views.sets.explain.told import Lack, Told
from actors.views.sets.pieces import Rows
from actors.views.sets.slices import OPEN_SETS, FrozenSets, LiveSets, SetCarry, cut
from actors.views.sets.within.pairing import pair
from actors.views.view import Meta

_NEVER = -1
"""A time before all events."""


@dataclass(slots=True)
class TimedCarry(SetCarry):
    """What a slice hands to its successor: also the waiting events, and the times that it knows."""

    waiting: list[Column]
    latest: int
    shut: int


class _Matched(NamedTuple):
    """A matched pool, by step: the times in sets and the dead ones, and how many events of the pool are passed."""

    sets: list[Times]
    dead: list[Times]
    passed: list[int]


@dataclass(frozen=True, slots=True)
class _Pool:
    """What is matched, by step: the events `before` the batch, and the `events` from its first time on.

    `kept` sets end before the batch. Of the waiting events, `left` are before it, and `drawn` are the last ones of `before`.
    The others are too far behind for this batch, as are then the `events` of that step. All dead events from the times `lows`
    on are in the pool. `again`: events that were matched before are among the `events`.
    """

    kept: int
    lows: list[int]
    before: list[Times]
    drawn: list[int]
    left: list[int]
    events: Batch
    again: bool

    def match(self, within: int) -> _Matched:
        """Form the sets of the pool."""
        times = [
            np.concatenate((own, new)) if drawn == left else own
            for own, new, drawn, left in zip(self.before, self.events.times, self.drawn, self.left, strict=True)
        ]
        rows, passed = pair(times, within)
        dead = []
        for own, row, count in zip(times, rows, passed, strict=True):
            unused = np.ones(count, np.bool_)
            unused[row] = False
            dead.append(own[:count][unused])
        return _Matched([own[row] for own, row in zip(times, rows, strict=True)], dead, passed)

    def waiting(self, step: int, queue: Column, passed: int) -> Column:
        """Return the events of a step that wait after the first `passed` of the pool; `queue` has those that waited."""
        own, new = self.before[step], self.events.times[step]
        drawn, left = self.drawn[step], self.left[step]
        gone = passed - (own.size - drawn)
        if gone < 0:
            waits = Column()
            waits.extend(own[passed:])
            waits.extend(queue.peek(drawn, left))
        else:
            waits = queue.copy()
            waits.resume(left, NO_TIMES)
            waits.popleft(min(gone, drawn))
        waits.extend(new[max(0, passed - own.size) :])
        return waits


class TimedSets(LiveSets):
    """A slice that forms sets which last at most `within`, at most `max_sets` of them. Not thread-safe: its collector owns it.

    The columns `_steps` have complete sets only.
    """

    def __init__(self, *, steps: int, max_sets: int, within: int, carry: TimedCarry | None = None) -> None:
        self._within = within
        self._queue = carry.waiting if carry else [Column() for _ in range(steps)]
        self._latest = carry.latest if carry else _NEVER
        """The latest time of an event that was matched."""
        self._shut = carry.shut if carry else _NEVER
        """The time of the last event of the sets that were closed: they do not change any more."""
        self._behind = 0
        """The events that came when they could not change all sets any more, or that were forgotten."""
        super().__init__(steps=steps, max_sets=max_sets, carry=carry)

    @classmethod
    def of(cls, state: State, *, max_sets: int, within: int) -> "TimedSets":
        """Restore a slice from its `state`."""
        live = cls(steps=len(state["steps"]), max_sets=max_sets, within=within)
        live._restore(state)
        live._queue = [Column.of_state(column) for column in state["queue"]]
        if len(live._queue) != len(live._steps):
            raise ValueError(f"{len(live._steps)} columns of waiting events were expected, got {len(live._queue)}")
        live._latest, live._shut = (integer(each, _NEVER) for each in state["times"])
        live._behind = integer(state["behind"], 0)
        return live

    @override
    def state(self) -> State:
        queue = [column.state() for column in self._queue]
        return {**super().state(), "queue": queue, "times": (self._latest, self._shut), "behind": self._behind}

    @override
    def add(self, batch: Batch, watermark: int | None) -> Mapping[str, int]:
        """Take in an ordered batch. Cost: 50 to 200 ns an event; for a late event, all later open and waiting events again."""
        behind = self._behind_of(batch)
        lost = super().add(batch, watermark)
        self._behind += behind
        return lost

    @override
    def shed(self, nbytes: int) -> tuple[dict[str, int], int | None]:
        """Forget about `nbytes` of dead events, then of the oldest waiting ones. Complete sets stay."""
        forgotten: dict[str, int] = {}
        until: int | None = None
        over = nbytes - sum(column.trim() for column in (*self._steps, *self._dead, *self._queue))
        for column in self._dead:
            if over > 0 and len(column):
                share = column.value_bytes
                count = column.popleft(-(-over // share)).size
                forgotten["dead_residue"] = forgotten.get("dead_residue", 0) + count
                over -= count * share
        held = [column for column in self._queue if len(column)]
        if over > 0 and held:
            rows = -(-over // sum(column.value_bytes for column in held))
            gone = [column.popleft(rows) for column in self._queue]
            forgotten["residue"] = sum(column.size for column in gone)
            until = max(int(column[-1]) for column in gone if column.size) + 1
        for column in (*self._dead, *self._queue):  # removed values have become spare capacity
            column.trim()
        self._behind += sum(forgotten.values())
        return forgotten, until

    @override
    def freeze(self) -> tuple[FrozenSets, TimedCarry]:
        pieces, proof, prover = self._retired()
        own = (self._steps, self._dead, self._pending, self._pending_counted, prover)
        carry = TimedCarry(*own, waiting=self._queue, latest=self._latest, shut=self._shut)
        return FrozenSets(pieces, proof, self._behind), carry

    @override
    def meta(self) -> Meta:
        meta = super().meta()
        certain = self._steps[0].first() is not None or self._closed
        return replace(
            meta,
            nbytes=meta.nbytes + sum(column.nbytes for column in self._queue),
            final_until=meta.final_until if certain else self._queue[0].first(),
            summary=replace(meta.summary, behind=self._behind),
        )

    @override
    def _told(self, wanted: Explain) -> list[Told]:
        waits = Lack.REST if wanted.step else Lack.LATER
        told = [each._replace(step=1) for each in self._unused(self._queue[wanted.step], waits, wanted)]
        lacks = Lack.EARLIER if wanted.step else Lack.LAPSED
        return told + self._unused(self._dead[wanted.step], lacks, wanted) + self._unmatched(wanted)

    @property
    @override
    def _waiting(self) -> tuple[int, ...]:
        return tuple(map(len, self._queue))

    @override
    def _pop_sets(self, count: int) -> Rows:
        rows = super()._pop_sets(count)
        self._shut = max(self._shut, int(rows[-1][-1]))
        return rows

    def _behind_of(self, batch: Batch) -> int:
        """Return how many events come before the end of the sets that are closed."""
        *earlier, last = batch.times
        return sum(count_before(column, self._shut + 1) for column in earlier) + count_before(last, self._shut)

    @override
    def _take(self, batch: Batch, watermark: int | None, *, counted: bool) -> None:
        """Match `batch`; events after the set that fills the slice are left pending."""
        first = batch.first()
        if first is None:
            return
        if len(batch.times) != len(self._steps):
            raise ValueError(f"a batch of {len(self._steps)} columns was expected, got {len(batch.times)}")
        pool = self._pool(first, batch)
        room = self._max_sets - self._closed_sets - pool.kept
        matched = pool.match(self._within)
        pending, pending_counted = self._pending, counted
        if matched.sets[-1].size > room:
            events, pending = cut(pool.events, matched.sets[-1], room)
            # If some of the pending events were counted on arrival, all new ones are counted now.
            pending_counted = counted or pool.again
            batch = batch if pool.again else events
            pool = replace(pool, events=events)
            matched = pool.match(self._within)
        prover = copy(self._prover)
        if not counted:
            prover.add(batch, watermark)
        latest = max(self._latest, pool.events.last() or 0)
        queue = [pool.waiting(step, *each) for step, each in enumerate(zip(self._queue, matched.passed, strict=True))]
        dead = [np.sort(np.concatenate(each)) for each in zip(matched.dead, self._expired(queue, latest), strict=True)]
        self._replace_sets(pool, matched.sets, dead)
        self._queue, self._latest = queue, latest
        self._prover, self._pending, self._pending_counted = prover, pending, pending_counted
        while len(self._steps[-1]) >= OPEN_SETS + CHUNK:
            self._close(CHUNK)

    def _pool(self, first: int, batch: Batch) -> _Pool:
        """Return what a batch is matched with. Events that are not before it are matched again, together with it.

        If it is late, so are all that it could be in a set with. Otherwise each event of the last step passes one event of
        the other steps, and those that are out of reach: no more are drawn.
        """
        kept = self._steps[-1].before(first)
        late = first < self._latest
        lows = [first - self._within if late else first] * (len(self._steps) - 1) + [first]
        left = [column.before(first) for column in self._queue]
        again, front = [], []
        for column, dead, low, waits, at in zip(self._steps, self._dead, lows, self._queue, left, strict=True):
            opened, unused = column.peek(kept, len(column)), dead.peek(dead.before(low), len(dead))
            cuts = count_before(opened, first), count_before(unused, first)
            again.append(np.concatenate((opened[cuts[0] :], unused[cuts[1] :], waits.peek(at, len(waits)))))
            front.append(np.concatenate((opened[: cuts[0]], unused[: cuts[1]])))
        is_again = any(each.size for each in again)
        events = Batch.concatenate((Batch(tuple(again)), batch), len(left)).ordered() if is_again else batch
        if late:
            before = [
                np.sort(np.concatenate((own, column.peek(0, at))))
                for own, column, at in zip(front, self._queue, left, strict=True)
            ]
            nothing = [0] * len(left)
            return _Pool(kept, lows, before, nothing, nothing, events, again=is_again)
        drawn = self._drawn(events.times[-1], left)
        before = [
            np.concatenate((own, column.peek(0, count))) for own, column, count in zip(front, self._queue, drawn, strict=True)
        ]
        return _Pool(kept, lows, before, drawn, left, events, again=is_again)

    def _drawn(self, last: Times, left: list[int]) -> list[int]:
        """Return how many waiting events of each step may be passed by the events `last` of the last step, and one more.

        If these are all that waited before the batch, those of the batch may be passed too.
        """
        if not last.size:
            return [0 for _ in left]
        drawn: list[int] = []
        reached: int | None = int(last[-1]) - self._within
        for column, at in zip(self._queue, left, strict=True):
            count = at if reached is None else min(at, column.before(reached) + last.size + 1)
            reached = int(column.peek(count - 1, count)[0]) if 0 < count < at else None
            drawn.append(count)
        return drawn

    def _expired(self, queue: list[Column], latest: int) -> list[Times]:
        """Remove and return the events that can be in no set with an event at `latest` or after it."""
        expired: list[Times] = []
        earliest: int | None = latest - self._within
        for column in queue[:-1]:
            expired.append(column.popleft(len(column) if earliest is None else column.before(earliest)))
            earliest = column.first()
        return [*expired, NO_TIMES]

    def _replace_sets(self, pool: _Pool, sets: list[Times], dead: list[Times]) -> None:
        """Put `sets` in place of the open sets that were matched again, and `dead` in place of the dead events in the pool."""
        undo: list[tuple[Column, int, Times]] = []

        def put(column: Column, count: int, times: Times) -> None:
            undo.append((column, count, column.peek(count, len(column))))
            column.resume(count, times)

        try:
            for column, times in zip(self._steps, sets, strict=True):
                put(column, pool.kept, times)
            for column, low, times in zip(self._dead, pool.lows, dead, strict=True):
                at = column.before(low)
                earlier = column.before(int(times[0])) if times.size else at
                if earlier < at:
                    put(column, earlier, np.sort(np.concatenate((column.peek(earlier, at), times))))
                else:
                    put(column, at, times)
        except Exception:
            for column, count, times in reversed(undo):
                column.resume(count, times)
            raise

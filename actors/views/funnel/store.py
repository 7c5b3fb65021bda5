"""The events that are not final yet: of each key in order of time, as columns sorted by the hash of the key.

New events wait until they are a part of the events that are held. Then the keys that have new events, and those at which
something has become due, are matched. Final rows leave the store, and all other events stay. There is no object for each key
or event.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from actors.columns.fields import column, integer, listed
from actors.columns.snapshot import State
from actors.columns.text import Hashes, Text
from actors.columns.times import INT64_MAX, NO_TIMES, Times
from actors.views.funnel.decode import Keyed
from actors.views.funnel.matching import ABSENT, Events, Mask, match
from actors.views.funnel.pieces import NOT_REACHED, Rows, compact

_SHARE = 4
"""Events are matched when as many are new as this part of those that are held: so an event is moved about this many times."""

_ALWAYS = 131072
"""Events that are matched at once."""

_FEW, _DELAY, _BATCHES = 16_384, 16, 64
"""With at most `_FEW` events, what is due becomes final at once; else if it is due for this part of `within`, and for as many
batches. A batch may move the time on by hours if old records are read."""

_PADDING = 8
_SLACK = 1.5
_SLACK_BYTES = 1_024
"""Bytes of all keys beyond which they are copied, as a multiple of those that are held, and in addition."""

_KEY_BYTES = 40
_EVENT_BYTES = 9


class Held(NamedTuple):
    """Events by key, in order of the hash and then of the key: `events` has a group for each key, in this order.

    `due` has for each key the time behind which a watermark makes something final.
    """

    keys: Text
    hashes: Hashes
    events: Events
    due: Times

    @property
    def size(self) -> int:
        """The number of events."""
        return self.events.times.size

    def only(self, rows: Times) -> "Held":
        """Return the events of the keys `rows`, which ascend. Shares the bytes of keys. Cost: 30 ns an event."""
        counts = np.diff(self.events.offsets)[rows]
        places = _places(self.events.offsets[:-1][rows], counts)
        events = Events(_offsets(counts), self.events.times[places], self.events.steps[places])
        return Held(self.keys.only(rows), self.hashes[rows], events, self.due[rows])


NOTHING = Held(
    Text.of([]), np.empty(0, np.uint64), Events(np.zeros(1, np.int64), NO_TIMES, np.empty(0, np.int8)), np.empty(0, np.int64)
)


class Store:
    """Events of keys with the steps of `pattern` `within` a time. Not thread-safe: one live slice owns it."""

    def __init__(self, *, pattern: Sequence[int], within: int) -> None:
        self._pattern = pattern
        self._within = within
        self._held = NOTHING
        self._new: list[Keyed] = []
        self._new_count = 0
        self._new_bytes = 0
        self._batches = 0
        self._first = INT64_MAX
        self._last = -1
        self._due = INT64_MAX

    @staticmethod
    def of_state(state: State, *, pattern: Sequence[int], within: int) -> "Store":
        """Restore a store from its `state`; copies all columns."""
        store, steps = Store(pattern=pattern, within=within), max(pattern) + 1
        blob, starts, lengths, counts, times, own, due = listed(state["held"])
        keys = _text_of(blob, starts, lengths)
        events = Events(_offsets(_counts_of(counts, keys)), *_events_of(times, own, steps))
        if int(events.offsets[-1]) != events.times.size:
            raise ValueError(f"{int(events.offsets[-1])} events were expected, got {events.times.size}")
        store._held = Held(keys, keys.hashes(), events, column(due, np.int64, keys.starts.size).copy())
        for each in listed(state["new"]):
            blob, starts, lengths, times, own = listed(each)
            keys = _text_of(blob, starts, lengths)
            times, own = _events_of(times, own, steps)
            if times.size != keys.starts.size:
                raise ValueError(f"{keys.starts.size} events were expected, got {times.size}")
            store._take(Keyed(keys, keys.hashes(), times, own))
        store._describe()
        store._last = integer(state["last"], max((int(each.max()) for each in store._columns() if each.size), default=-1))
        return store

    def state(self) -> State:
        """Return the state for `of_state`. Copies nothing."""
        held, keys = self._held, self._held.keys
        counts = np.diff(held.events.offsets)
        return {
            "held": (keys.blob, keys.starts, keys.lengths, counts, held.events.times, held.events.steps, held.due),
            "new": [(each.keys.blob, each.keys.starts, each.keys.lengths, each.times, each.steps) for each in self._new],
            "last": self._last,
        }

    @property
    def count(self) -> int:
        """The number of events."""
        return self._held.size + self._new_count

    @property
    def keys(self) -> int:
        """The number of keys that are held, without those of new events."""
        return self._held.hashes.size

    @property
    def nbytes(self) -> int:
        """Bytes of the columns."""
        held = self._held
        own = held.keys.nbytes + held.hashes.nbytes + held.due.nbytes + held.events.offsets.nbytes
        return own + held.events.times.nbytes + held.events.steps.nbytes + self._new_bytes

    @property
    def first(self) -> int | None:
        """The earliest time; None without events."""
        return self._first if self.count else None

    @property
    def last(self) -> int:
        """The latest time that any event had; -1 if none came."""
        return self._last

    @property
    def due(self) -> int | None:
        """The time behind which a watermark makes something final that is held; None if nothing is."""
        return None if self._due == INT64_MAX else self._due

    @property
    def fresh(self) -> bool:
        """Whether events are new."""
        return self._new_count > 0

    def ripe(self, watermark: int) -> bool:
        """Whether to match now: many events are new, or something has been due for too long, or few events are held."""
        if self._new_count >= _ALWAYS or (self._new_count and _SHARE * self._new_count >= self._held.size):
            return True
        overdue = watermark - self._due
        long = overdue > self._within // _DELAY and self._batches >= _BATCHES
        return overdue > 0 and (self._held.size <= _FEW or long)

    def add(self, batch: Keyed) -> None:
        """Add events, in any order. Cost: a copy of the keys."""
        self._batches += 1
        if batch.count:
            self._take(replace(batch, keys=compact(batch.keys)))
            self._first = min(self._first, int(batch.times.min()))
            self._last = max(self._last, int(batch.times.max()))

    def settle(self, watermark: int) -> Rows:
        """Match what is new or due, and remove and return the final rows.

        Cost: 1 us an event of these keys, and 50 ns for each that is held.
        """
        fresh = _grouped(self._new)
        self._new, self._new_count, self._new_bytes, self._batches = [], 0, 0, 0
        at = _found(self._held, fresh)
        touched = self._held.due < watermark
        touched[at[at >= 0]] = True
        some = _joined(self._held, np.flatnonzero(touched), fresh, at)
        found = match(some.events, pattern=self._pattern, within=self._within, watermark=watermark)
        final = found.rows[found.final]
        left = np.ones(some.size, np.bool_)
        left[final[final != ABSENT]] = False
        kept = self._kept(some, left, watermark)
        self._held = _ordered(self._held.only(np.flatnonzero(~touched)), kept)
        rows = _rows_of(some, final)
        self._describe()
        return rows

    def rows(self, watermark: int, hashes: Hashes | None = None, *, named: bool = True) -> Rows:
        """Return the rows of all events as they stand, or of those whose keys have one of `hashes`. Changes nothing.

        If they are not `named`, their keys are empty.
        """
        new = self._new
        if hashes is None:
            own = np.arange(self.keys)
        else:
            own = np.flatnonzero(np.isin(self._held.hashes, hashes))
            new = [each.only(rows) for each in new if (rows := np.flatnonzero(np.isin(each.hashes, hashes))).size]
        fresh = _grouped(new)
        some = _joined(self._held, own, fresh, _found(self._held, fresh))
        if not named:
            blank = np.zeros(some.hashes.size, np.int64)
            some = some._replace(keys=Text(np.zeros(8, np.uint8), blank, blank))
        return _rows_of(some, match(some.events, pattern=self._pattern, within=self._within, watermark=watermark).rows)

    def shed(self, nbytes: int) -> tuple[int, int | None]:
        """Forget about `nbytes` of the keys whose first event is the earliest; returns the events, and the time after them.

        The events that are new must have been settled.
        """
        assert not self._new, "new events are settled before some are forgotten"
        held = self._held
        if nbytes <= 0 or not held.size:
            return 0, None
        firsts = held.events.times[held.events.offsets[:-1]]
        counts = np.diff(held.events.offsets)
        order = np.argsort(firsts, kind="stable")
        freed = np.cumsum((held.keys.lengths + _KEY_BYTES + _EVENT_BYTES * counts)[order])
        gone = order[: int(np.searchsorted(freed, nbytes)) + 1]
        keep = np.ones(held.hashes.size, np.bool_)
        keep[gone] = False
        events = int(counts[gone].sum())
        kept = held.only(np.flatnonzero(keep))
        self._held = kept._replace(keys=compact(kept.keys))
        self._describe()
        return events, int(firsts[gone[-1]]) + 1

    def _take(self, batch: Keyed) -> None:
        self._new.append(batch)
        self._new_count += batch.count
        self._new_bytes += batch.keys.nbytes + batch.hashes.nbytes + batch.times.nbytes + batch.steps.nbytes

    def _describe(self) -> None:
        self._first = min((int(each.min()) for each in self._columns() if each.size), default=INT64_MAX)
        self._due = int(self._held.due.min(initial=INT64_MAX))

    def _columns(self) -> tuple[Times, ...]:
        return self._held.events.times, *(each.times for each in self._new)

    def _kept(self, some: Held, left: Mask, watermark: int) -> Held:
        """Return the keys that have events left, with these events, and with the time at which the next one may be final.

        That is when the watermark passes an event, or the limit of a first step.
        """
        offsets = some.events.offsets
        counts = np.diff(np.concatenate((np.zeros(1, np.int64), np.cumsum(left)))[offsets])
        rows = np.flatnonzero(counts)
        events = Events(_offsets(counts[rows]), some.events.times[left], some.events.steps[left])
        times = events.times
        due = np.where(times >= watermark, times, INT64_MAX)
        waits = (events.steps == 0) & (watermark - times <= self._within)
        limit = np.where(waits, np.minimum(times, INT64_MAX - self._within) + self._within, INT64_MAX)
        due = np.minimum(due, limit)
        due = np.minimum.reduceat(due, events.offsets[:-1]) if rows.size else NO_TIMES
        return Held(some.keys.only(rows), some.hashes[rows], events, due)


def _grouped(batches: Sequence[Keyed]) -> Held:
    """Return events by key. `due` is meaningless. Cost: 0.3 us an event."""
    if not batches:
        return NOTHING
    keys = Text.joining([each.keys for each in batches])
    hashes, times, steps = (
        np.concatenate(each) for each in zip(*((batch.hashes, batch.times, batch.steps) for batch in batches), strict=True)
    )
    order = by_hash(hashes)
    keys, hashes = keys.only(order), hashes[order]
    begins = np.concatenate((np.ones(1, np.bool_), hashes[1:] != hashes[:-1]))
    alike = np.flatnonzero(~begins)
    if alike.size and not keys.only(alike).same(keys, alike - 1).all():  # two keys have one hash
        order = order[_by_text(keys, hashes)]
        keys = Text.joining([each.keys for each in batches]).only(order)
        begins[alike] = ~keys.only(alike).same(keys, alike - 1)
    numbers = np.cumsum(begins) - 1
    order = order[_by_time(numbers, times[order], steps[order])]
    starts = np.flatnonzero(begins)
    offsets = np.append(starts, hashes.size)
    return Held(keys.only(starts), hashes[starts], Events(offsets, times[order], steps[order]), np.zeros(starts.size, np.int64))


def by_hash(hashes: Hashes) -> Times:
    """Return the stable order of hashes.

    Sorts the high bits of each hash with its place in the low ones, without indirection. Hashes that differ in low bits alone
    are seen by that, and sorted in the usual way. Cost: 10 ns a hash, a fifth of the usual way.
    """
    bits = np.uint64(max(1, hashes.size - 1).bit_length())
    placed = (hashes >> bits << bits) | np.arange(hashes.size, dtype=np.uint64)
    placed.sort()
    order = (placed & ((np.uint64(1) << bits) - np.uint64(1))).astype(np.int64)
    ascending = hashes[order]
    if (ascending[1:] < ascending[:-1]).any():
        return np.argsort(hashes, kind="stable")
    return order


def _by_text(keys: Text, hashes: Hashes) -> Times:
    """Return the order of keys by hash and then by text. Cost: Python for each key that shares a hash with the next one."""
    order = np.arange(hashes.size)
    begins = np.flatnonzero(np.concatenate((np.ones(1, np.bool_), hashes[1:] != hashes[:-1])))
    for start, end in zip(begins.tolist(), [*begins[1:].tolist(), hashes.size], strict=True):
        if end - start > 1:
            names = keys.take(np.arange(start, end))
            order[start:end] = start + np.array(sorted(range(end - start), key=names.__getitem__))
    return order


def _by_time(numbers: Times, times: Times, steps: NDArray[np.int8]) -> Times:
    """Return the order of events by key number, time and step; the numbers ascend. Cost: little if they are in order."""
    order = np.arange(times.size)
    earlier = (times[1:] < times[:-1]) | ((times[1:] == times[:-1]) & (steps[1:] < steps[:-1]))
    wrong = earlier & (numbers[1:] == numbers[:-1])
    if wrong.any():
        mixed = np.zeros(int(numbers[-1]) + 1, np.bool_)
        mixed[numbers[1:][wrong]] = True
        rows = np.flatnonzero(mixed[numbers])
        order[rows] = rows[np.lexsort((steps[rows], times[rows], numbers[rows]))]
    return order


def _found(held: Held, fresh: Held) -> Times:
    """Return the row of each fresh key among those that are held, or -1."""
    at = np.searchsorted(held.hashes, fresh.hashes)
    found = np.full(at.size, -1)
    left = np.flatnonzero(at < held.hashes.size)
    while left.size:
        left = left[held.hashes[at[left]] == fresh.hashes[left]]
        alike = fresh.keys.only(left).same(held.keys, at[left])
        found[left[alike]] = at[left[alike]]
        left = left[~alike]
        at[left] += 1
        left = left[at[left] < held.hashes.size]
    return found


def _joined(held: Held, rows: Times, fresh: Held, at: Times) -> Held:
    """Return the events of the held keys `rows` and all fresh events; `at` are the rows of the fresh keys, or -1.

    The bytes of the keys are those of the held keys, and those of fresh keys that are not held behind them.
    """
    own = held.only(rows)
    if not fresh.size:
        return own
    unknown = np.flatnonzero(at < 0)
    numbers = np.searchsorted(rows, at)
    numbers[unknown] = rows.size + np.arange(unknown.size)
    counts = np.diff(own.events.offsets)
    owners = np.concatenate((np.repeat(np.arange(rows.size), counts), np.repeat(numbers, np.diff(fresh.events.offsets))))
    order = np.argsort(owners, kind="stable")
    owners = owners[order]
    times = np.concatenate((own.events.times, fresh.events.times))[order]
    steps = np.concatenate((own.events.steps, fresh.events.steps))[order]
    order = _by_time(owners, times, steps)
    offsets = _offsets(np.bincount(owners, minlength=rows.size + unknown.size))
    keys = Text.joining([own.keys, compact(fresh.keys, unknown)])
    hashes = np.concatenate((own.hashes, fresh.hashes[unknown]))
    return Held(keys, hashes, Events(offsets, times[order], steps[order]), np.zeros(hashes.size, np.int64))


def _ordered(one: Held, other: Held) -> Held:
    """Return the keys and events of both, which have no key in common, in order of the hash.

    The bytes of the keys of `one` are at the same places in those of `other`. They are copied if many belong to no key.
    """
    blob = other.keys.blob
    if other.size:
        counts = np.concatenate((np.diff(one.events.offsets), np.diff(other.events.offsets)))
        events = Events(
            _offsets(counts),
            np.concatenate((one.events.times, other.events.times)),
            np.concatenate((one.events.steps, other.events.steps)),
        )
        starts = np.concatenate((one.keys.starts, other.keys.starts))
        lengths = np.concatenate((one.keys.lengths, other.keys.lengths))
        hashes, due = np.concatenate((one.hashes, other.hashes)), np.concatenate((one.due, other.due))
        one = Held(Text(blob, starts, lengths), hashes, events, due).only(np.argsort(hashes, kind="stable"))
    if blob.size > _SLACK * int(one.keys.lengths.sum()) + _SLACK_BYTES:
        return one._replace(keys=compact(one.keys))
    return one._replace(keys=Text(blob, one.keys.starts, one.keys.lengths))


def _rows_of(some: Held, places: NDArray[np.int64]) -> Rows:
    """Return rows of the places of events as rows of times, with their keys."""
    if not len(places):
        return Rows.none(places.shape[1])
    times = np.where(places == ABSENT, NOT_REACHED, some.events.times[places])
    owners = np.searchsorted(some.events.offsets, places.max(axis=1), side="right") - 1
    return Rows(np.ascontiguousarray(times.T), some.keys.only(owners), some.hashes[owners])


def _places(starts: Times, counts: Times) -> Times:
    """Return the places of groups that begin at `starts`, one group after the other."""
    ends = np.cumsum(counts)
    places: Times = np.arange(int(ends[-1]) if ends.size else 0) + np.repeat(starts - (ends - counts), counts)
    return places


def _offsets(counts: Times) -> Times:
    return np.concatenate((np.zeros(1, np.int64), np.cumsum(counts, dtype=np.int64)))


def _text_of(blob: State, starts: State, lengths: State) -> Text:
    blob, starts = column(blob, np.uint8).copy(), column(starts, np.int64).copy()
    lengths = column(lengths, np.int64, starts.size).copy()
    if blob.size < _PADDING or (
        starts.size and (min(int(starts.min()), int(lengths.min())) < 0 or int(starts.max()) > blob.size)
    ):
        raise ValueError(f"keys within {blob.size} bytes were expected")
    if starts.size and int((starts + lengths).max()) > blob.size - _PADDING:
        raise ValueError(f"keys within {blob.size} bytes were expected, got one that is longer")
    return Text(blob, starts, lengths)


def _counts_of(counts: State, keys: Text) -> Times:
    found: Times = column(counts, np.int64, keys.starts.size)
    if found.size and (int(found.min()) < 1 or int(found.max()) > 2**40):
        raise ValueError("one event or more for each key was expected")
    return found


def _events_of(times: State, steps: State, count: int) -> tuple[Times, NDArray[np.int8]]:
    times, steps = column(times, np.int64).copy(), column(steps, np.int8, len(times)).copy()
    if times.size and (int(times.min()) < 0 or int(steps.min()) < 0 or int(steps.max()) >= count):
        raise ValueError(f"events of {count} steps were expected, with times from 1970 on")
    return times, steps

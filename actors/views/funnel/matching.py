"""Matches the events of many keys to sequences of steps, on columns.

A sequence has one event of each of the first k steps, in order, and its last time is at most `within` after its first. A
complete sequence has all steps. For each key the number of complete sequences is the largest possible one, with no event in
two of them. What they leave is matched to sequences of all steps but the last, and so on down to the first step alone.

The algorithm takes the smallest sequence that is feasible: the next event of the first step, and for each further step the
next event behind the step before. If that is too long, it drops the first event, else it takes the sequence, and goes on
behind it. It is exact: no sequence can be made earlier in any step, so one that is too long has a first event that no
sequence can use, and to take the smallest one leaves the most to all others. `docs/views/funnel.md` has the argument, and the
tests compare with all choices.

Keys whose events simply follow the steps are matched by a few operations on all of them. Others are matched in rounds, one
sequence of each key a round, and the last keys one by one. So no Python code runs for each event of an ordinary stream. If a
name is listed for several steps, all others are matched one by one, as `repeated` says.
"""

from bisect import bisect_left
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from actors.columns.times import NO_TIMES, Times
from actors.views.funnel.repeated import Matcher

Mask = NDArray[np.bool_]

ABSENT = -1
"""The place of an event that a sequence lacks."""

_FEW = 24
"""If fewer keys are left, each of them is matched alone. A round over one key costs as much as some 40 of its events."""


class Events(NamedTuple):
    """The events of keys: those of key k are at the places from `offsets[k]` to `offsets[k + 1]`, one or more.

    They are in order of time, and at equal times in order of the step. Times are not negative.
    """

    offsets: Times
    times: Times
    steps: NDArray[np.int8]


class Matched(NamedTuple):
    """Rows of the places of events: one column for each step, `ABSENT` if the row has no event of that step.

    Every event is in one row. A row without a first step is an event that stands in no sequence. A `final` row stays as it is,
    whatever events come at the watermark or later.
    """

    rows: NDArray[np.int64]
    final: Mask


def match(events: Events, *, pattern: Sequence[int], within: int, watermark: int) -> Matched:
    """Match all events. `pattern` has for each step the first step that has its name: the number of events of this name.

    Cost: 50 ns an event of a key whose events follow the steps, else 1 us; 5 us if steps have one name.
    """
    steps = len(pattern)
    repeats = len(set(pattern)) < steps
    offsets, times, own = events
    if not times.size:
        return Matched(np.empty((0, steps), np.int64), np.empty(0, np.bool_))
    starts, counts = offsets[:-1], np.diff(offsets)
    rank = np.arange(times.size) - np.repeat(starts, counts)
    first, last = times[starts], times[offsets[1:] - 1]
    wanted = np.array(pattern)[np.minimum(rank, steps - 1)] if repeats else rank
    plain = (counts <= steps) & (last - first <= within) & ~np.logical_or.reduceat(own != wanted, starts)
    keys = np.flatnonzero(plain)
    rows = np.full((keys.size, steps), ABSENT)
    for step in range(steps):
        has = counts[keys] > step
        rows[has, step] = starts[keys[has]] + step
    whole = counts[keys] == steps
    if repeats:  # a later event of the first name may begin a longer sequence
        first = np.maximum.reduceat(np.where(own == pattern[0], times, times.min()), starts)
    final = np.where(whole, last[keys] < watermark, watermark - first[keys] > within)
    if plain.all():
        return Matched(rows, final)
    if repeats:
        others = _one_by_one(events, np.flatnonzero(~plain), pattern, within, watermark)
        return Matched(np.concatenate((rows, others.rows)), np.concatenate((final, others.final)))
    places = np.flatnonzero(np.repeat(~plain, counts))
    numbers = np.repeat(np.arange(int((~plain).sum())), counts[~plain])
    others = _Pool(numbers, times[places], own[places], steps).match(within, watermark)
    found = np.where(others.rows == ABSENT, ABSENT, places[others.rows])
    return Matched(np.concatenate((rows, found)), np.concatenate((final, others.final)))


def _one_by_one(events: Events, keys: Times, pattern: Sequence[int], within: int, watermark: int) -> Matched:
    """Match the events of some keys, if steps have one name."""
    rows: list[list[int]] = []
    final: list[bool] = []
    for key in keys.tolist():
        low, high = events.offsets[key : key + 2].tolist()
        matcher = Matcher(events.times[low:high].tolist(), events.steps[low:high].tolist(), pattern, within)
        for places, step, is_final in matcher.match(watermark):
            row = [ABSENT] * len(pattern)
            row[step : step + len(places)] = [low + place for place in places]
            rows.append(row)
            final.append(is_final)
    return Matched(np.array(rows, np.int64).reshape(-1, len(pattern)), np.array(final, np.bool_))


class _Pool:
    """Events of keys by step. `free[i]` has the places of the events of step i that are in no row yet, ascending."""

    def __init__(self, keys: Times, times: Times, own: NDArray[np.int8], steps: int) -> None:
        self._keys = keys
        self._times = times
        self._steps = steps
        self._free = [np.flatnonzero(own == step) for step in range(steps)]

    def match(self, within: int, watermark: int) -> Matched:
        """Match over all steps, then over one less, and so on.

        `bound` has for each key the time before which all longer sequences are final. A first step that is in no final row, and
        whose limit reaches the bound, may still become part of a sequence: so nothing from it on is decided.
        """
        rows: list[NDArray[np.int64]] = []
        final: list[Mask] = []
        bound = np.full(int(self._keys[-1]) + 1, watermark)
        for length in range(self._steps, 0, -1):
            found = self._sequences(length, within)
            done = self._times[found[:, -1]] < bound[self._keys[found[:, 0]]]
            firsts = np.setdiff1d(self._free[0], found[done, 0], assume_unique=True)
            firsts = firsts[bound[self._keys[firsts]] - self._times[firsts] <= within]
            bound = bound.copy()
            np.minimum.at(bound, self._keys[firsts], self._times[firsts])
            for step in range(length):
                self._free[step] = np.setdiff1d(self._free[step], found[:, step], assume_unique=True)
            rows.append(self._wide(found, 0))
            final.append(done)
        for step in range(1, self._steps):
            left = self._free[step]
            rows.append(self._wide(left[:, None], step))
            final.append(self._times[left] < bound[self._keys[left]])
        return Matched(np.concatenate(rows), np.concatenate(final))

    def _wide(self, found: NDArray[np.int64], step: int) -> NDArray[np.int64]:
        """Return rows of all steps, in which `found` are the columns from `step` on."""
        rows = np.full((len(found), self._steps), ABSENT)
        rows[:, step : step + found.shape[1]] = found
        return rows

    def _sequences(self, length: int, within: int) -> NDArray[np.int64]:
        """Return the places of the sequences of the first `length` steps."""
        free = self._free[:length]
        if length == 1:
            return free[0][:, None]
        count = int(self._keys[-1]) + 1
        bounds = [np.searchsorted(self._keys[each], np.arange(count + 1)) for each in free]
        at, ends = [each[:-1].copy() for each in bounds], [each[1:] for each in bounds]
        keys = np.flatnonzero(np.logical_and.reduce([low < high for low, high in zip(at, ends, strict=True)]))
        rows: list[NDArray[np.int64]] = []
        while keys.size >= _FEW:
            keys, found = self._round(keys, free, at, ends, within)
            rows.append(found)
        rows += [
            self._of_one([each[low[key] : high[key]] for each, low, high in zip(free, at, ends, strict=True)], within)
            for key in keys.tolist()
        ]
        return np.concatenate(rows) if rows else np.empty((0, length), np.int64)

    def _round(
        self, keys: Times, free: Sequence[Times], at: Sequence[Times], ends: Sequence[Times], within: int
    ) -> tuple[Times, NDArray[np.int64]]:
        """Try one sequence of each key, from the indices `at` on, and advance them. Returns the keys that may have more."""
        places, indices = NO_TIMES, list[Times]()
        for own, low, high in zip(free, at, ends, strict=True):
            index = low[keys] if not indices else np.maximum(low[keys], np.searchsorted(own, places))
            going = index < high[keys]
            if not going.all():
                keys, index, indices = keys[going], index[going], [each[going] for each in indices]
            places = own[index]
            indices.append(index)
        found = np.stack([own[index] for own, index in zip(free, indices, strict=True)], axis=1)
        fits = self._times[found[:, -1]] - self._times[found[:, 0]] <= within
        for step, (low, index) in enumerate(zip(at, indices, strict=True)):
            low[keys] = index + (fits if step else 1)
        return keys, found[fits]

    def _of_one(self, free: Sequence[Times], within: int) -> NDArray[np.int64]:
        """Return the sequences of one key, whose places by step are `free`. Cost: 1 us an event."""
        places = [each.tolist() for each in free]
        times = [self._times[each].tolist() for each in (free[0], free[-1])]
        at, rows = [0] * len(places), list[list[int]]()
        while at[0] < len(places[0]):
            place, lacks = places[0][at[0]], False
            for step, own in enumerate(places[1:], 1):
                at[step] = bisect_left(own, place, at[step])
                if at[step] == len(own):
                    lacks = True
                    break
                place = own[at[step]]
            if lacks:
                break
            if times[1][at[-1]] - times[0][at[0]] <= within:
                rows.append([own[index] for own, index in zip(places, at, strict=True)])
                at = [index + 1 for index in at]
            else:
                at[0] += 1
        return np.array(rows, np.int64).reshape(-1, len(places))

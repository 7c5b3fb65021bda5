"""The largest number of disjoint sets of which each lasts at most `within`, on sorted columns.

The sets are formed at the events of the last step, in order of time. Each of them takes the oldest event of the first step
that is still in reach and has not been passed, and for each step between the next event behind the step before that has not
been passed; if the last of these is not after it, they are a set. Then the events up to those of the set are passed. This is
the rule of `docs/views/funnel.md` for a single key, so it yields the largest number.

The places up to which the steps are passed are the whole state. If the limit excludes no set, first in, first out finds the
same ones. Else the events of the last step are cut into blocks. All blocks advance together, one event of each at a time, from
states that are guessed; those whose guess differs from the end of the block before are repeated. The first block is right, so
the result does not depend on the guesses, and in most streams two passes are enough.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from actors.columns.times import Times
from actors.views.sets.matching import serve

_FEW = 48
"""Fewer events of the last step are taken one by one: a pass over the blocks costs as much as some 50 of them."""

_LEAST_BLOCKS = 16
"""If fewer blocks must be repeated, they are repeated one after the other."""

_PASSES = 6

_Places = NDArray[np.int64]


class Paired(NamedTuple):
    """For each step the places of the events of the sets, ascending, and how many events are passed.

    An event that is passed and in no set can be in no set whose last event is later. Nothing of the last step is left.
    """

    rows: list[_Places]
    passed: list[int]


def pair(times: Sequence[Times], within: int) -> Paired:
    """Form the sets of ascending columns; at equal times, earlier steps come first.

    Cost: 20 ns an event if no set is too long, else about 60 ns; at worst 1 us for an event of the last step.
    """
    rows = _plain(times)
    if (times[-1][rows[-1]] - times[0][rows[0]] > within).any():
        rows = _Limited(times, within, rows[-1]).rows()
    passed = [int(row[-1]) + 1 if row.size else 0 for row in rows]
    return Paired(rows, [*passed[:-1], times[-1].size])


def _plain(times: Sequence[Times]) -> list[_Places]:
    """Return the places of the sets without a limit."""
    places = [np.arange(times[0].size)]
    arrivals = times[0]
    for takers in times[1:]:
        served = serve(0, arrivals, takers)
        places.append(np.arange(takers.size) if served is None else np.flatnonzero(served))
        arrivals = takers if served is None else takers[served]
    return [each[: places[-1].size] for each in places]


class _Limited:
    """The sets of some columns. `plain` are the places of the last events of the sets without a limit."""

    def __init__(self, times: Sequence[Times], within: int, plain: _Places) -> None:
        last = times[-1]
        self._sizes = [each.size for each in times[:-1]]
        self._count = last.size
        self._reach = np.searchsorted(times[0], last - within)
        """For each event of the last step, the place of the first event of the first step that is in reach."""
        self._next = [np.append(np.searchsorted(later, own), later.size) for own, later in pairwise(times[:-1])]
        """For each event of a step, the place of the next event of the next step; for no event, that of none."""
        self._until = np.searchsorted(times[-2], last, side="right")
        """For each event of the last step, how many events of the step before are not after it."""
        self._plain = plain

    def rows(self) -> list[_Places]:
        """Return the places of the sets."""
        if self._count < _FEW:
            return self.one_by_one(0, self._count, [0] * len(self._sizes))[0]
        length = max(8, round(self._count**0.5))
        blocks = _Blocks(self, length, self._reach, self._until, self._next)
        return blocks.rows(self._guesses(length))

    def _guesses(self, length: int) -> _Places:
        """Return for each step the places up to which it may be passed at the begin of each block.

        If the event before each one of the last step was in a set, as without a limit, these are the places.
        """
        flags = np.zeros(self._count, np.int64)
        flags[self._plain] = 1
        before = np.cumsum(flags) - flags
        place, guesses = self._reach, list[_Places]()
        for size, following in zip(self._sizes, [*self._next, None], strict=True):
            place = np.minimum(np.maximum(np.maximum.accumulate(place - before), 0) + before, size)
            guesses.append(place[::length])
            if following is not None:
                place = following[place]
        return np.stack(guesses)

    def one_by_one(self, low: int, high: int, passed: list[int]) -> tuple[list[_Places], list[int]]:
        """Advance from the event `low` of the last step to the event `high`. Returns the sets, and what is passed then.

        Cost: 1 us an event.
        """
        rows: list[list[int]] = []
        reach, until = self._reach[low:high].tolist(), self._until[low:high].tolist()
        for at, (place, end) in enumerate(zip(reach, until, strict=True), low):
            places = [max(passed[0], place)]
            for step, following in enumerate(self._next, 1):
                places.append(max(passed[step], int(following[places[-1]])))
            passed = places
            if places[-1] < end:
                rows.append([*places, at])
                passed = [each + 1 for each in places]
        return list(np.array(rows, np.int64).reshape(-1, len(self._sizes) + 1).T), passed


class _Blocks:
    """The events of the last step in blocks of `length`, a column each, and what is found for them."""

    def __init__(self, limited: _Limited, length: int, reach: _Places, until: _Places, following: list[_Places]) -> None:
        count = -(-reach.size // length)
        padding = count * length - reach.size
        self._limited = limited
        self._size = reach.size
        self._length = length
        self._next = following
        self._reach = np.append(reach, np.full(padding, reach[-1])).reshape(count, length).T.copy()
        self._until = np.append(until, np.zeros(padding, np.int64)).reshape(count, length).T.copy()
        self._found = np.empty((len(following) + 1, count, length), np.int64)
        self._served = np.empty((count, length), np.bool_)

    def rows(self, starts: _Places) -> list[_Places]:
        """Return the places of the sets. `starts` are guesses of what is passed at the begin of each block, by step."""
        starts[:, 0] = 0
        ends = np.empty_like(starts)
        again = np.arange(len(self._served))
        for _ in range(_PASSES):
            ends[:, again] = self._advance(starts[:, again], again)
            again = np.flatnonzero((starts[:, 1:] != ends[:, :-1]).any(axis=0)) + 1
            starts[:, again] = ends[:, again - 1]
            if again.size < _LEAST_BLOCKS:
                break
        for block in again.tolist():
            self._repeat(block, starts, ends)
        places = np.flatnonzero(self._served.reshape(-1))
        return [*(each.reshape(-1)[places] for each in self._found), places]

    def _advance(self, starts: _Places, blocks: _Places) -> _Places:
        """Advance `blocks` from their `starts` to their ends, which are returned."""
        reach, until = self._reach[:, blocks], self._until[:, blocks]
        passed = list(starts)
        found = np.empty((len(passed), *reach.shape), np.int64)
        served = np.empty(reach.shape, np.bool_)
        for at in range(self._length):
            place = np.maximum(passed[0], reach[at], out=found[0, at])
            for step, following in enumerate(self._next, 1):
                place = np.maximum(passed[step], following[place], out=found[step, at])
            fits = np.less(place, until[at], out=served[at])
            passed = [each[at] + fits for each in found]
        self._found[:, blocks] = found.transpose(0, 2, 1)
        self._served[blocks] = served.T
        return np.stack(passed)

    def _repeat(self, block: int, starts: _Places, ends: _Places) -> None:
        """Repeat a block, and each block behind it whose begin changes by that."""
        start: list[int] = starts[:, block].tolist()
        while block < len(self._served):
            low = block * self._length
            rows, passed = self._limited.one_by_one(low, min(low + self._length, self._size), start)
            places = rows[-1] - low
            self._served[block] = False
            self._served[block, places] = True
            self._found[:, block, places] = rows[:-1]
            same = passed == ends[:, block].tolist()
            ends[:, block] = passed
            if same:
                return
            block, start = block + 1, passed
            if block < len(self._served):
                starts[:, block] = start

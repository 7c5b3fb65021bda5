"""Lists sequences, and the events of a key, as columns: merges the pieces and clips them to the query, block by block.

Used outside of the actors, on the thread that answers. Opens one piece at a time, so memory does not grow with the answer.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from actors.columns.text import Text
from actors.columns.times import INT64_MAX, Times
from actors.records.roles import NUMERIC
from actors.views.funnel.arguments import STATES, Cursor, Listing
from actors.views.funnel.pieces import Rows
from actors.views.funnel.slices import Part, hashes_of, keys_named
from actors.views.view import Block

COMPLETE, OPEN, LAPSED = range(len(STATES))
_BLOCK = 1_024
"""Rows of a block. A block takes some milliseconds, so other threads can run between two blocks."""


class Listed(NamedTuple):
    """Rows with the state of each."""

    rows: Rows
    states: NDArray[np.int8]

    def only(self, chosen: NDArray[np.bool_] | Times) -> "Listed":
        """Return the rows of a mask or of indices."""
        return Listed(self.rows.only(chosen), self.states[chosen])


def states_of(times: Sequence[Times] | NDArray[np.int64], watermark: int | None, within: int) -> NDArray[np.int8]:
    """Return the state of each sequence. `times` has those of each step, negative if it is not reached."""
    states = np.full(times[0].size, LAPSED, np.int8)
    if watermark is not None:
        states[watermark - times[0] <= within] = OPEN
    states[times[-1] >= 0] = COMPLETE
    return states


def sequences(parts: Sequence[Part], listing: Listing, within: int) -> Iterator[Block]:
    """Yield the sequences of `listing`, by their first time; those of one time by the hash of the key.

    `following` is a `Cursor`.
    """
    left, place = listing.limit, listing.after
    for ready in in_order(parts, listing, within):
        for low in range(0, ready.states.size, _BLOCK):
            some = ready.only(np.arange(low, min(low + _BLOCK, ready.states.size)))
            if left is not None and some.states.size > left:
                some = some.only(np.arange(left))
                place = _place_after(some, place)
                yield Block(columns_of(some, within), place)
                return
            place = _place_after(some, place)
            left = None if left is None else left - some.states.size
            yield Block(columns_of(some, within))


def in_order(parts: Sequence[Part], listing: Listing, within: int) -> Iterator[Listed]:
    """Yield the sequences of `listing` after its place, in order, whatever its limit is.

    Sweeps over the pieces: sequences before the start of the next piece are complete.
    """
    ordered = sorted(parts, key=lambda part: part.piece.span.start)
    held: Listed | None = None
    for part, following in pairwise((*ordered, None)):
        assert part is not None, "only the end of the pairs is None"
        opened = _chosen(part, listing, within)
        held = opened if held is None else _joined(held, opened)
        before = None if following is None else held.rows.times[0] < following.piece.span.start
        ready, held = (held, None) if before is None or before.all() else (held.only(before), held.only(~before))
        ready = _sorted(ready)
        if listing.after is not None:
            ready = _behind(ready, listing.after)
        if ready.states.size:
            yield ready


def story(parts: Sequence[Part], name: bytes, steps: Sequence[str], within: int, *, apart: bool) -> Iterator[Block]:
    """Yield the events of each key with a name, by time and step: in which sequence each stands, or why in none.

    The columns are the key, the time, the step, the number of the sequence, the state, and the reason. Cost: 2 us an event.
    """
    for key in keys_named(name):
        yield from _story(parts, key, steps, within, apart=apart)


def _story(parts: Sequence[Part], key: bytes, steps: Sequence[str], within: int, *, apart: bool) -> Iterator[Block]:
    found = [_of_key(part, key) for part in parts]
    times = np.concatenate([rows.times for rows, _ in found] or [np.empty((len(steps), 0), np.int64)], axis=1)
    states = np.concatenate([states_of(rows.times, watermark, within) for rows, watermark in found] or [np.empty(0, np.int8)])
    order = np.lexsort((*times[::-1],))
    times, states = times[:, order], states[order]
    events = []
    number = 0
    for row, state in zip(times.T.tolist(), states.tolist(), strict=True):
        begun = row[0] >= 0
        number += begun
        events += [(time, step, number if begun else None, state) for step, time in enumerate(row) if time >= 0]
    events.sort(key=lambda event: (event[0], event[1], event[2] or 0))
    lapsed = _Lapsed(times[:, (states == LAPSED) & (times[0] >= 0)], within)
    seen: dict[int, int] = {}
    own = shown(key)
    lines: list[tuple[str | int, int, str, int | None, str, str | None]] = []
    for time, step, sequence, state in events:
        seen[step] = time
        if sequence is not None:
            lines.append((own, time, steps[step], sequence, STATES[state], None))
        elif not apart and lapsed.lacks(time, step):
            lines.append((own, time, steps[step], None, "unmatched", f"late: a sequence had lapsed without {steps[step]}"))
        else:
            lines.append((own, time, steps[step], None, "unmatched", _reason(seen, time, step, steps, within)))
    for low in range(0, len(lines), _BLOCK):
        yield Block([list(column) for column in zip(*lines[low : low + _BLOCK], strict=True)])


class _Lapsed:
    """The lapsed sequences of a key. `times` have a row for each step and a column for each sequence, by the first time."""

    def __init__(self, times: NDArray[np.int64], within: int) -> None:
        self._within = within
        self._of_step: list[tuple[list[int], list[int]]] = [([], [])]
        for before, own in pairwise(times):
            some = (own < 0) & (before >= 0)
            self._of_step.append((times[0][some].tolist(), np.minimum.accumulate(before[some][::-1])[::-1].tolist()))

    def lacks(self, time: int, step: int) -> bool:
        """Return whether the event would have been the next step of one of them, in time.

        Such an event is matched unless the sequence was final when it came. Cost: O(log n).
        """
        firsts, earliest = self._of_step[step]
        place = bisect_left(firsts, time - self._within)
        return place < len(firsts) and earliest[place] <= time


def _reason(seen: dict[int, int], time: int, step: int, steps: Sequence[str], within: int) -> str:
    """Return why an event stands in no sequence. `seen` has the latest time of each step up to this event."""
    for earlier in range(step):
        if earlier not in seen:
            return f"no {steps[earlier]} before it"
    if time - seen[0] > within:
        return f"later than the limit after the last {steps[0]}"
    return "every earlier event in reach stands in another sequence"


def _chosen(part: Part, listing: Listing, within: int) -> Listed:
    """Return the sequences of a piece that a listing wants."""
    first, gaps = part.piece.first(), part.piece.gaps()
    chosen = (first >= part.span.start) & (first < part.span.end) & (gaps[0] > 0)
    if listing.after is not None:
        chosen &= first >= listing.after.time
    if listing.missing is not None:
        chosen &= gaps[listing.missing] == 0
    if listing.state is not None:
        times = [first, *(gap - 1 for gap in gaps[1:])]
        chosen &= states_of(times, part.watermark, within) == STATES.index(listing.state)
    some = chosen.any()
    rows = part.piece.rows() if some else Rows.none(len(gaps))
    if some and not chosen.all():
        rows = rows.only(chosen)
    if listing.key is not None:
        rows = with_keys(rows, keys_named(listing.key))
    return Listed(rows, states_of(rows.times, part.watermark, within))


def _of_key(part: Part, key: bytes) -> tuple[Rows, int | None]:
    first = part.piece.first()
    inside = (first >= part.span.start) & (first < part.span.end)
    return with_keys(part.piece.rows().only(inside), [key]), part.watermark


def with_keys(rows: Rows, keys: Sequence[bytes]) -> Rows:
    """Return the rows that have one of these keys. Cost: 10 ns a row."""
    rows = rows.only(np.flatnonzero(np.isin(rows.hashes, hashes_of(keys))))
    wanted = np.zeros(rows.size, np.bool_)
    for place in range(len(keys)):
        wanted |= rows.keys.same(Text.of(keys), np.full(rows.size, place))
    return rows.only(wanted)


def _joined(one: Listed, other: Listed) -> Listed:
    return Listed(Rows.joining([one.rows, other.rows]), np.concatenate((one.states, other.states)))


def _sorted(found: Listed) -> Listed:
    first = found.rows.times[0]
    if (first[1:] > first[:-1]).all():
        return found
    return found.only(np.lexsort((*found.rows.times[:0:-1], found.rows.hashes, found.rows.times[0])))


def _behind(found: Listed, after: Cursor) -> Listed:
    """Drop the rows before the cursor, and those at it that were delivered."""
    times, marks = found.rows.times[0], found.rows.hashes
    equal = (times == after.time) & (marks == np.uint64(after.mark))
    keep = (times > after.time) | ((times == after.time) & (marks > np.uint64(after.mark)))
    keep[np.flatnonzero(equal)[after.equal :]] = True
    return found.only(keep)


def _place_after(found: Listed, before: Cursor | None) -> Cursor | None:
    """Return the cursor after rows that follow the cursor `before`."""
    if not found.states.size:
        return before
    time, mark = int(found.rows.times[0][-1]), int(found.rows.hashes[-1])
    equal = int(((found.rows.times[0] == time) & (found.rows.hashes == np.uint64(mark))).sum())
    if before is not None and (before.time, before.mark) == (time, mark):
        equal += before.equal
    return Cursor(time, mark, equal)


def shown(key: bytes) -> str | int:
    r"""Return a key as an answer has it.

    >>> shown(b"7"), shown(b"\xff7")
    ('7', 7)
    """
    return int(key[len(NUMERIC) :]) if key.startswith(NUMERIC) else key.decode()


def columns_of(found: Listed, within: int) -> tuple[list[object], ...]:
    """Return rows as columns: the key, the state, the time of each step, and until when it may go on."""
    keys: list[object] = [shown(key) for key in found.rows.keys.take(np.arange(found.states.size))]
    states: list[object] = [STATES[state] for state in found.states.tolist()]
    times = [[None if time < 0 else time for time in each.tolist()] for each in found.rows.times]
    limits = [
        min(first + within, INT64_MAX) if state != COMPLETE else None
        for first, state in zip(found.rows.times[0].tolist(), found.states.tolist(), strict=True)
    ]
    return keys, states, *times, limits

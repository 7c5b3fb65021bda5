"""Summaries of sets: how many there are in a bucket of time, and the median, p95 and maximum of how long each step took.

All figures are exact: the times of sets are in the pieces, which are opened one after the other. A percentile is one of the
values: the smallest one that this percentage of the values does not exceed (nearest rank).
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from actors.figures.buckets import END, RATE, START
from actors.figures.ranks import NARROW, PERCENTS, Integers, narrow, ranked, ranks_of
from actors.figures.remembered import Marks, Recent
from actors.timeline.grid import Cut, Grid
from actors.timeline.span import Span
from actors.views.sets.arguments import Numbers
from actors.views.sets.pieces import Piece
from actors.views.view import Block, Field, Shape

WHOLE = "whole"
SHAPE = Shape(
    "summary",
    (
        START,
        END,
        Field("step", "text", meaning="`whole`: from the first event to the last; a step: from the event before it."),
        Field("count", meaning="Sets whose first event is in the bucket."),
        RATE,
        *(Field(f"p{percent}", meaning="A percentile of how long they took, in the stream's unit.") for percent in PERCENTS),
        Field("max", meaning="The longest that one took, in the stream's unit."),
    ),
)
MOST_STEPS = 8
"""Rows of a bucket at most: as many as a set has steps."""

KEPT_PIECES = 64
"""The newest pieces of an answer that stay open for the next one: as many as hold a million sets."""

AT_ONCE = 1 << 20
"""Sets of a bucket whose durations are sorted at once. More are counted by their digits, in several passes."""

_SORTED = 1 << 16
"""Sets of some buckets whose durations are sorted together."""

_DIGIT = 16

_WORTH = 512
"""Sets of a bucket, at least, whose figures are remembered: fewer are counted in as much time as they are found."""

_MOST_KNOWN = 8_192
"""Buckets that are remembered, at most: 600 bytes each."""

Durations = Integers
"""Unsigned integers of 32 bits if all values fit, else signed ones of 64 bits. No value is negative."""


class Opened(NamedTuple):
    """A piece whose columns are made for summaries: its first time, the first times less that, and how long each step took."""

    base: int
    firsts: Durations
    steps: tuple[Durations, ...]


class _Run(NamedTuple):
    """Sets of one piece that are in one bucket. `mark` tells compressed pieces apart; None for a raw one."""

    start: int
    end: int
    piece: Piece
    is_kept: bool
    low: int
    high: int
    mark: int | None

    @property
    def is_whole(self) -> bool:
        """Whether these are all sets of a compressed piece."""
        return self.mark is not None and self.low == 0 and self.high == self.piece.count


Key = tuple[tuple[int, int, int], ...]
"""The sets of a bucket: the mark of each of its compressed pieces, and the places of its sets in that piece."""


class _Known:
    """What earlier summaries found of compressed pieces, which do not change."""

    def __init__(self) -> None:
        self._marks = Marks[Piece]()
        self._figures = Recent[Key, list[list[int]]](_MOST_KNOWN)
        self._ordered: OrderedDict[tuple[int, ...], list[Durations]] = OrderedDict()

    def mark(self, piece: Piece) -> int | None:
        """Return a number that no other compressed piece has had; None for a raw piece."""
        return self._marks.of(piece) if piece.is_sealed else None

    def figures(self, key: Key | None) -> list[list[int]] | None:
        """Return the figures of a bucket, if they are known."""
        return None if key is None else self._figures.find(key)

    def remember(self, key: Key, found: list[list[int]]) -> None:
        """Keep the figures of a bucket."""
        self._figures.put(key, found)

    def ordered(self, marks: tuple[int, ...], make: Callable[[], list[Durations]]) -> list[Durations]:
        """Return the sorted durations of these pieces, made once. Columns of `AT_ONCE` sets are kept in all."""
        found = self._ordered.pop(marks, None)
        self._ordered[marks] = found = make() if found is None else found
        while len(self._ordered) > 1 and sum(columns[0].size for columns in self._ordered.values()) > AT_ONCE:
            self._ordered.popitem(last=False)
        return found

    def forget(self) -> None:
        """Free the sorted durations."""
        self._ordered.clear()


_known = _Known()


def numbers(pieces: Sequence[Piece], names: Sequence[str], span: Span, asked: Numbers) -> Iterator[Block]:
    """Yield the figures of each bucket in order of time: a row for the whole of a set, and a row for each later step.

    `names` are those of the steps. `following` is the start of the first bucket that the limit has left out.

    Cost: 40 ns a set at first; then 20 ns for each set that is in no compressed piece, 4 us a bucket, and 10 us a piece.
    Memory: see `weigh`.
    """
    left = asked.most * len(names)
    for block in _all(pieces, names, span, asked):
        if left == 0:
            yield Block([column[:0] for column in block.columns], block.columns[0][0])
            return
        size = len(block.columns[0])
        if size > left:
            yield Block([column[:left] for column in block.columns], block.columns[0][left])
            return
        left -= size
        yield block


def _all(pieces: Sequence[Piece], names: Sequence[str], span: Span, asked: Numbers) -> Iterator[Block]:
    """Yield the figures of all buckets."""
    ordered = sorted((piece for piece in pieces if piece.span.overlaps(span)), key=lambda piece: piece.span.start)
    if not ordered:
        return
    kept = {id(piece) for piece in ordered[-KEPT_PIECES:]}
    held: list[_Run] = []
    for piece, following in pairwise((*ordered, None)):
        assert piece is not None, "only the end of the pairs is None"
        held += _runs(piece, span, asked, is_kept=id(piece) in kept)
        if asked.by is None:
            continue
        until = None if following is None else max(span.start, following.span.start)
        ready = [run for run in held if until is None or run.end <= until]
        if until is None or sum(run.high - run.low for run in ready) >= _SORTED:
            held = [] if until is None else [run for run in held if run.end > until]
            yield from _of_runs(ready, names, asked.per_s, span)
    if held:  # without buckets
        yield _block([held], names, asked.per_s, span)


def weigh(sets: int, steps: int) -> int:
    """Return the bytes of a summary of that many sets: the pieces that stay open, and the values that are sorted."""
    return 8 * (steps + 1) * min(sets, KEPT_PIECES << 14) + 4 * 8 * min(sets, AT_ONCE + _SORTED)


def _runs(piece: Piece, span: Span, asked: Numbers, *, is_kept: bool) -> list[_Run]:
    """Return the runs of a piece: one for each bucket. Without buckets, a run reaches from its first to its last time."""
    opened, mark = _open(piece, is_kept=is_kept), _known.mark(piece)
    low, high = (_before(opened, bound) for bound in (span.start, span.end))
    if low >= high:
        return []
    if asked.by is None:
        start, end = (opened.base + int(opened.firsts[place]) for place in (low, high - 1))
        return [_Run(start, end + 1, piece, is_kept, low, high, mark)]
    is_whole = is_kept and mark is not None and high - low == piece.count
    cut = _cut_once(piece, asked.by, asked.per_s) if is_whole else _cut(opened, low, high, asked.by, asked.per_s)
    bounds = pairwise((*cut.firsts, high - low))
    return [
        _Run(start, end, piece, is_kept, low + first, low + last, mark)
        for start, end, (first, last) in zip(cut.starts, cut.ends, bounds, strict=True)
    ]


def _cut(opened: Opened, low: int, high: int, by: Grid, per_s: int) -> Cut:
    return by.cut(opened.firsts[low:high].astype(np.int64) + opened.base, per_s)


@lru_cache(maxsize=KEPT_PIECES)
def _cut_once(piece: Piece, by: Grid, per_s: int) -> Cut:
    """Return where a whole compressed piece is cut, for the next answer with the same buckets."""
    return _cut(_kept(piece), 0, piece.count, by, per_s)


def _before(opened: Opened, bound: int) -> int:
    """Return the number of sets whose first time is before `bound`."""
    offset = bound - opened.base
    if offset <= 0:
        return 0
    size = opened.firsts.size
    return size if offset > int(opened.firsts[-1]) else int(np.searchsorted(opened.firsts, opened.firsts.dtype.type(offset)))


def _of_runs(runs: list[_Run], names: Sequence[str], per_s: int, span: Span) -> Iterator[Block]:
    """Yield the figures of whole buckets."""
    runs.sort(key=lambda run: run.start)
    group: list[list[_Run]] = []
    count = 0
    for run in runs:
        if group and group[-1][0].start == run.start:
            group[-1].append(run)
        else:
            if count >= _SORTED:
                yield _block(group, names, per_s, span)
                group, count = [], 0
            group.append([run])
        count += run.high - run.low
    if group:
        yield _block(group, names, per_s, span)


def _block(buckets: list[list[_Run]], names: Sequence[str], per_s: int, span: Span) -> Block:
    counts = [sum(run.high - run.low for run in bucket) for bucket in buckets]
    keys = [_key(bucket, count) for bucket, count in zip(buckets, counts, strict=True)]
    rows_of = [_known.figures(key) for key in keys]
    some: list[int] = []
    for place, size in enumerate(counts):
        if rows_of[place] is not None:
            continue
        if size > AT_ONCE:
            rows_of[place] = _digits(buckets[place], size, len(names))
        elif keys[place] is None and sum(run.high - run.low for run in buckets[place] if run.is_whole) >= _SORTED:
            rows_of[place] = _joined(buckets[place], size)
        else:
            some.append(place)
    for place, found in zip(some, _sorted([buckets[each] for each in some], len(names)), strict=True):
        rows_of[place] = found
    for key, own in zip(keys, rows_of, strict=True):
        assert own is not None, "all are filled above"
        if key is not None:
            _known.remember(key, own)
    rows = [row for each_of in rows_of if each_of is not None for row in each_of]
    measures = len(names)
    starts = [max(min(run.start for run in bucket), span.start) for bucket in buckets]
    ends = [min(max(run.end for run in bucket), span.end) for bucket in buckets]
    rates = [count * per_s / max(1, end - start) for count, start, end in zip(counts, starts, ends, strict=True)]

    def each(values: Sequence[Any]) -> list[Any]:
        return [value for value in values for _ in range(measures)]

    figures = [list(column) for column in zip(*rows, strict=True)]
    return Block([each(starts), each(ends), [WHOLE, *names[1:]] * len(buckets), each(counts), each(rates), *figures])


def _sorted(buckets: Sequence[Sequence[_Run]], steps: int) -> list[list[list[int]]]:
    """Return for each bucket p50, p95 and the maximum, first of the whole and then of each later step."""
    if not buckets:
        return []
    opened = [[(_open(run.piece, is_kept=run.is_kept), run.low, run.high) for run in bucket] for bucket in buckets]
    sizes = np.array([sum(high - low for _, low, high in bucket) for bucket in opened], np.int64)
    ranks = ranks_of(sizes)
    columns = [
        np.concatenate([piece.steps[step][low:high] for bucket in opened for piece, low, high in bucket])
        for step in range(steps - 1)
    ]
    found = np.empty((sizes.size, steps, len(ranks)), np.int64)
    for place, values in enumerate([_sum(columns), *columns]):
        found[:, place] = ranked(values, sizes, ranks).T
    figures: list[list[list[int]]] = found.tolist()
    return figures


def _joined(bucket: Sequence[_Run], count: int) -> list[list[int]]:
    """Return the same figures of one bucket: the sets of whole compressed pieces are sorted once, and only the others now."""
    whole = [run for run in bucket if run.is_whole]
    before = _known.ordered(tuple(sorted(run.mark for run in whole if run.mark is not None)), lambda: _ordered(whole))
    others = [run for run in bucket if not run.is_whole]
    rest = _ordered(others) if others else [values[:0] for values in before]
    places = [-(-count * percent // 100) - 1 for percent in PERCENTS]
    return [[*(nth(*pair, place) for place in places), nth(*pair, count - 1)] for pair in zip(before, rest, strict=True)]


def _ordered(runs: Sequence[_Run]) -> list[Durations]:
    """Return the durations of runs, each ascending: of the whole, then of each later step. Cost: a sort of each."""
    opened = [(_open(run.piece, is_kept=run.is_kept), run.low, run.high) for run in runs]
    columns = [
        np.concatenate([piece.steps[step][low:high] for piece, low, high in opened]) for step in range(len(opened[0][0].steps))
    ]
    return [np.sort(narrow(values)) for values in (_sum(columns), *columns)]


def nth(one: Durations, other: Durations, place: int) -> int:
    """Return the value at `place` of the union of two ascending columns. Cost: O(log n)."""
    low, high = max(0, place + 1 - other.size), min(place + 1, one.size)
    while low < high:
        middle = (low + high) // 2
        if int(one[middle]) < int(other[place - middle]):
            low = middle + 1
        else:
            high = middle
    return max(int(part[last - 1]) for part, last in ((one, low), (other, place + 1 - low)) if last)


def _key(bucket: Sequence[_Run], count: int) -> Key | None:
    """Return what tells a bucket apart from all others; None if it has sets that are not compressed, or few sets."""
    if count < _WORTH or any(run.mark is None for run in bucket):
        return None
    return tuple((run.mark, run.low, run.high) for run in bucket if run.mark is not None)


def _sum(columns: Sequence[Durations]) -> Durations:
    """Return the sum of columns, in 32 bits if it fits."""
    fits = sum(int(column.max()) for column in columns) <= NARROW
    total = columns[0] if fits else columns[0].astype(np.int64)
    for column in columns[1:]:
        total = total + column
    return total


def _digits(bucket: Sequence[_Run], count: int, steps: int) -> list[list[int]]:
    """Return the same figures of one bucket of any size, in bounded memory: by the digits of 16 bits, the highest first."""
    ranks = [-(-count * percent // 100) - 1 for percent in PERCENTS]
    largest = [0] * steps
    for values in _measures(bucket):
        largest = [max(known, int(each.max())) for known, each in zip(largest, values, strict=True)]
    found = [[0] * len(ranks) for _ in range(steps)]
    left = [list(ranks) for _ in range(steps)]
    for level in reversed(range(-(-max(1, max(largest).bit_length()) // _DIGIT))):
        shift = level * _DIGIT
        counted = [[np.zeros(1 << _DIGIT, np.int64) for _ in ranks] for _ in range(steps)]
        for values in _measures(bucket):
            for step, column in enumerate(values):
                digits, lead = (column >> shift) & ((1 << _DIGIT) - 1), column >> (shift + _DIGIT) if level < 3 else None
                for place, prefix in enumerate(found[step]):
                    own = digits if lead is None else digits[lead == prefix]
                    counted[step][place] += np.bincount(own, minlength=1 << _DIGIT)
        for step in range(steps):
            for place, column in enumerate(counted[step]):
                until = np.cumsum(column)
                digit = int(np.searchsorted(until, left[step][place], "right"))
                left[step][place] -= int(until[digit - 1]) if digit else 0
                found[step][place] = (found[step][place] << _DIGIT) + digit
    return [[*percentiles, most] for percentiles, most in zip(found, largest, strict=True)]


def _measures(bucket: Sequence[_Run]) -> Iterator[list[NDArray[np.int64]]]:
    """Yield the durations of a bucket, piece by piece: of the whole, then of each later step."""
    for run in bucket:
        steps = [step[run.low : run.high].astype(np.int64) for step in _open(run.piece, is_kept=run.is_kept).steps]
        yield [_sum(steps).astype(np.int64), *steps]


def _open(piece: Piece, *, is_kept: bool) -> Opened:
    return _kept(piece) if is_kept and piece.is_sealed else _opened(piece)


def _opened(piece: Piece) -> Opened:
    columns = piece.opened()
    base = int(columns[0][0])
    return Opened(base, narrow(columns[0] - base), tuple(narrow(later - before) for before, later in pairwise(columns)))


_kept = lru_cache(maxsize=KEPT_PIECES)(_opened)


def forget() -> None:
    """Free what answers have kept of pieces. Figures of buckets stay: they are small."""
    _kept.cache_clear()
    _cut_once.cache_clear()
    _known.forget()

"""Lists merged cells as columns, and as lines of JSON for sinks, block by block.

Used outside of the actors, on the thread that answers. The hashes of a period are read only if several slices have seen it, one
period at a time.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from actors.figures.buckets import END, RATE, START, buckets_of, in_blocks
from actors.timeline.periods import MINUTE, MINUTE_MS, Periods
from actors.timeline.span import Span
from actors.views.uniques.arguments import GRANULARITIES, Figures, Rows
from actors.views.uniques.piece import Piece
from actors.views.uniques.sketch import Estimate, estimate
from actors.views.view import Block, Field, Shape

_BLOCK = 1_024
"""Rows of a block. A block takes some milliseconds, so other threads can run in between."""

_ROW = (
    '{"granularity":"%s","start":%d,"end":%d,"unique":%d,"frames":%d,"lower":%d,"upper":%d,'
    '"exact":%s,"final":%s,"revision":%d}\n'
)
_JSON = ("false", "true")

SHAPE = Shape(
    "uniques",
    (
        Field("granularity", "text"),
        *(Field(name) for name in ("start", "end", "unique", "frames", "lower", "upper")),
        *(Field(name, "flag") for name in ("exact", "final")),
        Field("revision"),
    ),
    next_is_last=True,
)
SUMMARY = Shape(
    "summary",
    (
        START,
        END,
        Field("unique", meaning="Distinct users of the bucket."),
        Field("count", meaning="Frames of these users."),
        RATE,
        Field("lower", meaning="The lower bound of the number of users, with 95 % confidence."),
        Field("upper", meaning="The upper bound of the number of users, with 95 % confidence."),
        Field("exact", "flag", meaning="Whether the users were counted and not estimated."),
    ),
)
_COLUMNS = len(SHAPE.fields)
_MS = 1_000
_START, _FRAMES = 1, 4

Matrix = NDArray[np.int64]
"""Rows as columns, one for each field: the granularity by its level, flags as 0 and 1."""


class Table:
    """The cells of `pieces`, all of one level, grouped by period."""

    def __init__(self, level: int, pieces: Sequence[Piece], periods: Periods) -> None:
        self._level = level
        self._pieces = pieces
        self._periods = periods
        self._starts = _column([each.starts for each in pieces])
        self._frames = _column([each.frames for each in pieces])
        self._revisions = _column([each.revisions for each in pieces])
        self._final = _column([each.final for each in pieces])
        self._sizes = _column([each.highs - each.lows for each in pieces])
        self._first = np.cumsum([0, *(each.count for each in pieces)])
        self._sketched = {
            int(first) + index: sketch
            for first, each in zip(self._first, pieces, strict=False)
            for index, sketch in each.sketches.items()
        }
        self._known = {
            int(first) + index: known
            for first, each in zip(self._first, pieces, strict=False)
            for index, known in each.known.items()
        }
        # One piece is in order already.
        self._order = np.argsort(self._starts, kind="stable") if len(pieces) > 1 else np.arange(self._starts.size)
        ordered = self._starts[self._order]
        self._groups = np.flatnonzero(np.concatenate((np.ones(1, np.bool_), ordered[1:] != ordered[:-1], np.ones(1, np.bool_))))
        self.keys = ordered[self._groups[:-1]]
        """When the periods begin, ms since 1970, ascending."""

    def find(self, starts: Sequence[int]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Return the places in `keys` of those of `starts` that are there, and which these are."""
        wanted = np.array(starts, np.int64)
        places = np.minimum(np.searchsorted(self.keys, wanted), self.keys.size - 1)
        found = self.keys[places] == wanted
        return places[found], found

    def read(self, rows: NDArray[np.int64]) -> Matrix:
        """Return the rows at these places in `keys`; a period without frames has 0 of them."""
        if not rows.size:
            return np.empty((_COLUMNS, 0), np.int64)
        low, sizes = self._groups[rows], self._groups[rows + 1] - self._groups[rows]
        firsts = np.cumsum(sizes) - sizes
        cells = self._order[np.arange(int(sizes.sum())) + np.repeat(low - firsts, sizes)]
        frames = np.add.reduceat(self._frames[cells], firsts, dtype=np.int64)
        revisions = np.maximum(np.add.reduceat(self._revisions[cells], firsts, dtype=np.int64), 1)
        final = np.logical_or.reduceat(self._final[cells], firsts)
        unique = self._sizes[cells[firsts]].astype(np.int64)
        lower, upper, exact = unique.copy(), unique.copy(), np.ones(rows.size, np.int64)
        joined = sizes > 1
        if self._sketched:
            joined |= np.logical_or.reduceat(np.isin(cells, list(self._sketched)), firsts)
        for row in np.flatnonzero(joined).tolist():
            own = cells[int(firsts[row]) : int(firsts[row] + sizes[row])].tolist()
            (unique[row], lower[row], upper[row]), exact[row] = self._joined(own, int(frames[row]))
        starts = self.keys[rows]
        level = np.full(rows.size, self._level, np.int64)
        times = starts // 1000, self._periods.ends(self._level, starts) // 1000
        return np.stack((level, *times, unique, frames, lower, upper, exact, final, revisions))

    def _joined(self, cells: Sequence[int], frames: int) -> tuple[Estimate, bool]:
        """Return how many users these cells with `frames` frames have together, and whether that is exact."""
        users = []
        for cell in cells:
            number = int(np.searchsorted(self._first, cell, side="right")) - 1
            own = self._pieces[number].users(cell - int(self._first[number]))
            if own.size:
                users.append(own)
        sketches = [self._sketched[cell] for cell in cells if cell in self._sketched]
        count = _distinct(users)
        if sketches:
            least = max(count, *(self._known[cell] for cell in cells if cell in self._sketched))
            return estimate(users, sketches).within(least, frames), False
        return Estimate(count, count, count), True


def lines(pieces: Sequence[Piece], arguments: Rows, periods: Periods) -> Iterator[bytes]:
    """Yield the rows asked for in blocks, as a line of JSON each: by start, or in the order wanted.

    Memory: some 60 bytes a row. Cost: some 4 us a row, 10 us more for one of an hour or longer.
    """
    for block in _matrices(pieces, arguments, periods):
        levels, *numbers, exact, final, revisions = block.tolist()
        names, flags = map(GRANULARITIES.__getitem__, levels), (map(_JSON.__getitem__, each) for each in (exact, final))
        values = chain.from_iterable(zip(names, *numbers, *flags, revisions, strict=True))
        yield ((_ROW * block.shape[1]) % tuple(values)).encode()


def blocks(pieces: Sequence[Piece], arguments: Rows, periods: Periods) -> Iterator[Block]:
    """Yield the same rows as columns. `following` is the start of the first row beyond the limit."""
    left = arguments.limit
    one_more = arguments if left is None else replace(arguments, limit=left + 1)
    for matrix in _matrices(pieces, one_more, periods):
        levels, *numbers, exact, final, revisions = matrix[:, :left]
        names = [GRANULARITIES[level] for level in levels.tolist()]
        following = None if left is None or matrix.shape[1] <= left else int(matrix[_START, left])
        yield Block((names, *numbers, exact.astype(np.bool_), final.astype(np.bool_), revisions), following)
        left = None if left is None else max(0, left - matrix.shape[1])


def figures(pieces: Sequence[Piece], span: Span, asked: Figures, periods: Periods) -> Iterator[Block]:
    """Yield the figures of each bucket with frames, by start: the users of its minutes, each counted once. Times are ms.

    Cost: a union of the users of all minutes of a bucket, 20 ns each.
    """
    seen = [each for each in pieces if each.level == MINUTE and each.count]
    minutes = np.unique(np.concatenate([np.empty(0, np.int64), *(each.starts[each.frames > 0] for each in seen)]))
    found = buckets_of(minutes, asked.by, span, _MS, asked.most, unit=MINUTE_MS)
    if not found.starts:
        yield from in_blocks([[] for _ in SUMMARY.fields], None)
        return
    firsts, last = minutes[found.bounds[:-1]], int(minutes[found.bounds[-1] - 1])
    table = Table(MINUTE, [_bucketed(each.between(Span(int(minutes[0]), last + 1)), firsts) for each in seen], periods)
    parts = [table.read(np.arange(low, min(low + _BLOCK, table.keys.size))) for low in range(0, table.keys.size, _BLOCK)]
    _, _, _, unique, frames, lower, upper, exact, _, _ = _seen(np.concatenate(parts, axis=1)).tolist()
    rates = found.rates(frames, _MS)
    flags = list(map(bool, exact))
    yield from in_blocks([found.starts, found.ends, unique, frames, rates, lower, upper, flags], found.following)


def _bucketed(piece: Piece, firsts: NDArray[np.int64]) -> Piece:
    """Return the cells with the first minute of their bucket as their start. A cell before all buckets has no frames."""
    places = np.maximum(np.searchsorted(firsts, piece.starts, "right") - 1, 0)
    return replace(piece, starts=firsts[places])


def _matrices(pieces: Sequence[Piece], arguments: Rows, periods: Periods) -> Iterator[Matrix]:
    """Yield the rows asked for that have frames."""
    tables = {
        level: Table(level, [each for each in pieces if each.level == level], periods)
        for level in sorted({each.level for each in pieces})
    }
    if arguments.wanted is None:
        left = arguments.limit
        for table in tables.values():
            for low in range(0, table.keys.size, _BLOCK):
                block = _seen(table.read(np.arange(low, min(low + _BLOCK, table.keys.size))))
                yield block[:, :left]
                if left is not None and (left := left - block.shape[1]) <= 0:
                    return
        return
    for low in range(0, len(arguments.wanted), _BLOCK):
        wanted = arguments.wanted[low : low + _BLOCK]
        places: list[int] = []
        parts = [np.empty((_COLUMNS, 0), np.int64)]
        for level, table in tables.items():
            own = [place for place, (name, _) in enumerate(wanted) if name == GRANULARITIES[level]]
            rows, found = table.find([wanted[place][1] for place in own])
            places += np.array(own, np.int64)[found].tolist()
            parts.append(table.read(rows))
        yield _seen(np.concatenate(parts, axis=1)[:, np.argsort(np.array(places, np.int64))])


def _seen(block: Matrix) -> Matrix:
    return block[:, block[_FRAMES] > 0]


def _column(columns: Sequence[NDArray[Any]]) -> NDArray[Any]:
    return columns[0] if len(columns) == 1 else np.concatenate(columns)


def _distinct(users: Sequence[NDArray[np.uint64]]) -> int:
    if len(users) < 2:
        return sum(each.size for each in users)
    joined = np.sort(np.concatenate(users))
    return 1 + int(np.count_nonzero(joined[1:] != joined[:-1]))

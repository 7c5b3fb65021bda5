"""Counts how many sequences reached each step, and the times between steps, of the whole span or by period.

Used outside of the actors, on the thread that answers. Opens one piece at a time; the times between steps are kept, 8 bytes
each. Pieces do not change. So the rows of a period that has final pieces alone are remembered, for the next answers.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple
from weakref import WeakKeyDictionary

import numpy as np

from actors.columns.times import NO_TIMES, Times
from actors.figures.remembered import Marks, Recent
from actors.timeline.periods import LEVELS, Periods
from actors.timeline.unit import UNITS
from actors.views.funnel.arguments import STATES, Totals
from actors.views.funnel.matching import Mask
from actors.views.funnel.pieces import Piece
from actors.views.funnel.render import COMPLETE, LAPSED, states_of
from actors.views.funnel.slices import Part
from actors.views.view import Block

_P50, _P95 = 50, 95
_PERCENT = 100
_MS = UNITS["ms"]


@dataclass(frozen=True, slots=True)
class Step:
    """What is known of a step: of the sequences that reached it, how many have stopped there, and the times to it."""

    reached: int
    open: int
    lapsed: int
    gaps: Times
    """The times from the step before, of all sequences that reached this one; empty for the first step."""


class Row(NamedTuple):
    """A step in an answer: as `Step`, with percentiles and the largest of the times to it, in the stream's unit."""

    reached: int = 0
    open: int = 0
    lapsed: int = 0
    spent: tuple[int | None, int | None, int | None] = (None, None, None)


Start = int | None
"""The start of a period in the stream's unit; None for the whole span."""

Kind = tuple[str | None, str, str]
"""The periods of an answer: their length and zone, and the unit of the stream."""

_MOST_KNOWN = 8_192
"""Periods that are remembered, at most: some 600 bytes each."""


class _Known:
    """What earlier answers found of final pieces."""

    def __init__(self) -> None:
        self._marks = Marks[Piece]()
        self._starts: WeakKeyDictionary[Piece, dict[Kind, tuple[Start, ...]]] = WeakKeyDictionary()
        self._rows = Recent[tuple[Kind, Start, tuple[int, ...]], list[Row]](_MOST_KNOWN)

    def mark(self, piece: Piece) -> int:
        """Return a number that no other piece has had."""
        return self._marks.of(piece)

    def starts(self, piece: Piece, kind: Kind) -> tuple[Start, ...] | None:
        """Return the periods in which a piece has sequences, if they are known."""
        return self._starts.get(piece, {}).get(kind)

    def cut(self, piece: Piece, kind: Kind, starts: tuple[Start, ...]) -> None:
        """Remember the periods in which a piece has sequences."""
        self._starts.setdefault(piece, {})[kind] = starts

    def rows(self, kind: Kind, start: Start, marks: tuple[int, ...]) -> list[Row] | None:
        """Return the rows of a period that has the sequences of these pieces, if they are known."""
        return self._rows.find((kind, start, marks))

    def remember(self, kind: Kind, start: Start, marks: tuple[int, ...], rows: list[Row]) -> None:
        """Keep the rows of a period."""
        self._rows.put((kind, start, marks), rows)


_known = _Known()


class Table:
    """The steps of each period, whose start is a time in the stream's unit; of the whole span, under None."""

    def __init__(self, parts: Sequence[Part], totals: Totals, *, steps: int, within: int, unit: str) -> None:
        self._steps = steps
        self._unit = unit
        self._within = within
        self._kind = totals.by, totals.zone, unit
        self._parts: dict[Start, list[Part]] = {}
        self._opened: dict[Piece, Mapping[Start, list[Step]]] = {}
        for part in parts:
            starts = _known.starts(part.piece, self._kind) if part.is_whole else None
            for start in self._open(part, totals) if starts is None else starts:
                self._parts.setdefault(start, []).append(part)
        self.periods = {start: self._rows(start, totals) for start in sorted(self._parts, key=lambda each: each or 0)}

    def _open(self, part: Part, totals: Totals) -> tuple[Start, ...]:
        """Open a piece, and return the periods in which it has sequences."""
        self._opened[part.piece] = found = dict(self._of(part, totals))
        if part.is_whole:
            _known.cut(part.piece, self._kind, tuple(found))
        return tuple(found)

    def _rows(self, start: Start, totals: Totals) -> list[Row]:
        """Return the rows of a period, from memory if all of its pieces are final."""
        parts = self._parts[start]
        marks = tuple(_known.mark(part.piece) for part in parts) if all(part.is_whole for part in parts) else None
        known = None if marks is None else _known.rows(self._kind, start, marks)
        if known is not None:
            return known
        for part in parts:
            if part.piece not in self._opened:
                self._open(part, totals)
        found = [self._row(own) for own in zip(*(self._opened[part.piece][start] for part in parts), strict=True)]
        if marks is not None:
            _known.remember(self._kind, start, marks, found)
        return found

    def rows(self, names: Sequence[str], *, by_period: bool) -> Iterator[Block]:
        """Yield a row for each step, of each period."""
        if not by_period and not self.periods:
            self.periods = {None: [Row() for _ in names]}
        for start, steps in self.periods.items():
            reached = [step.reached for step in steps]
            before = [None, *reached[:-1]]
            spent = [self._seconds(step) for step in steps]
            columns: list[list[object]] = [
                list(names),
                list(reached),
                [step.open for step in steps],
                [step.lapsed for step in steps],
                [_share(*pair) for pair in zip(reached, before, strict=True)],
                [_share(each, reached[0]) for each in reached],
                *(list(each) for each in zip(*spent, strict=True)),
            ]
            yield Block([[start] * len(names), *columns] if by_period else columns)

    def _whole(self, piece: Piece) -> list[Step]:
        """Return the steps of a piece whose rows are all final and in the span. Opens only the times of further steps."""
        steps = [Step(piece.reached[0], 0, piece.reached[0] - piece.reached[1], NO_TIMES)]
        gaps = piece.gaps()
        begun = None if piece.is_all_sequences else gaps[0] > 0
        for step in range(1, self._steps):
            reached = piece.reached[step]
            lapsed = reached - piece.reached[step + 1] if step + 1 < self._steps else 0
            spent = gaps[step] - gaps[step - 1]
            if reached < piece.count:
                there = gaps[step] > 0
                spent = spent[there if begun is None else there & begun]
            steps.append(Step(reached, 0, lapsed, spent))
        return steps

    def _of(self, part: Part, totals: Totals) -> Iterator[tuple[int | None, list[Step]]]:
        """Yield the steps of a piece, by period."""
        if totals.by is None and part.is_whole:
            yield None, self._whole(part.piece)
            return
        first, gaps = part.piece.first(), part.piece.gaps()
        chosen = (first >= part.span.start) & (first < part.span.end) & (gaps[0] > 0)
        if not chosen.all():
            first, gaps = first[chosen], [gap[chosen] for gap in gaps]
        if not first.size:
            return
        going = None if part.watermark is None else part.watermark - first <= self._within
        if totals.by is None:
            yield None, self._steps_of(gaps, going)
            return
        low = 0
        for start, end in self._periods(first, totals):
            high = int(np.searchsorted(first, end))
            own = slice(low, high)
            yield start, self._steps_of([gap[own] for gap in gaps], None if going is None else going[own])
            low = high

    def _periods(self, first: Times, totals: Totals) -> Iterator[tuple[int, int]]:
        """Yield the periods in which there are some of the ascending times `first`."""
        assert totals.by is not None, "there are periods"
        periods, level, per_s = Periods(totals.zone), LEVELS.index(totals.by), UNITS[self._unit]
        low = 0
        while low < first.size:
            period = periods.period(level, int(first[low]) * _MS // per_s)
            start, end = period.start * per_s // _MS, period.end * per_s // _MS
            yield start, end
            low = int(np.searchsorted(first, end))

    def _steps_of(self, gaps: Sequence[Times], going: Mask | None) -> list[Step]:
        """Return the steps of sequences, of which those of the mask `going` may go on; None if all are final."""
        there = [gap > 0 for gap in gaps]
        reached = [int(np.count_nonzero(each)) for each in there]
        steps = []
        for step, own in enumerate(there):
            stopped = reached[step] - reached[step + 1] if step + 1 < self._steps else 0
            open_ones = int(np.count_nonzero(going & own & ~there[step + 1])) if stopped and going is not None else 0
            spent = gaps[step] - gaps[step - 1] if step else NO_TIMES
            if step and reached[step] < own.size:
                spent = spent[own]
            steps.append(Step(reached[step], open_ones, stopped - open_ones, spent))
        return steps

    def _row(self, parts: Sequence[Step]) -> Row:
        """Return a step of all parts. The median, the 95th percentile and the largest of its times are some of them."""
        gaps = np.concatenate([each.gaps for each in parts])
        spent: tuple[int | None, int | None, int | None] = (None, None, None)
        if gaps.size:
            p50, p95, most = (*(-(-percent * gaps.size // _PERCENT) - 1 for percent in (_P50, _P95)), gaps.size - 1)
            ordered = np.partition(gaps, [p50, p95, most])
            spent = int(ordered[p50]), int(ordered[p95]), int(ordered[most])
        return Row(
            sum(each.reached for each in parts), sum(each.open for each in parts), sum(each.lapsed for each in parts), spent
        )

    def _seconds(self, row: Row) -> list[float | None]:
        return [None if time is None else time / UNITS[self._unit] for time in row.spent]


def counts(parts: Sequence[Part], within: int) -> dict[str, int]:
    """Return how many sequences are complete, open and lapsed. Cost: O(pieces) for those that are final and in the span."""
    found = np.zeros(len(STATES), np.int64)
    for part in parts:
        if part.is_whole:
            complete = part.piece.reached[-1]
            found[[COMPLETE, LAPSED]] += complete, part.piece.reached[0] - complete
            continue
        first, gaps = part.piece.first(), part.piece.gaps()
        chosen = (first >= part.span.start) & (first < part.span.end) & (gaps[0] > 0)
        states = states_of([first, *(gap - 1 for gap in gaps[1:])], part.watermark, within)[chosen]
        found += np.bincount(states, minlength=len(STATES))
    return dict(zip(STATES, found.tolist(), strict=True))


def _share(count: int, of: int | None) -> float | None:
    return count / of if of else None

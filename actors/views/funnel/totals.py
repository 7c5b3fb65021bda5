"""Counts how many sequences reached each step, and the times between steps, of the whole span or by period.

Used outside of the actors, on the thread that answers. Opens one piece at a time; the times between steps are kept, 8 bytes
each.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from actors.columns.times import Times
from actors.timeline.periods import LEVELS, Periods
from actors.timeline.unit import UNITS
from actors.views.funnel.arguments import Totals
from actors.views.funnel.render import COMPLETE, LAPSED, OPEN, states_of
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


class Table:
    """The steps of each period, whose start is a time in the stream's unit; of the whole span, under None."""

    def __init__(self, parts: Sequence[Part], totals: Totals, *, steps: int, within: int, unit: str) -> None:
        self._steps = steps
        self._unit = unit
        self._within = within
        found: dict[int | None, list[list[Step]]] = {}
        for part in parts:
            for start, own in self._of(part, totals):
                found.setdefault(start, []).append(own)
        self.periods = {start: self._sum(found[start]) for start in sorted(found, key=lambda each: each or 0)}

    def totals(self) -> dict[str, int]:
        """Return how many sequences are complete, open and lapsed."""
        each = [step for steps in self.periods.values() for step in steps]
        complete = sum(steps[-1].reached for steps in self.periods.values())
        return {"complete": complete, "open": sum(step.open for step in each), "lapsed": sum(step.lapsed for step in each)}

    def rows(self, names: Sequence[str], *, by_period: bool) -> Iterator[Block]:
        """Yield a row for each step, of each period."""
        if not by_period and not self.periods:
            self.periods = {None: [Step(0, 0, 0, np.empty(0, np.int64)) for _ in names]}
        for start, steps in self.periods.items():
            reached = [step.reached for step in steps]
            before = [None, *reached[:-1]]
            spent = [self._seconds(step.gaps) for step in steps]
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

    def _of(self, part: Part, totals: Totals) -> Iterator[tuple[int | None, list[Step]]]:
        """Yield the steps of a piece, by period."""
        first, gaps = part.piece.first(), part.piece.gaps()
        chosen = (first >= part.span.start) & (first < part.span.end) & (gaps[0] > 0)
        if not chosen.all():
            first, gaps = first[chosen], [gap[chosen] for gap in gaps]
        if not first.size:
            return
        states = states_of([first, *(gap - 1 for gap in gaps[1:])], part.watermark, self._within)
        if totals.by is None:
            yield None, self._steps_of(gaps, states)
            return
        low = 0
        for start, end in self._periods(first, totals):
            high = int(np.searchsorted(first, end))
            yield start, self._steps_of([gap[low:high] for gap in gaps], states[low:high])
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

    def _steps_of(self, gaps: Sequence[Times], states: NDArray[np.int8]) -> list[Step]:
        steps = []
        for step in range(self._steps):
            reached = gaps[step] > 0
            stopped = reached & (states != COMPLETE)
            if step + 1 < self._steps:
                stopped &= gaps[step + 1] == 0
            spent = (gaps[step] - gaps[step - 1])[reached] if step else np.empty(0, np.int64)
            open_ones, lapsed = (int((stopped & (states == state)).sum()) for state in (OPEN, LAPSED))
            steps.append(Step(int(reached.sum()), open_ones, lapsed, spent))
        return steps

    def _sum(self, parts: Sequence[list[Step]]) -> list[Step]:
        return [
            Step(
                sum(each.reached for each in own),
                sum(each.open for each in own),
                sum(each.lapsed for each in own),
                np.concatenate([each.gaps for each in own]),
            )
            for own in zip(*parts, strict=True)
        ]

    def _seconds(self, gaps: Times) -> tuple[float | None, float | None, float | None]:
        """Return the median, the 95th percentile and the largest of times, in seconds: each is one of them."""
        if not gaps.size:
            return None, None, None
        places = [-(-percent * gaps.size // _PERCENT) - 1 for percent in (_P50, _P95)]
        ordered = np.partition(gaps, [*places, gaps.size - 1])
        p50, p95, most = (int(ordered[place]) / UNITS[self._unit] for place in (*places, gaps.size - 1))
        return p50, p95, most


def _share(count: int, of: int | None) -> float | None:
    return count / of if of else None

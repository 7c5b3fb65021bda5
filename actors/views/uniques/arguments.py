"""The arguments of a query of `uniques`: which periods of which lengths."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from actors.columns.times import Times
from actors.timeline.grid import Grid
from actors.timeline.periods import LEVELS

GRANULARITIES = LEVELS
"""The lengths of periods, shortest first. A `level` is an index in this tuple."""


@dataclass(frozen=True, slots=True)
class Rows:
    """The arguments of a query: all rows of a granularity that begin in the span, or single rows in a given order."""

    granularity: str | None
    """One of `GRANULARITIES`; None with `wanted`."""
    wanted: tuple[tuple[str, int], ...] | None = None
    """Single rows: the granularity and the start, ms since 1970, of each."""
    limit: int | None = None
    """Return at most this many rows of the granularity. None: all."""

    def wanted_of(self, level: int) -> Times:
        """Return the starts of the wanted rows of one level, ascending and distinct."""
        name = GRANULARITIES[level]
        starts = np.array([start for each, start in self.wanted or () if each == name], np.int64)
        return np.unique(starts)

    def levels(self) -> list[int]:
        """Return the selected levels, shortest first."""
        if self.wanted is None:
            assert self.granularity is not None, "a query has a granularity or wanted rows"
            return [GRANULARITIES.index(self.granularity)]
        return sorted({GRANULARITIES.index(name) for name, _ in self.wanted})


@dataclass(frozen=True, slots=True)
class Figures(Rows):
    """The users of all minutes that begin in the span, in each bucket of `by`; None: in one bucket.

    The answer has at most `most` buckets.
    """

    by: Grid | None = None
    most: int = 1 << 62


@dataclass(frozen=True, slots=True)
class Whole(Rows):
    """Single rows that are to be published: an answer without the part of some slice is of no use."""

    whole: ClassVar[bool] = True


@dataclass(frozen=True, slots=True)
class Counts(Whole):
    """The frames of all periods of all lengths that begin in the span, without their users."""

    granularity: str | None = None

    def levels(self) -> list[int]:
        """Return all levels."""
        return list(range(len(GRANULARITIES)))

"""The levels of periods that a stream keeps, and how frames and users get from one level to the next."""

from collections.abc import Sequence
from typing import NamedTuple

from actors.timeline.periods import DAY, HOUR, MINUTE, MONTH, WEEK, YEAR
from actors.views.uniques.arguments import GRANULARITIES

PARENTS = ((HOUR,), (DAY,), (WEEK, MONTH), (), (YEAR,), ())
"""For each level, the next longer levels that consist of whole periods of it."""


class Ladder(NamedTuple):
    """The levels that a stream keeps, and how frames and users get from one to the other.

    >>> Ladder.of(["week", "year"])
    Ladder(roots=(3, 5), parents=((3, 5), (3, 5), (3, 5), (), (5,), ()))
    """

    roots: tuple[int, ...]
    """The levels that count a frame first. Each frame reaches every kept level by exactly one way."""
    parents: tuple[tuple[int, ...], ...]
    """For each level, the next longer levels that are kept and consist of whole periods of it."""

    @staticmethod
    def of(granularities: Sequence[str]) -> "Ladder":
        """Return the ladder that keeps these granularities."""
        kept = {GRANULARITIES.index(name) for name in granularities}

        def above(level: int) -> tuple[int, ...]:
            return tuple(found for each in PARENTS[level] for found in ((each,) if each in kept else above(each)))

        parents = tuple(map(above, range(len(GRANULARITIES))))
        return Ladder((MINUTE,) if MINUTE in kept else parents[MINUTE], parents)

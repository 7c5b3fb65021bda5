"""One period of a live slice: its frames and the hashes of its users; and the levels of periods that a stream keeps.

New hashes wait until there are enough of them for a sort. Only hashes that are new to a cell are then handed to the longer
periods, so most hashes of a stream never reach the year.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from actors.columns.text import Hashes
from actors.timeline.periods import DAY, HOUR, MINUTE, MONTH, WEEK, YEAR
from actors.timeline.span import Span
from actors.views.uniques.arguments import GRANULARITIES
from actors.views.uniques.piece import NO_HASHES
from actors.views.uniques.sketch import Sketch

ENOUGH = 4_096
"""A cell with more waiting hashes than this, and more than it has users, is due to be folded."""


class Key(NamedTuple):
    """The key of a period."""

    level: int
    """Index in `GRANULARITIES`."""
    start: int
    """The start of the period, ms since 1970."""


class Cell:
    """The frames and users of one period. Not thread-safe: one live slice owns it.

    `users` are sorted, distinct hashes. The array is never modified, so it can be shared. A cell with too many users has a
    `sketch` instead, and at least `known` users. `parents` are the cells of the longer periods that contain this one.
    """

    __slots__ = (
        "end",
        "final",
        "frames",
        "key",
        "known",
        "parents",
        "revisions",
        "sketch",
        "users",
        "waiting",
        "waiting_count",
    )

    def __init__(self, key: Key, period: Span, parents: tuple["Cell", ...]) -> None:
        self.key = key
        self.end = period.end
        self.parents = parents
        self.frames = 0
        self.revisions = 0
        self.final = False
        self.users: Hashes = NO_HASHES
        self.sketch: Sketch | None = None
        self.known = 0
        self.waiting: list[Hashes] | None = None
        self.waiting_count = 0

    @property
    def due(self) -> bool:
        """Whether there are more waiting hashes than users. A fold then costs O(1) a hash, amortised."""
        return self.waiting_count > max(self.users.size, ENOUGH)

    def put(self, hashes: Hashes) -> None:
        """Add waiting `hashes`, which may repeat. The caller must not modify them later. Cost: O(1)."""
        if self.waiting is None:
            self.waiting = [hashes]
        else:
            self.waiting.append(hashes)
        self.waiting_count += hashes.size

    def fold(self, exact_users: int) -> Hashes:
        """Add the waiting hashes to the users; return those that may be new to the longer periods. Cost: a sort and a merge.

        A cell with more than `exact_users` users is turned into a sketch.
        """
        if self.waiting is None:
            return NO_HASHES
        new = self.waiting[0] if len(self.waiting) == 1 else np.concatenate(self.waiting)
        self.waiting, self.waiting_count = None, 0
        if new.size > 1:
            new = np.sort(new)
            new = new[np.concatenate((_FIRST, new[1:] != new[:-1]))]
        if self.sketch is not None:
            self.sketch.add(new)
            return new
        if self.users.size:
            places = np.searchsorted(self.users, new)
            places[places == self.users.size] = 0
            new = new[self.users[places] != new]
        if new.size:
            self.users = np.sort(np.concatenate((self.users, new))) if self.users.size else new
        if self.users.size > exact_users:
            self.shrink(exact_users + 1)  # not the size, which depends on where the polls were cut
        return new

    @property
    def least(self) -> int:
        """The number of folded users that the cell certainly has."""
        return self.users.size if self.sketch is None else self.known

    def shrink(self, known: int) -> None:
        """Replace the users, of which there are at least `known`, by a sketch."""
        self.known = max(self.known, known)
        self.sketch = Sketch()
        self.sketch.add(self.users)
        self.users = NO_HASHES


_FIRST = np.ones(1, np.bool_)


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

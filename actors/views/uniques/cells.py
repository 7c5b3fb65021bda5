"""One period of a live slice while frames come in: how many, of which users.

Used by live slices. Hashes wait until there are enough of them to be worth a sort; what is then new here goes on to the
longer periods, so most of a stream never reaches the year.
"""

from typing import NamedTuple

import numpy as np

from actors.columns.text import Hashes
from actors.timeline.span import Span
from actors.views.uniques.piece import NO_HASHES
from actors.views.uniques.sketch import Sketch

ENOUGH = 4_096
"""Waiting hashes that are worth a sort in any case."""


class Key(NamedTuple):
    """What a cell goes by: its level, and when its period begins, ms since 1970."""

    level: int
    start: int


class Cell:
    """The frames and users of the `period` of one level. Not thread-safe: one live slice owns it.

    `users` are sorted hashes, each once, and never written to, so that others may keep them. Beyond some number of them the
    cell has a `sketch` in their place.
    """

    __slots__ = ("end", "final", "frames", "key", "parents", "revisions", "sketch", "users", "waiting", "waiting_count")

    def __init__(self, key: Key, period: Span, parents: tuple["Cell", ...]) -> None:
        self.key = key
        self.end = period.end
        self.parents = parents
        self.frames = 0
        self.revisions = 0
        self.final = False
        self.users: Hashes = NO_HASHES
        self.sketch: Sketch | None = None
        self.waiting: list[Hashes] | None = None
        self.waiting_count = 0

    @property
    def due(self) -> bool:
        """Whether what waits has outgrown what is there: then a fold costs O(1) a hash, amortised."""
        return self.waiting_count > max(self.users.size, ENOUGH)

    def put(self, hashes: Hashes) -> None:
        """Let `hashes` wait. They may repeat, and are not written to any more. Cost: O(1)."""
        if self.waiting is None:
            self.waiting = [hashes]
        else:
            self.waiting.append(hashes)
        self.waiting_count += hashes.size

    def fold(self, exact_users: int) -> Hashes:
        """Add what waits to the users, and return what the longer periods may not know yet. Cost: a sort, and a merge.

        With more than `exact_users` users the cell turns into a sketch.
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
            self.shrink()
        return new

    def shrink(self) -> None:
        """Turn the users into a sketch."""
        self.sketch = Sketch()
        self.sketch.add(self.users)
        self.users = NO_HASHES


_FIRST = np.ones(1, np.bool_)

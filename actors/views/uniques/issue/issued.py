"""The rows that were published: their frames, their revision, and whether they were final."""

from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from actors.columns.times import NO_TIMES, Times
from actors.views.uniques.arguments import GRANULARITIES

_MS = 1_000
_MANY = 65_536
"""Rows that wait before they are sorted in."""


class Row(msgspec.Struct, frozen=True):
    """The members of a published row by which later rows are decided. `start` is in seconds since 1970."""

    granularity: str
    start: int
    frames: int
    final: bool
    revision: int

    @property
    def key(self) -> bytes:
        """The key of the period: each later revision has the same one."""
        return f"{self.granularity}/{self.start}".encode()


row_of = msgspec.json.Decoder(Row).decode
"""Return the row in a line. Raises msgspec.MsgspecError."""


class Marks(NamedTuple):
    """What was published of some periods: frames and revision, 0 of a period without a row; and whether the row was final."""

    frames: NDArray[np.int64]
    revisions: NDArray[np.int64]
    final: NDArray[np.bool_]


class Issued:
    """The last published row of each period. Memory: 25 bytes a row. One actor owns it."""

    def __init__(self) -> None:
        none = np.zeros(0, np.int64)
        self._starts: list[Times] = [NO_TIMES for _ in GRANULARITIES]
        self._marks = [Marks(none, none, none.astype(np.bool_)) for _ in GRANULARITIES]
        self._waiting: dict[tuple[int, int], Row] = {}

    def put(self, row: Row) -> None:
        """Note that a row was published, after all that were noted before. Cost: O(1), amortised O(rows / 65,536)."""
        self._waiting[GRANULARITIES.index(row.granularity), row.start * _MS] = row
        if len(self._waiting) >= _MANY:
            self._settle()

    def of(self, level: int, starts: Times) -> Marks:
        """Return what was published of the periods of a level that begin at `starts`. Cost: O(log rows) for each."""
        self._settle()
        known, marks = self._starts[level], self._marks[level]
        if not known.size:
            none = np.zeros(starts.size, np.int64)
            return Marks(none, none, none.astype(np.bool_))
        places = np.minimum(np.searchsorted(known, starts), known.size - 1)
        found = known[places] == starts
        return Marks(marks.frames[places] * found, marks.revisions[places] * found, marks.final[places] & found)

    def _settle(self) -> None:
        """Sort the waiting rows in."""
        for level in {level for level, _ in self._waiting}:
            own = [(start, row) for (each, start), row in self._waiting.items() if each == level]
            starts = np.concatenate((np.array([start for start, _ in own], np.int64), self._starts[level]))
            marks = self._marks[level]
            frames = np.concatenate((np.array([row.frames for _, row in own], np.int64), marks.frames))
            revisions = np.concatenate((np.array([row.revision for _, row in own], np.int64), marks.revisions))
            final = np.concatenate((np.array([row.final for _, row in own], np.bool_), marks.final))
            self._starts[level], firsts = np.unique(starts, return_index=True)  # the first one is the newest
            self._marks[level] = Marks(frames[firsts], revisions[firsts], final[firsts])
        self._waiting = {}

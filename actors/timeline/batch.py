"""Events as columns: the only form in which they are sent between actors.

Made by a view's decoder and by the order buffer, read by live slices. There is no object per event.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from actors.columns.fields import column, listed
from actors.columns.snapshot import State
from actors.columns.times import NO_TIMES, Times, count_before


@dataclass(frozen=True, slots=True)
class Batch:
    """Event times by category: `times[c]` is the int64 column of category `c`, in the stream's unit.

    A batch is *ordered* if each column ascends. Actors share the columns, so they are never changed.
    """

    times: tuple[Times, ...]

    @staticmethod
    def empty(categories: int) -> "Batch":
        """Return a batch without events."""
        return Batch((NO_TIMES,) * categories)

    @staticmethod
    def concatenate(batches: Iterable["Batch"], categories: int) -> "Batch":
        """Join `batches` column by column, in the order given. Cost: one copy."""
        columns = zip(*(batch.times for batch in batches), strict=True)
        joined = tuple(np.concatenate(column) for column in columns)
        return Batch(joined) if joined else Batch.empty(categories)

    @staticmethod
    def of_state(state: State) -> "Batch":
        """Restore a batch from its `state`."""
        return Batch(tuple(column(each, np.int64) for each in listed(state)))

    def state(self) -> State:
        """Return the state for `of_state`: the columns, not copied."""
        return self.times

    @property
    def count(self) -> int:
        """Number of events."""
        return sum(column.size for column in self.times)

    @property
    def nbytes(self) -> int:
        """Bytes of the columns."""
        return sum(column.nbytes for column in self.times)

    def ordered(self) -> "Batch":
        """Return the same events with each column ascending. Cost: one sort a column."""
        return Batch(tuple(np.sort(column) for column in self.times))

    def split(self, time: int) -> tuple["Batch", "Batch"]:
        """Cut an ordered batch into the events before `time` and the rest. Cost: O(log n), no copy."""
        return self.split_at([count_before(column, time) for column in self.times])

    def split_at(self, counts: Sequence[int]) -> tuple["Batch", "Batch"]:
        """Cut off the first `counts[c]` events of each category `c`. Cost: O(1), no copy."""
        before = Batch(tuple(column[:cut] for column, cut in zip(self.times, counts, strict=True)))
        after = Batch(tuple(column[cut:] for column, cut in zip(self.times, counts, strict=True)))
        return before, after

    def first(self) -> int | None:
        """Return the earliest time of an ordered batch, or None if it is empty."""
        return min((int(column[0]) for column in self.times if column.size), default=None)

    def last(self) -> int | None:
        """Return the latest time of an ordered batch, or None if it is empty."""
        return max((int(column[-1]) for column in self.times if column.size), default=None)

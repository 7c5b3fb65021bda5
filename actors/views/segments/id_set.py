"""A set of int64, stored as closed ranges in two sorted columns. Consecutive ids take almost no memory.

Live slices store the ids of all finished batches of an epoch in it.
"""

from array import array
from bisect import bisect_right

import numpy as np

from actors.columns.fields import column
from actors.columns.snapshot import State


class IdSet:
    """A set of ids that only grows. Not thread-safe: one slice owns it.

    >>> ids = IdSet()
    >>> for each in (1, 2, 4, 3):
    ...     ids.add(each)
    >>> 3 in ids, 5 in ids, ids.ranges
    (True, False, 1)
    """

    __slots__ = ("_ends", "_starts")

    def __init__(self) -> None:
        self._starts = array("q")
        self._ends = array("q")

    @staticmethod
    def of_state(state: State) -> "IdSet":
        """Return the set that `state` describes."""
        starts, ends = state
        starts = column(starts, np.int64)
        ends = column(ends, np.int64, starts.size)
        # The second test comes first, because `starts - 1` overflows for the smallest int64.
        if (starts > ends).any() or (starts[1:] <= ends[:-1]).any() or (starts[1:] - 1 <= ends[:-1]).any():
            raise ValueError("separate ascending ranges were expected, some overlap or touch")
        ids = IdSet()
        ids._starts.frombytes(starts.tobytes())
        ids._ends.frombytes(ends.tobytes())
        return ids

    def state(self) -> State:
        """Return the state for `of_state`. Cost: a copy."""
        return np.array(self._starts, np.int64), np.array(self._ends, np.int64)

    @property
    def ranges(self) -> int:
        """The number of ranges."""
        return len(self._starts)

    @property
    def nbytes(self) -> int:
        """Bytes of the columns, including their spare capacity."""
        return 18 * len(self._starts) + 160

    def __contains__(self, number: int) -> bool:
        """Return whether `number` is in the set. Cost: O(log ranges)."""
        place = bisect_right(self._starts, number) - 1
        return place >= 0 and number <= self._ends[place]

    def add(self, number: int) -> None:
        """Add a number that is not in the set. Cost: O(ranges) if it starts or joins a range, else O(log ranges)."""
        place = bisect_right(self._starts, number)
        joins_left = place > 0 and self._ends[place - 1] == number - 1
        joins_right = place < len(self._starts) and self._starts[place] == number + 1
        if joins_left and joins_right:
            self._ends[place - 1] = self._ends[place]
            del self._starts[place], self._ends[place]
        elif joins_left:
            self._ends[place - 1] = number
        elif joins_right:
            self._starts[place] = number
        else:
            self._starts.insert(place, number)
            self._ends.insert(place, number)

    def _check(self) -> None:
        """Assert the invariants: the ranges ascend, with a gap between each two."""
        assert len(self._starts) == len(self._ends)
        for start, end in zip(self._starts, self._ends, strict=True):
            assert start <= end
        for end, start in zip(self._ends, self._starts[1:], strict=False):
            assert end + 1 < start

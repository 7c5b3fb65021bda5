"""Weighted counts of names in bounded memory. Counts are exact for few names, and overestimates with a stated error for many.

Used by summaries of dropped slices and by the renderer. The algorithm is that of Misra and Gries, "Finding repeated elements"
(1982), with merges as in Agarwal et al., "Mergeable summaries" (2012).
"""

from collections.abc import Iterable, Mapping
from itertools import islice, repeat
from operator import add, index
from typing import Self

import numpy as np

from actors.columns.fields import column
from actors.columns.snapshot import State
from actors.columns.text import state_of, texts_of


def accumulate(into: dict[str, int], counts: Mapping[str, int]) -> None:
    """Add `counts` to `into`. Cost: about 100 ns a name."""
    into.update(zip(counts, map(add, map(into.get, counts, repeat(0)), counts.values()), strict=True))


def counts_state(counts: Mapping[str, int]) -> State:
    """Return the state for `counts_of`. Keeps the order. Cost: 50 ns a name."""
    return state_of(counts), np.fromiter(counts.values(), np.int64, len(counts))


def counts_of(state: State) -> dict[str, int]:
    """Return the counts that `state` describes. Cost: 0.2 us a name. Raises ValueError or TypeError."""
    names, numbers = state
    counts = dict(zip(texts_of(names), column(numbers, np.int64).tolist(), strict=True))
    if len(counts) != len(numbers):
        raise ValueError(f"{len(numbers)} different names were expected, got {len(counts)}")
    return counts


class Frequent:
    """Counts of at most `2 * capacity` names. Not thread-safe while it changes.

    For a name with the true count `c`, the reported count `n` satisfies `n - max_error <= c <= n`. Each name with
    `c > max_error` is reported. Up to `capacity` distinct names, all counts are exact and `max_error` is 0. Otherwise
    `max_error` is at most the sum of all counts divided by `capacity + 1`. The same is true after any merges.

    >>> words = Frequent(capacity=2)
    >>> words.update({"lorem": 5, "ipsum": 2})
    >>> words.most(), words.max_error
    ((['lorem', 'ipsum'], [5, 2]), 0)
    >>> words.update({"dolor": 1, "sit": 1, "amet": 1})
    >>> words.most(limit=1), words.max_error
    ((['lorem'], [5]), 1)
    """

    __slots__ = ("_capacity", "_counts", "_error")

    def __init__(self, capacity: int) -> None:
        if capacity < 1:
            raise ValueError(f"a capacity of at least 1 was expected, got {capacity}")
        self._capacity = capacity
        self._counts: dict[str, int] = {}
        self._error = 0

    @staticmethod
    def of_state(state: State) -> "Frequent":
        """Return the counts that `state` describes. Same cost and errors as `counts_of`."""
        capacity, error, counts = state
        frequent = Frequent(index(capacity))
        frequent._error, frequent._counts = index(error), counts_of(counts)
        return frequent

    def state(self) -> State:
        """Return the state for `of_state`. Same cost as `counts_state`."""
        return self._capacity, self._error, counts_state(self._counts)

    @property
    def max_error(self) -> int:
        """The largest error of a reported count, and the largest count of a name that is not reported."""
        return self._error

    def __len__(self) -> int:
        """Return the number of reported names."""
        return len(self._counts)

    def update(self, counts: Mapping[str, int]) -> None:
        """Add `counts`, all greater than 0. Cost: about 100 ns a name, and O(capacity) for each `capacity` new names."""
        if len(counts) <= self._capacity:
            self._add(counts)
            return
        rest = iter(counts.items())
        while part := dict(islice(rest, self._capacity)):
            self._add(part)

    def merge(self, other: Self) -> None:
        """Add the counts of `other`, which does not change. The errors are summed."""
        self.update(other._counts)
        self._error += other._error

    def copy(self) -> "Frequent":
        """Return an independent copy. Cost: O(names), about 20 ns each."""
        twin = Frequent(self._capacity)
        twin._counts = self._counts.copy()
        twin._error = self._error
        return twin

    def most(self, limit: int | None = None) -> tuple[list[str], list[int]]:
        """Return the `limit` names with the highest counts, or all, and the counts. Ties are ordered by name. Cost: a sort."""
        counts = self._counts
        names: Iterable[str] = counts
        if limit is not None and limit < len(counts):
            if limit < 1:
                return [], []
            lowest = self._kth_largest(limit)
            names = [name for name, count in counts.items() if count >= lowest]
        ranked = sorted(sorted(names), key=counts.__getitem__, reverse=True)[:limit]
        return ranked, [counts[name] + self._error for name in ranked]

    def _add(self, counts: Mapping[str, int]) -> None:
        """Add at most `capacity` counts, then remove the rarest names if there are too many."""
        accumulate(self._counts, counts)
        if len(self._counts) > 2 * self._capacity:
            # Every counter is reduced by the same amount, so at most `capacity` stay above zero.
            excess = self._kth_largest(self._capacity + 1)
            self._counts = {name: count - excess for name, count in self._counts.items() if count > excess}
            self._error += excess

    def _kth_largest(self, rank: int) -> int:
        values = np.fromiter(self._counts.values(), np.int64, len(self._counts))
        return int(np.partition(values, values.size - rank)[values.size - rank])

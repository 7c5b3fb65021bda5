"""Weighted counts of names in bounded memory: exact for few names, overestimates with a stated error for many.

Used by summaries of dropped slices and by the renderer. Misra and Gries, "Finding repeated elements" (1982), merged as in
Agarwal et al., "Mergeable summaries" (2012).
"""

from collections.abc import Iterable, Mapping
from itertools import islice, repeat
from operator import add, index
from typing import Self

import numpy as np

from actors.columns.snapshot import State
from actors.columns.text import state_of, texts_of


def accumulate(into: dict[str, int], counts: Mapping[str, int]) -> None:
    """Add `counts` to `into`. Cost: some 100 ns a name."""
    into.update(zip(counts, map(add, map(into.get, counts, repeat(0)), counts.values()), strict=True))


def counts_state(counts: Mapping[str, int]) -> State:
    """Return what `counts_of` makes the same `counts` of, in their order. Cost: 50 ns a name."""
    return state_of(counts), np.fromiter(counts.values(), np.int64, len(counts))


def counts_of(state: State) -> dict[str, int]:
    """Return the counts of which `state` was taken. Cost: 0.2 us a name. Raises ValueError or TypeError."""
    names, numbers = state
    counts = dict(zip(texts_of(names), np.asarray(numbers, np.int64).tolist(), strict=True))
    if len(counts) != len(numbers):
        raise ValueError(f"{len(numbers)} different names were expected, got {len(counts)}")
    return counts


class Frequent:
    """Counts of at most `2 * capacity` names at any time. Not thread-safe while it changes.

    The count `n` reported of a name whose true count is `c` satisfies `n - max_error <= c <= n`, and each name with
    `c > max_error` is reported. At or under `capacity` distinct names all is exact, with a `max_error` of 0; `max_error` is
    at most the sum of all counts over `capacity + 1`. So it is for merged ones, merged in any way.

    >>> words = Frequent(capacity=2)
    >>> words.update({"lorem": 5, "ipsum": 2})
    >>> words.most(), words.max_error
    ([('lorem', 5), ('ipsum', 2)], 0)
    >>> words.update({"dolor": 1, "sit": 1, "amet": 1})
    >>> words.most(limit=1), words.max_error
    ([('lorem', 5)], 1)
    """

    __slots__ = ("_capacity", "_counts", "_error")

    def __init__(self, capacity: int) -> None:
        if capacity < 1:
            raise ValueError(f"a capacity is 1 at least, got {capacity}")
        self._capacity = capacity
        self._counts: dict[str, int] = {}
        self._error = 0

    @staticmethod
    def of_state(state: State) -> "Frequent":
        """Return the counts of which `state` was taken. Cost: that of `counts_of`, whose errors it raises."""
        capacity, error, counts = state
        frequent = Frequent(index(capacity))
        frequent._error, frequent._counts = index(error), counts_of(counts)
        return frequent

    def state(self) -> State:
        """Return what `of_state` makes the same counts of. Cost: that of `counts_state`."""
        return self._capacity, self._error, counts_state(self._counts)

    @property
    def max_error(self) -> int:
        """By how much a reported count may be too high, and how often a name that is not reported may have occurred."""
        return self._error

    def __len__(self) -> int:
        """Return how many names would be reported."""
        return len(self._counts)

    def update(self, counts: Mapping[str, int]) -> None:
        """Add `counts`, each above 0. Cost: some 100 ns a name, and O(capacity) each time that many new names have come."""
        if len(counts) <= self._capacity:
            self._add(counts)
            return
        rest = iter(counts.items())
        while part := dict(islice(rest, self._capacity)):
            self._add(part)

    def merge(self, other: Self) -> None:
        """Add what `other` counted, which stays as it is. Errors add up."""
        self.update(other._counts)
        self._error += other._error

    def copy(self) -> "Frequent":
        """Return one that changes apart from this one. Cost: O(names), some 20 ns each."""
        twin = Frequent(self._capacity)
        twin._counts = self._counts.copy()
        twin._error = self._error
        return twin

    def most(self, limit: int | None = None) -> list[tuple[str, int]]:
        """Return the `limit` names with the highest counts, or all; equal ones by code points. Cost: a sort."""
        counts = self._counts
        names: Iterable[str] = counts
        if limit is not None and limit < len(counts):
            if limit < 1:
                return []
            lowest = self._kth_largest(limit)
            names = [name for name, count in counts.items() if count >= lowest]
        ranked = sorted(sorted(names), key=counts.__getitem__, reverse=True)
        return [(name, counts[name] + self._error) for name in ranked[:limit]]

    def _add(self, counts: Mapping[str, int]) -> None:
        """Add at most `capacity` counts, after making room for them."""
        accumulate(self._counts, counts)
        if len(self._counts) > 2 * self._capacity:
            # Every counter falls by the same amount, so that at most `capacity` stay above zero.
            excess = self._kth_largest(self._capacity + 1)
            self._counts = {name: count - excess for name, count in self._counts.items() if count > excess}
            self._error += excess

    def _kth_largest(self, rank: int) -> int:
        values = np.fromiter(self._counts.values(), np.int64, len(self._counts))
        return int(np.partition(values, values.size - rank)[values.size - rank])

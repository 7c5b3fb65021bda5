"""Pieces: immutable parts of an answer with counts by name. Slices make them; `total` sums them up.

Compressed columns stay compressed until they are summed, one block at a time.
"""

import sys
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import index
from typing import Protocol, Self

import msgspec
import numpy as np

from actors.columns.block import Block, Packed, columns_of
from actors.columns.sealed import OVERHEAD_BYTES, seal, unseal
from actors.columns.snapshot import State
from actors.columns.times import Times, count_before
from actors.views.words.frequent import Frequent

Range = tuple[int, int]
"""Seconds since 1970, half-open."""

_read_names = msgspec.msgpack.Decoder(list[str]).decode


class Piece(Protocol):
    """Counts of names, immutable."""

    def __len__(self) -> int:
        """Return an upper bound of the number of names. Cost: O(1)."""

    def add_to(self, sums: Frequent) -> None:
        """Add the counts to `sums`. Cost: O(names)."""


def total(pieces: Iterable[Piece], capacity: int) -> Frequent:
    """Return the sum of `pieces`. Memory: `2 * capacity` names and one piece."""
    sums = Frequent(capacity)
    for piece in pieces:
        piece.add_to(sums)
    return sums


@dataclass(frozen=True, slots=True, eq=False)
class Counted:
    """Uncompressed counts: a copy from a live slice."""

    counts: Mapping[str, int]

    def __len__(self) -> int:
        return len(self.counts)

    def add_to(self, sums: Frequent) -> None:
        """Add the counts to `sums`."""
        sums.update(self.counts)


@dataclass(frozen=True, slots=True, eq=False)
class Remembered:
    """The counts of dropped slices, possibly with an error."""

    sums: Frequent

    def __len__(self) -> int:
        return len(self.sums)

    def add_to(self, sums: Frequent) -> None:
        """Add the counts and their error to `sums`."""
        sums.merge(self.sums)


@dataclass(frozen=True, slots=True, eq=False)
class Names:
    """Some names of a slice, and the count of each over the whole slice. Both columns are compressed, or neither."""

    count: int
    names: list[str] | Packed
    totals: Times | Packed

    @staticmethod
    def of_state(state: State) -> "Names":
        """Return the names that `state` describes. Shares compressed columns. Raises ValueError or TypeError."""
        count, names, totals = state
        (totals,) = columns_of((totals,))
        if isinstance(names, list):
            if len(names) != count or not all(isinstance(name, str) for name in names):
                raise ValueError(f"{count} names were expected, got {len(names)} values")
        elif not isinstance(names, Packed) or isinstance(totals, np.ndarray):
            raise TypeError("names and counts were expected, both compressed or neither")
        if index(count) < 1 or (isinstance(totals, np.ndarray) and totals.size != count):
            raise ValueError(f"counts of {count} names were expected")
        return Names(count, names, totals)

    @property
    def is_sealed(self) -> bool:
        """Whether the columns are compressed."""
        return not isinstance(self.names, list)

    def state(self) -> State:
        """Return the state for `of_state`. Copies nothing."""
        return self.count, self.names, self.totals

    @property
    def nbytes(self) -> int:
        """Bytes in memory. Cost: O(names) if they are not compressed."""
        if not isinstance(self.names, list):
            return len(self.names) + len(self.totals) + 2 * OVERHEAD_BYTES
        return sys.getsizeof(self.names) + sum(map(sys.getsizeof, self.names)) + 8 * self.count + 2 * OVERHEAD_BYTES

    def sealed(self) -> "Names":
        """Return the same names, compressed. Cost: about 0.8 us a name."""
        if not isinstance(self.names, list) or not isinstance(self.totals, np.ndarray):
            return self
        return Names(self.count, zlib.compress(msgspec.msgpack.encode(self.names)), seal(self.totals))

    def opened(self) -> tuple[list[str], Times]:
        """Return the names and their counts. Cost: about 0.2 us a name if compressed."""
        names = self.names if isinstance(self.names, list) else _read_names(zlib.decompress(self.names))
        return names, self.totals if isinstance(self.totals, np.ndarray) else unseal(self.totals)


@dataclass(frozen=True, slots=True, eq=False)
class Totals:
    """All names of a frozen slice and their counts, for a query whose range contains the slice."""

    runs: tuple[Names, ...]

    def __len__(self) -> int:
        return sum(run.count for run in self.runs)

    def add_to(self, sums: Frequent) -> None:
        """Add the counts to `sums`, run by run."""
        for run in self.runs:
            names, totals = run.opened()
            sums.update(dict(zip(names, totals.tolist(), strict=True)))


@dataclass(frozen=True, slots=True, eq=False)
class Rows(Block):
    """Seconds, names and counts of a frozen slice, ascending by second and name. A name is its number in the slice."""

    first: int
    """The first second."""
    last: int
    """The last second."""

    @classmethod
    def of_state(cls, state: State) -> Self:
        """Return the rows that `state` describes. Shares compressed columns. Raises ValueError or TypeError."""
        first, last, columns = state
        if index(first) > index(last):
            raise ValueError(f"a range of seconds was expected, got {first} to {last}")
        return cls(columns_of(columns, 3), first, last)

    def state(self) -> State:
        """Return the state for `of_state`. Copies nothing."""
        return self.first, self.last, self.columns


@dataclass(frozen=True, slots=True, eq=False)
class Clipped:
    """The counts of a frozen slice in the range `seconds`."""

    totals: Totals
    rows: Sequence[Rows]
    seconds: Range

    def __len__(self) -> int:
        return len(self.totals)

    def add_to(self, sums: Frequent) -> None:
        """Add the counts to `sums`. Opens one block at a time."""
        counts = np.zeros(len(self.totals), np.int64)
        for block in self.rows:
            seconds, names, numbers = block.opened()
            low, high = (count_before(seconds, bound) for bound in self.seconds)
            np.add.at(counts, names[low:high], numbers[low:high])
        start = 0
        for run in self.totals.runs:
            own = counts[start : start + run.count]
            start += run.count
            found = np.flatnonzero(own)
            if found.size:
                texts, _ = run.opened()
                sums.update(dict(zip(map(texts.__getitem__, found.tolist()), own[found].tolist(), strict=True)))

"""Columns of int64 that belong together, raw or compressed: the unit in which slices keep, share and save rows.

Each view subclasses `Block` with the fields that it must know without decompression, such as the first and last time.
"""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from actors.columns.fields import blob, column, listed
from actors.columns.sealed import OVERHEAD_BYTES, seal, unseal
from actors.columns.snapshot import State
from actors.columns.times import Times

Packed = bytes | memoryview
"""A compressed column, in memory or in a mapped file."""

Columns = tuple[Times | Packed, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """Columns of equal length, either all raw or all compressed. Immutable, so answers and states share it.

    >>> block = Block((np.arange(1_000), np.arange(1_000)))
    >>> sealed = block.sealed()
    >>> sealed.nbytes < block.nbytes, (sealed.opened()[1] == block.columns[1]).all()
    (True, np.True_)
    """

    columns: Columns

    @property
    def is_sealed(self) -> bool:
        """Whether the columns are compressed."""
        return not isinstance(self.columns[0], np.ndarray)

    @property
    def nbytes(self) -> int:
        """Bytes of the columns; for compressed ones, with the overhead of Python objects."""
        return sum(each.nbytes if isinstance(each, np.ndarray) else len(each) + OVERHEAD_BYTES for each in self.columns)

    def opened(self) -> tuple[Times, ...]:
        """Return the raw columns. Cost: 8 ns a value if they are compressed."""
        return tuple(each if isinstance(each, np.ndarray) else unseal(each) for each in self.columns)

    def first_column(self) -> Times:
        """Return the first raw column. Cost: 8 ns a value if it is compressed."""
        first = self.columns[0]
        return first if isinstance(first, np.ndarray) else unseal(first)

    def sealed(self) -> Self:
        """Return the block with compressed columns. Cost: 8 to 50 ns a value, without Python's lock."""
        return replace(self, columns=tuple(seal(each) if isinstance(each, np.ndarray) else each for each in self.columns))


def columns_of(state: State, count: int | None = None) -> Columns:
    """Return the columns of a block from a state, not copied; there must be `count` of them, or at least one.

    Raises TypeError or ValueError if they are neither all compressed, nor all raw int64 columns of equal length.
    """
    found = tuple(column(each, np.int64) if isinstance(each, np.ndarray) else blob(each) for each in listed(state))
    if len(found) != (count or len(found) or 1):
        raise ValueError(f"{count or 'some'} columns were expected, got {len(found)}")
    if len({each.size if isinstance(each, np.ndarray) else None for each in found}) > 1:
        raise ValueError("columns of equal length were expected, or compressed ones")
    return found

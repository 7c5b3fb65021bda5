"""Finished and waiting batches as rows: a piece holds those of one epoch, ascending by batch id.

Read out of slices, immutable, so answers share them. Finished rows are raw, or sealed to some ten bytes a row.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from actors.columns import fields
from actors.columns.sealed import CHUNK, OVERHEAD_BYTES, seal, unseal
from actors.columns.snapshot import State
from actors.columns.times import count_before
from actors.timeline.span import Span, span_of_state, span_state

COLUMNS = ("batch", "order", "count", "first", "last")
"""What a finished row holds: the batch id, the number of its completion, its numbers and the range of them, zero for none."""

SEAL_FROM = 128
"""Rows of the smallest piece that is sealed: of a smaller one the pieces weigh more than the rows."""

_RAW_BYTES = 200
"""What Python takes for a raw piece: the table, the piece, and its place."""

Table = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class RawRows:
    """Rows as plain columns, a row of `table` for each of `COLUMNS`. At least one row."""

    epoch: int
    table: Table

    @property
    def span(self) -> Span:
        """The batch ids."""
        return Span(int(self.table[0, 0]), int(self.table[0, -1]) + 1)

    @property
    def nbytes(self) -> int:
        """Bytes of the columns, with what Python adds."""
        return self.table.nbytes + _RAW_BYTES

    def open(self) -> Table:
        """Return the columns. Cost: nothing."""
        return self.table

    def state(self) -> State:
        """Return what `rows_of` makes the same rows of."""
        return self.epoch, None, self.table

    def sealed(self) -> "SealedRows":
        """Compress. Cost: some 0.4 us a row."""
        return SealedRows(self.epoch, self.span, tuple(seal(column) for column in self.table))


@dataclass(frozen=True, slots=True, eq=False)
class SealedRows:
    """Rows as compressed columns."""

    epoch: int
    span: Span
    data: tuple[bytes | memoryview, ...]

    @property
    def nbytes(self) -> int:
        """Bytes of the compressed columns, with what Python adds."""
        return sum(len(column) + OVERHEAD_BYTES for column in self.data) + _RAW_BYTES

    def open(self) -> Table:
        """Decompress the columns. Cost: 40 ns a row."""
        return np.stack([unseal(column) for column in self.data])

    def state(self) -> State:
        """Return what `rows_of` makes the same rows of."""
        return self.epoch, span_state(self.span), self.data


@dataclass(frozen=True, slots=True, eq=False)
class WaitingRows:
    """Batches that wait, unordered: the id of each, and a bit for each segment that it lacks."""

    epoch: int
    waiting: tuple[tuple[int, int], ...]


Rows = RawRows | SealedRows
Piece = Rows | WaitingRows


def rows_of(state: State) -> Rows:
    """Return the rows of which `state` was taken; nothing is copied."""
    epoch, known, data = state
    span = span_of_state(known)
    if span is not None:
        columns = tuple(map(fields.blob, fields.listed(data)))
        if len(columns) != len(COLUMNS):
            raise ValueError(f"{len(COLUMNS)} columns were expected, got {len(columns)}")
        return SealedRows(fields.integer(epoch), span, columns)
    if not isinstance(data, np.ndarray) or data.dtype != np.int64:
        raise TypeError(f"a table of int64 was expected, got {type(data).__name__}")
    if data.ndim != 2 or len(data) != len(COLUMNS) or not data.size or (data[0, 1:] <= data[0, :-1]).any():
        raise ValueError(f"{len(COLUMNS)} columns of rows in order were expected, got {data.shape}")
    return RawRows(fields.integer(epoch), data)


def clipped(table: Table, start: int, end: int) -> Table:
    """Return the rows with `start` <= batch id < `end`, either of them possibly beyond int64. Cost: O(log n), no copy."""
    low, high = count_before(table[0], start), count_before(table[0], end)
    return table[:, low : max(low, high)]


def cut(epoch: int, table: Table) -> list[RawRows]:
    """Return an ordered table as pieces of at most `CHUNK` rows."""
    return [RawRows(epoch, table[:, low : low + CHUNK].copy()) for low in range(0, table.shape[1], CHUNK)]


def ordered(table: Table) -> Table:
    """Return a copy of the table, ascending by batch id. Cost: O(n) where it nearly ascends."""
    return table[:, np.argsort(table[0], kind="stable")]

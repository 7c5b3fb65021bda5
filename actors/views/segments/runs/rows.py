"""Finished and pending batches as rows: parts of an answer. A piece has the rows of one epoch, by batch id.

Pieces are immutable, so slices and answers share them. Finished rows are raw, or compressed to about ten bytes a row.
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
"""The columns of a finished batch: its id, the position of its completion, and the count, first and last of its numbers.

Without numbers, first and last are 0.
"""

SEAL_FROM = 128
"""Pieces with fewer rows stay raw, because the overhead of compressed columns is larger than the rows."""

_RAW_BYTES = 200
"""Memory of a piece, beside its columns."""

Table = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class RawRows:
    """At least one finished batch, uncompressed. `table` has the shape (5, batches): one row for each of `COLUMNS`."""

    epoch: int
    table: Table

    @property
    def span(self) -> Span:
        """The span of the batch ids."""
        return Span(int(self.table[0, 0]), int(self.table[0, -1]) + 1)

    @property
    def nbytes(self) -> int:
        """Bytes in memory."""
        return self.table.nbytes + _RAW_BYTES

    def open(self) -> Table:
        """Return the table. Cost: O(1)."""
        return self.table

    def state(self) -> State:
        """Return the state for `rows_of`."""
        return self.epoch, None, self.table

    def sealed(self) -> "SealedRows":
        """Return the same rows, compressed. Cost: about 0.4 us a row."""
        return SealedRows(self.epoch, self.span, tuple(seal(column) for column in self.table))


@dataclass(frozen=True, slots=True, eq=False)
class SealedRows:
    """Finished batches as compressed columns."""

    epoch: int
    span: Span
    data: tuple[bytes | memoryview, ...]

    @property
    def nbytes(self) -> int:
        """Bytes in memory."""
        return sum(len(column) + OVERHEAD_BYTES for column in self.data) + _RAW_BYTES

    def open(self) -> Table:
        """Return the table, decompressed. Cost: 40 ns a row."""
        return np.stack([unseal(column) for column in self.data])

    def state(self) -> State:
        """Return the state for `rows_of`."""
        return self.epoch, span_state(self.span), self.data


@dataclass(frozen=True, slots=True, eq=False)
class PendingRows:
    """Pending batches, unordered: pairs of a batch id and a bit mask of the missing segments."""

    epoch: int
    waiting: tuple[tuple[int, int], ...]


Rows = RawRows | SealedRows
Piece = Rows | PendingRows


def rows_of(state: State) -> Rows:
    """Return the rows that `state` describes. Copies nothing."""
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
        raise ValueError(f"{len(COLUMNS)} columns with ascending batch ids were expected, got the shape {data.shape}")
    return RawRows(fields.integer(epoch), data)


def clipped(table: Table, start: int, end: int) -> Table:
    """Return the rows with `start` <= batch id < `end`; both bounds may lie outside int64. Cost: O(log n), no copy."""
    low, high = count_before(table[0], start), count_before(table[0], end)
    return table[:, low : max(low, high)]


def cut(epoch: int, table: Table) -> list[RawRows]:
    """Split an ordered table into pieces of at most `CHUNK` rows. Cost: a copy."""
    return [RawRows(epoch, table[:, low : low + CHUNK].copy()) for low in range(0, table.shape[1], CHUNK)]


def ordered(table: Table) -> Table:
    """Return a copy of the table in order of batch id. Cost: O(n) if it is nearly ordered."""
    return table[:, np.argsort(table[0], kind="stable")]

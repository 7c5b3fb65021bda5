"""Finished and pending batches as rows: parts of an answer. A piece has the rows of one epoch, by batch id.

Pieces are immutable, so slices and answers share them. Finished rows are raw, or compressed to about ten bytes a row.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from actors.columns import fields
from actors.columns.block import Block, columns_of
from actors.columns.sealed import CHUNK
from actors.columns.snapshot import State
from actors.columns.times import count_before
from actors.timeline.span import Span, span_of_state, span_state

COLUMNS = ("batch", "order", "count", "first", "last")
"""The columns of a finished batch: its id, the position of its completion, and the count, first and last of its numbers.

Without numbers, first and last are 0.
"""

SEAL_FROM = 128
"""Pieces with fewer rows stay raw, because the overhead of compressed columns is larger than the rows."""

PIECE_BYTES = 200
"""Memory of a piece, beside its columns."""

Table = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Rows(Block):
    """At least one finished batch of one epoch, as `COLUMNS`; `span` contains the batch ids."""

    epoch: int
    span: Span

    @classmethod
    def of(cls, epoch: int, table: Table) -> Self:
        """Return the rows of `table`, which is in order of batch id, uncompressed."""
        return cls(tuple(table), epoch, Span(int(table[0, 0]), int(table[0, -1]) + 1))

    @classmethod
    def of_state(cls, state: State) -> Self:
        """Return the rows that `state` describes. Copies nothing. Raises TypeError or ValueError."""
        epoch, span, data = state
        if (span is None) != isinstance(data, np.ndarray):
            raise TypeError("a span was expected beside compressed columns, and only there")
        columns = columns_of(tuple(data), len(COLUMNS))
        ids = columns[0]
        if isinstance(ids, np.ndarray):
            if not ids.size or (ids[1:] <= ids[:-1]).any():
                raise ValueError(f"rows with ascending batch ids were expected, got {ids.size} rows")
            return cls.of(fields.integer(epoch), data)
        found = span_of_state(span)
        assert found is not None, "checked above"
        return cls(columns, fields.integer(epoch), found)

    def state(self) -> State:
        """Return the state for `of_state`. Copies only uncompressed rows."""
        return (self.epoch, span_state(self.span), self.columns) if self.is_sealed else (self.epoch, None, self.open())

    def open(self) -> Table:
        """Return the rows as a table. Cost: a copy, or 40 ns a compressed row."""
        return np.stack(self.opened())


@dataclass(frozen=True, slots=True, eq=False)
class PendingRows:
    """Pending batches, unordered: pairs of a batch id and a bit mask of the missing segments."""

    epoch: int
    waiting: tuple[tuple[int, int], ...]


Piece = Rows | PendingRows


def clipped(table: Table, start: int, end: int) -> Table:
    """Return the rows with `start` <= batch id < `end`; both bounds may lie outside int64. Cost: O(log n), no copy."""
    low, high = count_before(table[0], start), count_before(table[0], end)
    return table[:, low : max(low, high)]


def cut(epoch: int, table: Table) -> list[Rows]:
    """Split an ordered table into pieces of at most `CHUNK` rows. Cost: a copy."""
    return [Rows.of(epoch, table[:, low : low + CHUNK].copy()) for low in range(0, table.shape[1], CHUNK)]


def ordered(table: Table) -> Table:
    """Return a copy of the table in order of batch id. Cost: O(n) if it is nearly ordered."""
    return table[:, np.argsort(table[0], kind="stable")]

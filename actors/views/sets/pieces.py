"""Runs of complete sets, as columns: raw, or compressed to two or three bytes a set.

A set is a row: its time of each step. Within a piece every column ascends. Pieces are immutable, so answers share them.
"""

from dataclasses import dataclass
from typing import Self

from actors.columns.block import Block, columns_of
from actors.columns.fields import integer, listed
from actors.columns.snapshot import State
from actors.columns.times import INT64_MAX, Times
from actors.timeline.span import Span

Rows = tuple[Times, ...]


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Piece(Block):
    """At least one set. `span` contains the times of the first step; `count` is the number of sets.

    All times are before `until`, the time after the last one. Compressed pieces of earlier versions do not know it.
    What summaries know of a compressed piece is found by the object itself, so it can be referred to weakly.
    """

    span: Span
    count: int
    until: int | None = None

    @classmethod
    def of(cls, rows: Rows) -> Self:
        """Return a raw piece of `rows`."""
        return cls(rows, Span(int(rows[0][0]), int(rows[0][-1]) + 1), rows[0].size, int(rows[-1][-1]) + 1)

    @classmethod
    def of_state(cls, state: State) -> Self:
        """Restore a piece; copies nothing. Raises ValueError or TypeError."""
        about, data = state
        block = Block(columns_of(data))
        if block.is_sealed != (about is not None):
            raise TypeError("a span and a count were expected beside compressed columns, and only there")
        if about is None:
            return cls.of(block.opened())
        start, end, count, *more = listed(about)
        until = integer(more[0], high=INT64_MAX + 1) if more else None
        return cls(block.columns, Span(integer(start), integer(end, high=INT64_MAX + 1)), integer(count, 1), until)

    def state(self) -> State:
        """Return the state for `of_state`; copies nothing."""
        if not self.is_sealed:
            return None, self.columns
        until = () if self.until is None else (self.until,)
        return (self.span.start, self.span.end, self.count, *until), self.columns

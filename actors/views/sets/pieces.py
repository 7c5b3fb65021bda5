"""Runs of complete sets, as columns: raw, or sealed to two or three bytes a set.

A set is a row: its time of each step. Within a piece every column ascends. Pieces are immutable, so answers share them.
"""

from dataclasses import dataclass
from typing import Protocol

from actors.columns.sealed import OVERHEAD_BYTES, seal, unseal
from actors.columns.snapshot import State
from actors.columns.times import Times
from actors.timeline.span import Span

Rows = tuple[Times, ...]


class Piece(Protocol):
    """Sets in a row, asked for by the time of their first step."""

    @property
    def span(self) -> Span:
        """The times of the first step."""

    @property
    def count(self) -> int:
        """How many sets there are; at least one."""

    @property
    def nbytes(self) -> int:
        """Bytes that the piece holds."""

    def rows(self) -> Rows:
        """Return the columns."""

    def state(self) -> State:
        """Return what `piece_of` makes the same piece of."""


@dataclass(frozen=True, slots=True, eq=False)
class RawSets:
    """Sets as plain columns. Cost to open: nothing."""

    columns: Rows

    @property
    def span(self) -> Span:
        """The times of the first step."""
        return Span(int(self.columns[0][0]), int(self.columns[0][-1]) + 1)

    @property
    def count(self) -> int:
        """How many sets there are."""
        return self.columns[0].size

    @property
    def nbytes(self) -> int:
        """Bytes of the columns."""
        return sum(column.nbytes for column in self.columns)

    def rows(self) -> Rows:
        """Return the columns."""
        return self.columns

    def state(self) -> State:
        """Return the columns."""
        return (None, self.columns)

    def sealed(self) -> "SealedSets":
        """Compress. Cost: some 50 ns a value."""
        return SealedSets(self.span, self.count, tuple(seal(column) for column in self.columns))


@dataclass(frozen=True, slots=True, eq=False)
class SealedSets:
    """Sets as compressed columns. Cost to open: 8 ns a value."""

    span: Span
    count: int
    data: tuple[bytes | memoryview, ...]

    @property
    def nbytes(self) -> int:
        """Bytes of the compressed columns, with what Python adds."""
        return sum(len(column) + OVERHEAD_BYTES for column in self.data)

    def rows(self) -> Rows:
        """Decompress the columns."""
        return tuple(unseal(column) for column in self.data)

    def state(self) -> State:
        """Return the span, the count, and the compressed columns."""
        return ((self.span.start, self.span.end, self.count), self.data)


def piece_of(state: State) -> RawSets | SealedSets:
    """Return the piece of which `state` was taken; nothing is copied."""
    about, columns = state
    if about is None:
        return RawSets(tuple(columns))
    start, end, count = about
    return SealedSets(Span(start, end), count, tuple(columns))

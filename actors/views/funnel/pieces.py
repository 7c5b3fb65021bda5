"""Rows of sequences as columns: raw, or compressed to some ten bytes a row and what its key takes.

A row is the time of each step of one sequence, and its key. An event that stands in no sequence is a row of its own, without
the first step. Pieces are immutable, so answers share them.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from actors.columns.block import Block, columns_of
from actors.columns.fields import blob, column, integer, listed
from actors.columns.sealed import seal, unseal
from actors.columns.snapshot import State
from actors.columns.text import Hashes, Text
from actors.columns.times import INT64_MAX, Times
from actors.timeline.span import Span

NOT_REACHED = -1
"""The time of a step that a sequence lacks."""

PIECE_ROWS = 16_384
_PADDING = 8
_LEVEL = 1
_PIECE_BYTES = 950
"""Memory of a piece beside its columns: the objects, raw or compressed."""


class Rows(NamedTuple):
    """Rows as columns. `times[i]` has the time of step i of each row, or `NOT_REACHED`."""

    times: NDArray[np.int64]
    keys: Text
    hashes: Hashes

    @staticmethod
    def none(steps: int) -> "Rows":
        """Return no rows."""
        return Rows(np.empty((steps, 0), np.int64), Text.of([]), np.empty(0, np.uint64))

    @staticmethod
    def joining(parts: "Sequence[Rows]") -> "Rows":
        """Return the rows of all `parts`, at least one. Cost: a copy, if there are several."""
        if len(parts) == 1:
            return parts[0]
        keys = Text.joining([each.keys for each in parts])
        return Rows(
            np.concatenate([each.times for each in parts], axis=1), keys, np.concatenate([each.hashes for each in parts])
        )

    @property
    def size(self) -> int:
        """The number of rows."""
        return self.hashes.size

    @property
    def events(self) -> int:
        """The number of events in all rows."""
        return int((self.times >= 0).sum())

    def first(self) -> Times:
        """Return the earliest time of each row."""
        first: Times = np.where(self.times >= 0, self.times, INT64_MAX).min(axis=0, initial=INT64_MAX)
        return first

    def only(self, rows: NDArray[np.integer] | NDArray[np.bool_]) -> "Rows":
        """Return the rows of these indices or of a mask. Shares the bytes of the keys."""
        return Rows(self.times[:, rows], self.keys.only(rows), self.hashes[rows])


def compact(keys: Text, rows: Times | None = None) -> Text:
    """Return keys as a text whose bytes have nothing else. Cost: 50 ns a key."""
    rows = np.arange(keys.starts.size) if rows is None else rows
    lengths = keys.lengths[rows]
    return Text(np.concatenate((keys.joined(rows), np.zeros(_PADDING, np.uint8))), np.cumsum(lengths) - lengths, lengths)


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Piece(Block):
    """At least one row, in order of the earliest time, whose span is `span`.

    The columns are the earliest time of each row, then for each step how much later it is plus one, or 0 if it is missing, then
    the length of each key. `marks` has the low half of each key's hash, so that a key is found without decompression.
    What totals know of a piece is found by the object itself, so it can be referred to weakly.
    """

    text: NDArray[np.uint8] | bytes | memoryview
    """The bytes of all keys, joined: raw or compressed."""
    marks: NDArray[np.uint32]
    span: Span
    events: int
    reached: tuple[int, ...]
    """How many sequences have each step."""

    @classmethod
    def of(cls, rows: Rows) -> Self:
        """Return a raw piece of `rows`. Cost: 0.3 us a row."""
        first = rows.first()
        order = np.argsort(first, kind="stable")
        first, rows = first[order], rows.only(order)
        gaps = np.where(rows.times >= 0, rows.times - first + 1, 0)
        text = rows.keys.joined(np.arange(rows.size))
        columns = (first, *(np.ascontiguousarray(gap) for gap in gaps), rows.keys.lengths.astype(np.int64))
        span = Span(int(first[0]), int(first[-1]) + 1)
        begun = rows.times[0] >= 0
        reached = tuple(int(np.count_nonzero(begun & (times >= 0))) for times in rows.times)
        return cls(columns, text, rows.hashes.astype(np.uint32), span, rows.events, reached)

    @property
    def count(self) -> int:
        """The number of rows."""
        return self.marks.size

    @property
    def is_all_sequences(self) -> bool:
        """Whether no row is an event without a sequence."""
        return self.events == sum(self.reached)

    @property
    def nbytes(self) -> int:
        """Bytes of the columns, the keys and the objects."""
        columns = sum(each.nbytes if isinstance(each, np.ndarray) else len(each) for each in self.columns)
        return columns + len(self.text) + self.marks.nbytes + _PIECE_BYTES

    def copied(self) -> Self:
        """Return a raw piece with its own copy of all columns. Raises TypeError if it is compressed."""
        if self.is_sealed:
            raise TypeError("a raw piece was expected")
        columns = tuple(np.array(each) for each in self.columns)
        return replace(self, columns=columns, text=np.array(self.text), marks=self.marks.copy())

    def sealed(self) -> Self:
        """Return the piece with compressed columns and keys. Cost: 2 us a row, without Python's lock."""
        if self.is_sealed:
            return self
        columns = tuple(seal(each) if isinstance(each, np.ndarray) else each for each in self.columns)
        return replace(self, columns=columns, text=zlib.compress(bytes(self.text), _LEVEL))

    def first(self) -> Times:
        """Return the earliest time of each row, ascending."""
        return _raw(self.columns[0])

    def gaps(self) -> list[Times]:
        """Return for each step how much later than the earliest time it is plus one, or 0."""
        return [_raw(each) for each in self.columns[1:-1]]

    def keys(self) -> Text:
        """Return the key of each row. Cost: 0.2 us a row if they are compressed."""
        lengths = _raw(self.columns[-1])
        raw = self.text if isinstance(self.text, np.ndarray) else np.frombuffer(zlib.decompress(self.text), np.uint8)
        return Text(np.concatenate((raw, np.zeros(_PADDING, np.uint8))), np.cumsum(lengths) - lengths, lengths)

    def rows(self) -> Rows:
        """Return all rows. Cost: as `gaps` and `keys`, and 50 ns a row for hashes."""
        first, keys = self.first(), self.keys()
        gaps = np.array(self.gaps(), np.int64)
        return Rows(np.where(gaps > 0, first + gaps - 1, NOT_REACHED), keys, keys.hashes())

    def has(self, hashed: int) -> bool:
        """Whether a row may have the key with this hash."""
        return bool((self.marks == np.uint32(hashed & 0xFFFFFFFF)).any())

    @classmethod
    def of_state(cls, state: State, steps: int) -> Self:
        """Restore a piece of rows of `steps` steps; copies nothing. Raises ValueError or TypeError."""
        start, end, events, reached, text, marks, columns = listed(state)
        marks = column(marks, np.uint32)
        span = Span(integer(start, 0), integer(end, 1, INT64_MAX))
        if span.start >= span.end or not marks.size:
            raise ValueError("rows in order of time were expected")
        counts = tuple(integer(each, 0, marks.size) for each in listed(reached))
        if len(counts) != steps or any(one < other for one, other in pairwise(counts)):
            raise ValueError(f"the counts of {steps} steps were expected")
        found = columns_of(columns, steps + 2)
        raw = isinstance(found[0], np.ndarray)
        piece = cls(found, column(text, np.uint8) if raw else blob(text), marks, span, integer(events, marks.size), counts)
        if raw:
            lengths = _raw(found[-1])
            if lengths.size != marks.size or int(lengths.min()) < 0 or int(lengths.sum()) != len(piece.text):
                raise ValueError("keys of their lengths were expected")
        return piece

    def state(self) -> State:
        """Return the state for `of_state`; copies nothing."""
        return self.span.start, self.span.end, self.events, self.reached, self.text, self.marks, self.columns


def pieces_of(rows: Rows) -> list[Piece]:
    """Return rows as pieces, in order of time."""
    if not rows.size:
        return []
    if rows.size <= PIECE_ROWS:
        return [Piece.of(rows)]
    order = np.argsort(rows.first(), kind="stable")
    return [Piece.of(rows.only(order[low : low + PIECE_ROWS])) for low in range(0, rows.size, PIECE_ROWS)]


def merged(pieces: list[Piece], piece: Piece) -> None:
    """Append a raw piece to raw pieces. Joins it with those before while they are small and not much larger."""
    while pieces and pieces[-1].count <= 2 * piece.count and pieces[-1].count + piece.count <= PIECE_ROWS:
        piece = Piece.of(Rows.joining([pieces.pop().rows(), piece.rows()]))
    pieces.append(piece)


def _raw(values: Times | bytes | memoryview) -> Times:
    return values if isinstance(values, np.ndarray) else unseal(values)

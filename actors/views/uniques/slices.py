"""Frozen slices of unique users, and their summaries.

Live slices are in `live`. The row of a period is merged from all slices, live and frozen.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from actors.columns import fields
from actors.columns.snapshot import State
from actors.columns.text import Hashes
from actors.columns.times import Times
from actors.timeline.periods import MONTH, YEAR
from actors.timeline.span import Span, span_of_state, span_state
from actors.views.uniques.arguments import GRANULARITIES, Counts, Rows
from actors.views.uniques.piece import NO_HASHES, Piece, piece
from actors.views.uniques.sketch import COARSE_BYTES, coarse, joined, sketched
from actors.views.view import Frozen, Meta

_LARGEST_EXACT = 1_024
"""Cells up to this many users stay exact in coarse and dropped slices, because a sketch would hardly be smaller."""

_LARGEST_JOINED = 8_192
"""Cells of a summary with more users than this get a sketch."""

_MANY_PIECES = 64
"""A summary with more pieces than this is joined to two: months and years."""


@dataclass(frozen=True, slots=True, eq=False)
class UniquesSummary:
    """Counts of slices, and their months and years, which stay after the slices are dropped."""

    frames: int
    cells: int
    hashes: int
    long: tuple[Piece, ...] = ()
    """Months and years, those of more than `_LARGEST_EXACT` users as sketches. Empty for a live slice."""

    @staticmethod
    def of_state(state: State) -> "UniquesSummary":
        """Return the summary that `state` describes. Copies it, because a summary outlives its slice."""
        frames, cells, hashes = (fields.integer(state[name], 0) for name in ("frames", "cells", "hashes"))
        return UniquesSummary(frames, cells, hashes, _long_of(state["long"]))

    def state(self) -> State:
        """Return the state for `of_state`."""
        return {
            "frames": self.frames,
            "cells": self.cells,
            "hashes": self.hashes,
            "long": [each.state() for each in self.long],
        }

    def then(self, later: "UniquesSummary") -> "UniquesSummary":
        """Return the summary of both. Cost: O(pieces). More than `_MANY_PIECES` pieces are joined by period."""
        long = self.long + later.long
        if len(long) > _MANY_PIECES:
            long = tuple(_squeezed(level, [each for each in long if each.level == level]) for level in (MONTH, YEAR))
        return UniquesSummary(self.frames + later.frames, self.cells + later.cells, self.hashes + later.hashes, long)


def selected(pieces: Iterable[Piece], span: Span, arguments: Rows) -> tuple[Piece, ...]:
    """Return the cells of `pieces` that are selected."""
    wanted = {level: arguments.wanted_of(level) if arguments.wanted is not None else None for level in arguments.levels()}
    found = []
    for each in pieces:
        if each.level in wanted:
            starts = wanted[each.level]
            found.append(each.between(span) if starts is None else each.at(starts))
    bare = isinstance(arguments, Counts)
    return tuple(each.bare() if bare else each for each in found if each.count)


def _long_of(state: State) -> tuple[Piece, ...]:
    """Return a copy of the months and years that `state` describes."""
    found = tuple(Piece.of_state(each).owned() for each in fields.listed(state))
    if any(each.level not in {MONTH, YEAR} for each in found):
        raise ValueError("months and years were expected, got shorter periods")
    return found


def _squeezed(level: int, pieces: Sequence[Piece]) -> Piece:
    """Return one piece with the cells of `pieces`, all of one level, joined by period."""
    found: dict[int, list[tuple[Piece, int]]] = {}
    for each in pieces:
        for index, start in enumerate(each.starts.tolist()):
            found.setdefault(start, []).append((each, index))
    starts = sorted(found)
    sketches: dict[int, bytes | memoryview] = {}
    known: dict[int, int] = {}
    users: list[Hashes] = []
    for place, start in enumerate(starts):
        exact = [each.users(index) for each, index in found[start]]
        own = [each.sketches[index] for each, index in found[start] if index in each.sketches]
        users.append(np.unique(np.concatenate(exact)))
        if own or users[-1].size > _LARGEST_JOINED:
            sketches[place] = joined(exact, own)
            known[place] = max(users[-1].size, *(each.known.get(index, 0) for each, index in found[start]))
            users[-1] = NO_HASHES
    return piece(
        level,
        starts=starts,
        frames=[sum(int(each.frames[index]) for each, index in found[start]) for start in starts],
        revisions=[sum(int(each.revisions[index]) for each, index in found[start]) for start in starts],
        final=[any(each.final[index] for each, index in found[start]) for start in starts],
        users=users,
        sketches=sketches,
        known=known,
    )


class FrozenUniques(Frozen):
    """The cells of a retired slice, one piece for each level. Not thread-safe: its collector owns it. Pieces are immutable."""

    def __init__(self, pieces: Sequence[Piece], span: Span | None, frames: int, long: tuple[Piece, ...] | None = None) -> None:
        self._pieces = tuple(pieces)
        self._span = span
        self._frames = frames
        self._long = long if long is not None else _long(self._pieces)

    @staticmethod
    def of_state(state: State) -> "FrozenUniques":
        """Return the slice that `state` describes. Copies only the months and years, which outlive it."""
        pieces = [Piece.of_state(each) for each in fields.listed(state["pieces"])]
        if [each.level for each in pieces] != list(range(len(GRANULARITIES))):
            raise ValueError("one piece of each level was expected")
        return FrozenUniques(pieces, span_of_state(state["span"]), fields.integer(state["frames"], 0), _long_of(state["long"]))

    def state(self) -> State:
        """Return the state for `of_state`."""
        return {
            "pieces": [each.state() for each in self._pieces],
            "long": [each.state() for each in self._long],
            "span": span_state(self._span),
            "frames": self._frames,
        }

    def read(self, span: Span, arguments: Rows) -> tuple[Piece, ...]:
        """Return the selected cells. Cost: O(log n). Copies only single wanted cells."""
        return selected(self._pieces, span, arguments)

    def coarsen(self) -> None:
        """Turn cells of more than `_LARGEST_EXACT` users into coarse sketches. Cost: about 150 ns a hash of these cells.

        The rest is copied, so that a mapped file of the slice can be closed.
        """
        self._pieces = tuple(each.replaced(_LARGEST_EXACT, coarse).owned() for each in self._pieces)

    def meta(self) -> Meta:
        """Describe the slice. Cost: O(cells), about 2 ns each."""
        return Meta(
            span=self._span,
            events=self._frames,
            nbytes=sum(each.nbytes for each in (*self._pieces, *self._long)),
            dead_bytes=0,
            final_until=None,
            summary=UniquesSummary(
                self._frames,
                sum(each.count for each in self._pieces),
                sum(each.hashes.size for each in self._pieces),
                self._long,
            ),
            coarse_bytes=sum(map(_coarse_bytes, self._pieces)),
        )


def _long(pieces: Sequence[Piece]) -> tuple[Piece, ...]:
    """Return the months and years of a slice for its summary."""
    return tuple(each.replaced(_LARGEST_EXACT, sketched) for each in pieces if each.level in {MONTH, YEAR} and each.count)


def _coarse_bytes(each: Piece) -> int:
    sizes: Times = each.highs.astype(np.int64) - each.lows
    large: list[int] = sizes[sizes > _LARGEST_EXACT].tolist()
    return 8 * sum(large) - COARSE_BYTES * len(large)

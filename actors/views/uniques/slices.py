"""Frozen slices of unique users, what they leave when they are dropped, and how slices are asked.

The live slice has a file of its own. What a period's row says is the merge over all slices, live or frozen.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from actors.columns import fields
from actors.columns.snapshot import State
from actors.columns.text import Hashes
from actors.columns.times import Times
from actors.timeline.span import Span, span_of_state, span_state
from actors.views.uniques.periods import GRANULARITIES, MONTH, YEAR
from actors.views.uniques.piece import NO_HASHES, Piece, piece
from actors.views.uniques.sketch import COARSE_BYTES, coarse, joined, sketched
from actors.views.view import Frozen, Meta

_LARGEST_EXACT = 1_024
"""Hashes up to which a cell stays exact when a slice is made coarse, or dropped: fewer bytes than a sketch, or about."""

_LARGEST_JOINED = 8_192
_MANY_PIECES = 64


@dataclass(frozen=True, slots=True)
class Rows:
    """Which rows are asked for: all of one granularity that begin in the span, or, in this order, the `wanted` ones.

    A wanted row goes by its granularity and its start, ms since 1970. Of a granularity's, the first `limit`.
    """

    granularity: str | None
    wanted: tuple[tuple[str, int], ...] | None = None
    limit: int | None = None

    def wanted_of(self, level: int) -> Times:
        """Return the wanted starts of one level, ascending."""
        name = GRANULARITIES[level]
        starts = np.array([start for each, start in self.wanted or () if each == name], np.int64)
        return np.unique(starts)

    def levels(self) -> list[int]:
        """Return the levels asked for, shortest first."""
        if self.wanted is None:
            assert self.granularity is not None, "what is asked for has a granularity"
            return [GRANULARITIES.index(self.granularity)]
        return sorted({GRANULARITIES.index(name) for name, _ in self.wanted})

    def choose(self, pieces: Iterable[Piece], span: Span) -> tuple[Piece, ...]:
        """Return what of `pieces` is asked for."""
        levels = {level: self.wanted_of(level) if self.wanted is not None else None for level in self.levels()}
        chosen = []
        for each in pieces:
            if each.level in levels:
                wanted = levels[each.level]
                chosen.append(each.between(span) if wanted is None else each.at(wanted))
        return tuple(each for each in chosen if each.count)


@dataclass(frozen=True, slots=True, eq=False)
class UniquesSummary:
    """What slices add to the whole: counts, and what their months and years leave when the slices are dropped.

    A live slice leaves nothing yet. Cells beyond `_LARGEST_EXACT` users leave a sketch.
    """

    frames: int
    cells: int
    hashes: int
    long: tuple[Piece, ...] = ()

    @staticmethod
    def of_state(state: State) -> "UniquesSummary":
        """Return the summary of which `state` was taken. It shares nothing with it, as it outlives its slice."""
        frames, cells, hashes = (fields.integer(state[name], 0) for name in ("frames", "cells", "hashes"))
        return UniquesSummary(frames, cells, hashes, _long_of(state["long"]))

    def state(self) -> State:
        """Return what `of_state` makes the same summary of."""
        return {
            "frames": self.frames,
            "cells": self.cells,
            "hashes": self.hashes,
            "long": [each.state() for each in self.long],
        }

    def then(self, later: "UniquesSummary") -> "UniquesSummary":
        """Return both as one. Cost: O(pieces), at most `_MANY_PIECES`; now and then they are joined by period."""
        long = self.long + later.long
        if len(long) > _MANY_PIECES:
            long = tuple(_squeezed(level, [each for each in long if each.level == level]) for level in (MONTH, YEAR))
        return UniquesSummary(self.frames + later.frames, self.cells + later.cells, self.hashes + later.hashes, long)


def _long_of(state: State) -> tuple[Piece, ...]:
    """Return the pieces of months and years of which `state` was taken, copied."""
    found = tuple(Piece.of_state(each).owned() for each in fields.listed(state))
    if any(each.level not in {MONTH, YEAR} for each in found):
        raise ValueError("months and years were expected, got something shorter")
    return found


def _squeezed(level: int, pieces: Sequence[Piece]) -> Piece:
    """Return one piece that says what `pieces` of one level say together."""
    found: dict[int, list[tuple[Piece, int]]] = {}
    for each in pieces:
        for index, start in enumerate(each.starts.tolist()):
            found.setdefault(start, []).append((each, index))
    starts = sorted(found)
    sketches: dict[int, bytes | memoryview] = {}
    users: list[Hashes] = []
    for place, start in enumerate(starts):
        exact = [each.users(index) for each, index in found[start]]
        own = [each.sketches[index] for each, index in found[start] if index in each.sketches]
        users.append(np.unique(np.concatenate(exact)))
        if own or users[-1].size > _LARGEST_JOINED:
            sketches[place] = joined(exact, own)
            users[-1] = NO_HASHES
    return piece(
        level,
        starts=starts,
        frames=[sum(int(each.frames[index]) for each, index in found[start]) for start in starts],
        revisions=[sum(int(each.revisions[index]) for each, index in found[start]) for start in starts],
        final=[any(each.final[index] for each, index in found[start]) for start in starts],
        users=users,
        sketches=sketches,
    )


class FrozenUniques(Frozen):
    """The cells of a retired slice, a piece a level. Not thread-safe: its collector owns it; what it reads out is immutable."""

    def __init__(self, pieces: Sequence[Piece], span: Span | None, frames: int, long: tuple[Piece, ...] | None = None) -> None:
        self._pieces = tuple(pieces)
        self._span = span
        self._frames = frames
        self._long = long if long is not None else _long(self._pieces)

    @staticmethod
    def of_state(state: State) -> "FrozenUniques":
        """Return the slice of which `state` was taken. Its columns are not copied, but for the few that outlive it."""
        pieces = [Piece.of_state(each) for each in fields.listed(state["pieces"])]
        if [each.level for each in pieces] != list(range(len(GRANULARITIES))):
            raise ValueError("a piece of each level was expected")
        return FrozenUniques(pieces, span_of_state(state["span"]), fields.integer(state["frames"], 0), _long_of(state["long"]))

    def state(self) -> State:
        """Return what `of_state` makes the same slice of."""
        return {
            "pieces": [each.state() for each in self._pieces],
            "long": [each.state() for each in self._long],
            "span": span_state(self._span),
            "frames": self._frames,
        }

    def settle(self) -> bool:
        """Return False: there is nothing left to compress."""
        return False

    def read(self, span: Span, arguments: Rows) -> tuple[Piece, ...]:
        """Return the cells asked for. Cost: O(log n); nothing is copied but where single rows are wanted."""
        return arguments.choose(self._pieces, span)

    def coarsen(self) -> None:
        """Turn cells of more than `_LARGEST_EXACT` users into coarse sketches. Cost: some 150 ns a hash that they held.

        What is left is copied, so that nothing keeps the file alive from which the slice may have come.
        """
        self._pieces = tuple(each.replaced(_LARGEST_EXACT, coarse).owned() for each in self._pieces)

    def meta(self) -> Meta:
        """Describe the slice. Cost: O(cells), some 2 ns each."""
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
    """Return what a slice leaves of its months and years when it is dropped."""
    return tuple(each.replaced(_LARGEST_EXACT, sketched) for each in pieces if each.level in {MONTH, YEAR} and each.count)


def _coarse_bytes(each: Piece) -> int:
    sizes: Times = each.highs.astype(np.int64) - each.lows
    large: list[int] = sizes[sizes > _LARGEST_EXACT].tolist()
    return 8 * sum(large) - COARSE_BYTES * len(large)

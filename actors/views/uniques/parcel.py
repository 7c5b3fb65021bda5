"""Parts of answers of `uniques` as they go from one process of a cluster to another. See `actors.cluster.parcels`."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from actors.columns.fields import listed
from actors.columns.snapshot import State
from actors.columns.times import Times
from actors.timeline.periods import Periods
from actors.timeline.span import Span
from actors.views.uniques.arguments import Counts, Figures, Rows, Whole
from actors.views.uniques.issue.due import Look, look_of
from actors.views.uniques.piece import Piece, narrow
from actors.views.uniques.view import UniquesView
from actors.views.view import View

ARGUMENTS: Mapping[str, type[Any]] = {each.__name__: each for each in (Rows, Figures, Whole, Counts)}


def packed(view: View, partial: Sequence[Piece], arguments: Rows) -> State:  # noqa: ARG001  # the protocol's
    """Return the cells with their users. Cost: one copy."""
    bare = isinstance(arguments, Counts)  # such cells are copies already
    return [(each if bare else each.owned()).state() for each in partial]


def unpacked(view: View, state: State) -> tuple[Piece, ...]:  # noqa: ARG001  # the protocol's
    """Return the cells of a state."""
    return tuple(Piece.of_state(each) for each in listed(state))


def merged(view: View, partials: Sequence[Sequence[Piece]], arguments: Rows) -> tuple[Piece, ...]:  # noqa: ARG001
    """Return the cells of shards as those of one: the revision of a period is the largest, and it is final if one says so."""
    return tuple(_told(partials, lambda _level, _keys, ended: ended))


def joined(
    view: View,
    partials: Sequence[Sequence[Piece]],
    *,
    until: int | None,
    idle: bool,
    clock: int | None,  # noqa: ARG001  # the protocol's
    span: Span,  # noqa: ARG001  # the protocol's
    arguments: Rows,
) -> tuple[Piece, ...] | Look:
    """Join the cells of shards. The revision of a period is the largest that a shard has. Of `Counts` it is a `Look`.

    A period is final once every shard has passed its end, or in a silence of all shards, once one of them has.
    """
    periods: Periods = cast("UniquesView", view).periods

    def is_final(level: int, keys: Times, ended: NDArray[np.bool_]) -> NDArray[np.bool_]:
        passed = np.zeros(keys.size, np.bool_) if until is None else periods.ends(level, keys) <= until
        return passed | (ended & idle)

    made = _told(partials, is_final)
    return look_of(made, idle=idle) if isinstance(arguments, Counts) else tuple(made)


def _told(
    partials: Sequence[Sequence[Piece]], is_final: Callable[[int, Times, NDArray[np.bool_]], NDArray[np.bool_]]
) -> list[Piece]:
    """Return the cells of all shards. The first one of each period has its revision, and whether it `is_final`.

    That is called with a level, its periods, and which of them a shard calls final.
    """
    shards = np.array([shard for shard, pieces in enumerate(partials) for _ in pieces], np.int64)
    pieces = [piece for pieces in partials for piece in pieces]
    made = list(pieces)
    for level in sorted({piece.level for piece in pieces}):
        own = [place for place, piece in enumerate(pieces) if piece.level == level]
        found = [pieces[place] for place in own]
        starts = np.concatenate([piece.starts for piece in found])
        keys, firsts, rows = np.unique(starts, return_index=True, return_inverse=True)
        counted = np.zeros((len(partials), keys.size), np.int64)
        owners = np.repeat(shards[own], [piece.count for piece in found])
        np.add.at(counted, (owners, rows), np.concatenate([piece.revisions for piece in found]).astype(np.int64))
        ended = np.zeros(keys.size, np.bool_)
        np.logical_or.at(ended, rows, np.concatenate([piece.final for piece in found]))
        revisions, final = np.zeros(starts.size, np.int64), np.zeros(starts.size, np.bool_)
        revisions[firsts] = counted.max(axis=0)  # the first cell of a period says it for all
        final[firsts] = is_final(level, keys, ended)
        revisions, at = narrow(revisions), 0
        for place, piece in zip(own, found, strict=True):
            part = slice(at, at + piece.count)
            at += piece.count
            made[place] = replace(piece, revisions=revisions[part], final=final[part])
    return made

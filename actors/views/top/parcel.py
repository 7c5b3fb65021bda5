"""Parts of answers of `top` as they go from one process of a cluster to another. See `actors.cluster.parcels`.

An id may have records in several shards, and its last value counts. So a shard is asked for more ids than are wanted, then all
shards are asked for the ids that any of them has given. The wanted ids are sure if their values are above those that no shard
has sent. If too few are, more are asked for.
"""

from collections.abc import Mapping, Sequence
from operator import index
from typing import Any

import numpy as np

from actors.columns.fields import column
from actors.columns.snapshot import State
from actors.columns.text import Text
from actors.columns.times import INT64_MIN, NO_TIMES, Times
from actors.timeline.span import EVER, Span
from actors.views.top.arguments import Figures, Keyed, RankOf, Top
from actors.views.top.decode import Upserts
from actors.views.top.slices import Kept, Rank, Ranked, Valued
from actors.views.view import View

ARGUMENTS: Mapping[str, type[Any]] = {"Keyed": Keyed}

_MORE, _SPARE = 2, 64
_GROWTH = 8
_MOST = 20_000
"""More ids than this are not asked for by name: then all ids are sent."""

_PADDING = 8

Parts = Sequence[Kept]


def packed(view: View, partial: Parts, arguments: Keyed) -> State:  # noqa: ARG001  # the protocol's
    """Return ids, values, times and places as columns. Cost: one copy."""
    return [
        {
            "ids": each.rows.ids.joined(np.arange(each.rows.ids.lengths.size)),
            "lengths": each.rows.ids.lengths,
            "values": each.rows.values,
            "times": each.rows.times,
            "places": each.rows.places,
            "least": each.least,
            "cleared": list(each.cleared.items()),
        }
        for each in partial
    ]


def unpacked(view: View, state: State) -> Parts:  # noqa: ARG001  # the protocol's
    """Return the rows of a state."""
    return tuple(map(_unpacked, state))


def _unpacked(state: State) -> Kept:
    lengths = column(state["lengths"], np.int64)
    count = lengths.size
    text = column(state["ids"], np.uint8)
    if (lengths < 0).any() or int(lengths.sum()) != text.size:
        raise ValueError(f"ids of {text.size} bytes were expected")
    ids = Text(np.concatenate((text, np.zeros(_PADDING, np.uint8))), np.cumsum(lengths) - lengths, lengths)
    values, times, places = (column(state[name], np.int64, count) for name in ("values", "times", "places"))
    least = None if state["least"] is None else index(state["least"])
    cleared = {index(owner): index(place) for owner, place in state["cleared"]}
    return Kept(Upserts(ids, values, times, places, NO_TIMES), least, cleared)


def first(arguments: Top, span: Span) -> tuple[Keyed, Span]:
    """Ask for more than the wanted ids if all times are asked for; else for all, because the last record decides first."""
    few = type(arguments) is Top and arguments.limit is not None and arguments.limit <= _MOST and span == EVER
    return Keyed(_MORE * (arguments.limit or 0) + _SPARE if few else None), EVER


def further(
    arguments: Top,
    asked: Keyed,
    partials: Sequence[Parts],
    *,
    clock: int | None,  # noqa: ARG001  # the protocol's
) -> Keyed | None:
    """Ask for the ids that were given, and if too few of them are sure, for more ids.

    Records come between two questions. So an id that has come to the front since is asked for as well: of an id that was not
    asked for by name, another shard may have a later value.
    """
    parts = [part for each in partials for part in each]
    bounds = [part.least for part in parts if part.least is not None]
    if asked.limit is None or not bounds:
        return None
    rows, wanted = _last(parts), arguments.limit or 0
    names = rows.ids.take(np.arange(rows.ids.lengths.size))
    bar = np.sort(rows.values)[-wanted] if 0 < wanted <= rows.values.size else INT64_MIN
    front = np.flatnonzero(rows.values >= bar).tolist()
    known = set(asked.names)
    if not known or any(names[row] not in known for row in front):
        return Keyed(asked.limit, names=tuple(names)) if len(names) <= _MOST else Keyed(None)
    sure = rows.values > max(bounds)
    if int(np.count_nonzero(sure)) >= wanted:
        return None
    limit = _GROWTH * asked.limit
    return Keyed(limit if limit <= _MOST else None)


def merged(view: View, partials: Sequence[Parts], arguments: Keyed) -> Parts:  # noqa: ARG001  # the protocol's
    """Return each id of the shards once, with its last value. What no shard has sent lies below the highest of their bounds."""
    parts = [part for each in partials for part in each]
    bounds = [part.least for part in parts if part.least is not None]
    return (Kept(_last(parts), max(bounds, default=None), _cleared(parts)),)


def joined(
    view: View,  # noqa: ARG001  # the protocol's
    partials: Sequence[Parts],
    *,
    until: int | None,  # noqa: ARG001
    idle: bool,  # noqa: ARG001
    clock: int | None,  # noqa: ARG001  # the protocol's
    span: Span,
    arguments: Top,
) -> tuple[Ranked | Rank | Valued, ...]:
    """Join the last values of shards: of each id the one with the latest time counts, then the one with the largest place."""
    parts = [part for each in partials for part in each]
    rows = _last(parts)
    if isinstance(arguments, RankOf):
        return _rank(rows, arguments.name)
    inside = (
        np.flatnonzero((rows.times >= span.start) & (rows.times < span.end)) if span != EVER else np.arange(rows.times.size)
    )
    if isinstance(arguments, Figures):
        return (Valued(rows.values[inside], rows.times[inside]),)
    return (Ranked(rows.ids.only(inside), rows.values[inside], _cleared(parts)),)


def _cleared(parts: Parts) -> dict[int, int]:
    cleared: dict[int, int] = {}
    for part in parts:
        cleared |= part.cleared
    return cleared


def _rank(rows: Upserts, name: bytes) -> tuple[Rank, ...]:
    """Return the rank of an id, if it has a value. Of equal values, the larger id by bytes comes first."""
    names = rows.ids.take(np.arange(rows.values.size))
    if name not in names:
        return ()
    value = int(rows.values[names.index(name)])
    same = np.flatnonzero(rows.values == value).tolist()
    above = int(np.count_nonzero(rows.values > value)) + sum(names[place] > name for place in same)
    return (Rank(value, 1 + above),)


def _last(parts: Parts) -> Upserts:
    """Return each id once, with its last value. Cost: 0.5 us an id if there are several parts."""
    if not parts:
        return Upserts(Text.of([]), NO_TIMES, NO_TIMES, NO_TIMES, NO_TIMES)
    ids = Text.joining([part.rows.ids for part in parts])
    values, times, places = (
        np.concatenate([getattr(part.rows, name) for part in parts]) for name in ("values", "times", "places")
    )
    every = Upserts(ids, values, times, places, NO_TIMES)
    if len(parts) == 1:
        return every
    hashes = ids.hashes()
    order = np.lexsort((places, times, hashes))
    ordered = hashes[order]
    equal = np.flatnonzero(ordered[1:] == ordered[:-1])
    if ids.only(order[equal]).same(ids, order[equal + 1]).all():
        return every.only(order[np.append(ordered[1:] != ordered[:-1], True)] if order.size else order)
    return every.only(_last_by_name(ids, times, places))  # two ids have equal hashes: rare


def _last_by_name(ids: Text, times: Times, places: Times) -> Times:
    """Return the row of the last record of each id."""
    found: dict[bytes, int] = {}
    names = ids.take(np.arange(times.size))
    for row in np.lexsort((places, times)).tolist():
        found[names[row]] = row
    return np.array(sorted(found.values()), np.int64)

"""Packs what a shard found, and joins the parts of all shards: see the package.

The rows of a listing are selected in the shard, as many as the page may need. Which of them are open depends on the time that
all shards have passed. Lapsed sequences are the first ones of those that lack a step, so a shard need not know that time; for
a page of open sequences, the shards are asked for it before.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np

from actors.columns.block import columns_of
from actors.columns.fields import integer, listed
from actors.columns.snapshot import State
from actors.columns.times import INT64_MAX
from actors.timeline.span import Span, span_of_state, span_state
from actors.views.funnel.arguments import Asked, Figures, Listing, Story, Totals
from actors.views.funnel.parcel.fit import Fit, refusal_of
from actors.views.funnel.parcel.shard import Shares, Standing
from actors.views.funnel.pieces import Piece, Rows, pieces_of
from actors.views.funnel.render import in_order, with_keys
from actors.views.funnel.slices import Part, keys_named
from actors.views.funnel.view import FunnelView
from actors.views.view import View


@dataclass(frozen=True, slots=True)
class Page(Listing):
    """A listing as a shard is asked for it. Open sequences are those that are open at the time `at`.

    Without a time, no open ones are wanted yet; or those by the shard's own time if they are wanted by its `own`.
    """

    at: int | None = None
    own: bool = False


ARGUMENTS: Mapping[str, type[Any]] = {each.__name__: each for each in (Totals, Figures, Page, Story)}


def packed(view: View, partial: Shares, arguments: Asked) -> State:
    """Return the rows of a listing or of a key, or for totals and figures, the times of all rows without their keys.

    Cost: a copy of compressed rows. To select some, 1 us a row of the pieces with them.
    """
    funnel = cast("FunnelView", view)
    state: dict[str, State] = {"standing": (partial.standing.watermark, partial.standing.fit.state())}
    if isinstance(arguments, Totals | Figures):
        return state | {"times": [_times_of(part) for part in partial]}
    if isinstance(arguments, Page):
        rows = _page(partial, arguments, funnel)
        state |= {"at": arguments.at}
    else:
        rows = _of_keys(partial, cast("Story", arguments).key)
    return state | {"rows": [piece.state() for each in rows for piece in pieces_of(each)]}


def _page(parts: Shares, page: Page, view: FunnelView) -> list[Rows]:
    """Return the first rows that may be in a page, one more than its limit, and those at its cursor."""
    listing = Listing(page.state, page.missing, page.key)
    count = INT64_MAX if page.limit is None else page.limit + 1
    if page.after is not None:
        listing, count = replace(listing, after=replace(page.after, equal=0)), count + page.after.equal
    chosen: Sequence[Part] = parts
    if page.state == "lapsed":
        listing = replace(listing, state=None, missing=view.step_count - 1 if page.missing is None else page.missing)
    elif page.state == "open" and page.at is not None:
        chosen = [part._replace(watermark=page.at) for part in parts]
    elif page.state == "open" and not page.own:
        return []
    found: list[Rows] = []
    for some in in_order(chosen, listing, view.within):
        rows = some.rows if some.rows.size <= count else some.rows.only(np.arange(count))
        found.append(rows)
        count -= rows.size
        if not count:
            break
    return found


def _of_keys(parts: Shares, name: bytes) -> list[Rows]:
    """Return the rows of all keys with a name that begin in the span."""
    found = []
    for part in parts:
        first = part.piece.first()
        inside = (first >= part.span.start) & (first < part.span.end)
        found.append(with_keys(part.piece.rows().only(inside), keys_named(name)))
    return found


def _times_of(part: Part) -> State:
    piece = part.piece
    return span_state(part.span), span_state(piece.span), piece.count, piece.events, piece.reached, piece.columns[:-1]


def unpacked(view: View, state: State) -> Shares:
    """Return the rows of a state."""
    steps = cast("FunnelView", view).step_count
    watermark, fit = listed(state["standing"])
    standing = Standing(integer(watermark, 0), Fit.of_state(fit))
    if "times" in state:
        return Shares.of((_timed(each, steps, standing) for each in listed(state["times"])), standing)
    pieces = [Piece.of_state(each, steps) for each in listed(state["rows"])]
    at = state.get("at")
    parts = (Part(piece, piece.span, standing.watermark) for piece in pieces)
    return Shares.of(parts, standing, None if at is None else integer(at))


def _timed(state: State, steps: int, standing: Standing) -> Part:
    asked, own, count, events, reached, columns = listed(state)
    span, inside = span_of_state(asked), span_of_state(own)
    if span is None or inside is None:
        raise ValueError("two spans were expected")
    size, found = integer(count, 1), columns_of(columns, steps + 1)
    counts = tuple(integer(each, 0, size) for each in listed(reached))
    if len(counts) != steps:
        raise ValueError(f"the counts of {steps} steps were expected")
    if isinstance(found[0], np.ndarray) and found[0].size != size:
        raise ValueError(f"{size} rows were expected")
    lengths = np.zeros(size, np.int64)
    piece = Piece((*found, lengths), np.empty(0, np.uint8), np.zeros(size, np.uint32), inside, integer(events, size), counts)
    return Part(piece, span, standing.watermark)


def first(arguments: Asked, span: Span) -> tuple[Asked, Span]:
    """Ask for a listing as a page."""
    if isinstance(arguments, Listing):
        return Page(arguments.state, arguments.missing, arguments.key, arguments.limit, arguments.after), span
    return arguments, span


def further(arguments: Asked, asked: Asked, partials: Sequence[Shares], *, clock: int | None) -> Page | None:  # noqa: ARG001
    """Ask for open sequences by the time that all shards have passed, or if a shard is absent, by that of each shard."""
    if not isinstance(asked, Page) or asked.state != "open" or asked.at is not None or asked.own:
        return None
    return replace(asked, own=True) if clock is None else replace(asked, at=_time(partials, clock))


def joined(
    view: View,  # noqa: ARG001  # the protocol's
    partials: Sequence[Shares],
    *,
    until: int | None,  # noqa: ARG001
    idle: bool,  # noqa: ARG001
    clock: int | None,
    span: Span,  # noqa: ARG001
    arguments: Asked,  # noqa: ARG001
) -> tuple[Part, ...]:
    """Join the rows of shards. A sequence is open if the time of all shards has not passed its limit."""
    parts = tuple(part for each in partials for part in each)
    if clock is None:
        return parts
    told = [each.at for each in partials if each.at is not None]
    at = told[0] if told else _time(partials, clock)
    return tuple(part._replace(watermark=at) for part in parts)


def refusal(partials: Sequence[Shares]) -> str | None:
    """Refuse parts if a key may lie in several shards."""
    return refusal_of([each.standing.fit for each in partials])


def steady(view: View, partial: Sequence[Part], arguments: Asked) -> bool:
    """Return whether no sequence of an answer of final rows is open, in which case later answers are the same."""
    within = cast("FunnelView", view).within
    if isinstance(arguments, Figures):
        return True
    return all(part.watermark is None or part.watermark - part.piece.span.end + 1 > within for part in partial)


def _time(partials: Sequence[Shares], clock: int) -> int:
    """Return the time that all shards have passed. It never lies before what each of them has made final."""
    return max(clock, min(each.standing.watermark for each in partials))

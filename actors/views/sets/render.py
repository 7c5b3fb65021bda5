"""Lists sets as columns: merges the pieces, and clips them to the query, block by block. Has the JSON template of a set.

Runs on the answering thread, outside of the actors. Decompresses one piece at a time, so memory does not grow with the
length of the answer.
"""

import json
from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np

from actors.columns.times import count_before
from actors.timeline.span import Span
from actors.views.sets.arguments import NAMES, Cursor, Page
from actors.views.sets.pieces import Piece, Rows
from actors.views.view import Block

_BLOCK = 1536
"""Sets of a block. To write it takes half a millisecond, so other threads can run in between."""


def template(steps: Sequence[str]) -> bytes:
    """Return the JSON of one set with a `%d` for the time of each step."""
    members = (f'{_literal(step.lower())}:{{"name":{_literal(NAMES.get(step, step))},"timestamp":%d}}' for step in steps)
    return ("{" + ",".join(members) + "}").encode()


def _literal(text: str) -> str:
    """Return `text` as a JSON string for a template."""
    return json.dumps(text).replace("%", "%%")


def rows(pieces: Sequence[Piece], span: Span, after: Cursor | None) -> Iterator[Rows]:
    """Yield the sets of `pieces` whose first time is in `span`, in lexicographic order of their times, from `after` on.

    Sweeps over the pieces: sets before the start of the next piece are final. Pieces rarely overlap, so one at a time is open.
    """
    start = max(span.start, after.times[0]) if after else span.start
    ordered = sorted(pieces, key=lambda piece: piece.span.start)
    held: Rows | None = None
    skip = after.equal if after else 0
    for piece, following in pairwise((*ordered, None)):
        assert piece is not None, "only the end of the pairs is None"
        opened = _between(piece.opened(), start, span.end)
        held = opened if held is None or not held[0].size else _merge(held, opened)
        until = following.span.start if following is not None else span.end
        ready, held = _between(held, start, until), _between(held, until, span.end)
        if after:
            ready, skip = _from(ready, after, skip)
        if ready[0].size:
            yield ready


def page(pieces: Sequence[Piece], span: Span, arguments: Page) -> Iterator[Block]:
    """Yield blocks of at most `_BLOCK` sets, the last one with the cursor of the next page, if there is one.

    The last block may be empty.
    """
    left = arguments.limit
    place = arguments.after
    for found in rows(pieces, span, arguments.after):
        for low in range(0, found[0].size, _BLOCK):
            if left == 0:
                yield Block(tuple(column[:0] for column in found), place)
                return
            high = min(low + _BLOCK, found[0].size, low + left if left is not None else low + _BLOCK)
            columns = tuple(column[low:high] for column in found)
            if left is not None:
                left -= high - low
                place = _place_after(columns, place)
            yield Block(columns)
            if left == 0 and high < found[0].size:
                yield Block(tuple(column[:0] for column in found), place)
                return


def _between(block: Rows, start: int, end: int) -> Rows:
    low, high = count_before(block[0], start), count_before(block[0], end)
    return tuple(column[low : max(low, high)] for column in block)


def _merge(one: Rows, other: Rows) -> Rows:
    both = tuple(np.concatenate(pair) for pair in zip(one, other, strict=True))
    order = np.lexsort(both[::-1])
    return tuple(column[order] for column in both)


def _from(block: Rows, after: Cursor, skip: int) -> tuple[Rows, int]:
    """Drop the sets before the cursor, and `skip` sets equal to it; returns the number still to skip."""
    equal = np.ones(block[0].size, np.bool_)
    earlier = np.zeros(block[0].size, np.bool_)
    for column, time in zip(block, after.times, strict=True):
        earlier |= equal & (column < time)
        equal &= column == time
    skipped = min(skip, int(equal.sum()))
    keep = ~earlier
    keep[np.flatnonzero(equal)[:skipped]] = False
    return tuple(column[keep] for column in block), skip - skipped


def _place_after(block: Rows, before: Cursor | None) -> Cursor:
    """Return the cursor after `block`, which follows the cursor `before`. Cost: O(1) if its last two sets differ in time."""
    times = tuple(int(column[-1]) for column in block)
    if block[0].size > 1 and int(block[0][-2]) != times[0]:
        return Cursor(times, 1)
    equal = np.ones(block[0].size, np.bool_)
    for column, time in zip(block, times, strict=True):
        equal &= column == time
    count = int(equal.sum())
    if before is not None and before.times == times:
        count += before.equal
    return Cursor(times, count)

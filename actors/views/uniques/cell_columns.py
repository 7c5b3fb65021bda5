"""Converts the cells of a live slice to the columns of a state, and back.

Arrays of hashes are never modified, so the state shares them with the cells. They are joined when the state is written.
"""

from collections.abc import Iterator, Sequence
from itertools import chain, islice
from operator import attrgetter
from typing import NamedTuple

import numpy as np

from actors.columns.fields import blob, bounds, column, integer, joined, numbered, words
from actors.columns.snapshot import State
from actors.columns.text import Hashes
from actors.columns.times import Times
from actors.timeline.span import Span
from actors.views.uniques.arguments import GRANULARITIES
from actors.views.uniques.cells import PARENTS, Cell, Key
from actors.views.uniques.piece import NO_HASHES, known_of
from actors.views.uniques.sketch import Sketch

Levels = list[dict[int, Cell]]
"""Cells by level and start."""


class Sums(NamedTuple):
    """Sums over the cells, which give the sizes of the columns before they are made."""

    hashes: int
    """Hashes of users."""
    chunks: int
    """Waiting arrays."""
    waiting: int
    """Hashes in the waiting arrays."""
    sketches: int
    """Cells with a sketch."""


def state_of(cells: Levels, waiting: Levels, sums: Sums) -> State:
    """Return the state for `cells_of`. `waiting` are the cells with waiting hashes.

    Cost: about 0.5 us a cell, 3 us a sketch. Copies no hashes; columns that need a look at each array are made when the state
    is written.
    """
    found = list(chain.from_iterable(level.values() for level in cells))
    count = len(found)
    users = [cell.users for cell in found]
    some = [(place, cell.sketch) for place, cell in enumerate(found) if cell.sketch is not None] if sums.sketches else []
    sketches = [sketch.sealed() for _, sketch in some]
    # These lists only grow, so their first elements stay the same until the state is written.
    lists = list(map(attrgetter("waiting"), chain.from_iterable(level.values() for level in waiting)))
    kept = np.fromiter(map(len, lists), np.int64, len(lists))

    def chunks() -> Iterator[Hashes]:
        return chain.from_iterable(map(islice, lists, kept.tolist()))

    return {
        "levels": [len(level) for level in cells],
        "starts": np.fromiter(chain.from_iterable(cells), np.int64, count),
        "ends": numbered(count, np.int64, lambda: map(attrgetter("end"), found)),
        "frames": np.fromiter(map(attrgetter("frames"), found), np.int64, count),
        "revisions": np.fromiter(map(attrgetter("revisions"), found), np.int64, count),
        "final": np.fromiter(map(attrgetter("final"), found), np.bool_, count),
        "sizes": numbered(count, np.int64, lambda: map(len, users)),
        "users": joined(8 * sums.hashes, lambda: users),
        "sketched": np.array([place for place, _ in some], np.int64),
        "known": np.array([found[place].known for place, _ in some], np.int64),
        "sketch_sizes": np.fromiter(map(len, sketches), np.int64, len(sketches)),
        "sketches": joined(sum(map(len, sketches)), lambda: sketches),
        "waiting_levels": [len(level) for level in waiting],
        "waiting": np.fromiter(chain.from_iterable(waiting), np.int64, len(lists)),
        "chunks": kept,
        "chunk_sizes": numbered(sums.chunks, np.int64, lambda: map(len, chunks())),
        "hashes": joined(8 * sums.waiting, chunks),
    }


def cells_of(state: State, parents_of: Sequence[Sequence[int]] = PARENTS) -> tuple[Levels, Levels]:
    """Return the cells that `state` describes, and those with waiting hashes, in their former order. Copies the hashes.

    `parents_of` has the levels of the parents of the cells of each level.
    """
    starts = column(state["starts"], np.int64)
    count = starts.size
    ends = words(state["ends"], np.int64, count)
    frames, revisions = column(state["frames"], np.int64, count), column(state["revisions"], np.int64, count)
    final = column(state["final"], np.bool_, count)
    if (starts >= ends).any() or (frames < 0).any() or (revisions < 0).any():
        raise ValueError("periods that end after their start and counts from 0 were expected, some are not")
    cuts = _levels(state["levels"], count)
    cells: Levels = [{} for _ in GRANULARITIES]
    # The longest periods first, because shorter ones refer to them.
    for level in reversed(range(len(GRANULARITIES))):
        own = slice(cuts[level], cuts[level + 1])
        parents = [_around(starts[own], list(cells[each].values())) for each in parents_of[level]]
        columns = (starts[own], ends[own], frames[own], revisions[own], final[own])
        rows = zip(*(each.tolist() for each in columns), *parents, strict=True)
        for start, end, seen, revised, closed, *above in rows:
            cell = cells[level][start] = Cell(Key(level, start), Span(start, end), tuple(above))
            cell.frames, cell.revisions, cell.final = seen, revised, closed
    found = list(chain.from_iterable(level.values() for level in cells))
    if len(found) != count:
        raise ValueError("different periods were expected, one occurs twice")
    _give_users(state, found)
    return cells, _waiting_of(state, cells)


def _give_users(state: State, cells: Sequence[Cell]) -> None:
    """Set the users or the sketch of each cell."""
    users = words(state["users"], np.uint64)
    cuts = bounds(words(state["sizes"], np.int64, len(cells)), users.size)
    for cell, low, high in zip(cells, cuts, cuts[1:], strict=False):
        cell.users = users[low:high].copy() if high > low else NO_HASHES
    places = column(state["sketched"], np.int64).tolist()
    sketches = blob(state["sketches"])
    cuts = bounds(column(state["sketch_sizes"], np.int64, len(places)), len(sketches))
    known = known_of(state, len(places))
    for place, low, high, least in zip(places, cuts, cuts[1:], known, strict=False):
        cell = cells[integer(place, 0, len(cells) - 1)]
        cell.known = least
        if cell.sketch is not None or cell.users.size:
            raise ValueError("users or one sketch were expected for a cell, got more")
        cell.sketch = Sketch.of_sealed(sketches[low:high])


def _waiting_of(state: State, cells: Levels) -> Levels:
    """Add the waiting hashes to their cells, in the same chunks, and return these cells."""
    names = column(state["waiting"], np.int64)
    hashes = words(state["hashes"], np.uint64)
    sizes = words(state["chunk_sizes"], np.int64)
    cuts = bounds(sizes, hashes.size)
    chunks = bounds(column(state["chunks"], np.int64, names.size), sizes.size)
    levels = _levels(state["waiting_levels"], names.size)
    waiting: Levels = [{} for _ in GRANULARITIES]
    for level, own in enumerate(waiting):
        for place in range(levels[level], levels[level + 1]):
            start = int(names[place])
            cell = cells[level][start]
            if cell.waiting is not None or chunks[place] == chunks[place + 1]:
                raise ValueError("different cells with waiting hashes were expected")
            for chunk in range(chunks[place], chunks[place + 1]):
                cell.put(hashes[cuts[chunk] : cuts[chunk + 1]].copy())
            own[start] = cell
    return waiting


def _levels(value: State, total: int) -> list[int]:
    """Return the index of the first cell of each level, and the total."""
    if not isinstance(value, list | tuple) or len(value) != len(GRANULARITIES):
        raise ValueError(f"a count for each of {len(GRANULARITIES)} levels was expected")
    return bounds(np.array([integer(each, 0) for each in value], np.int64), total)


def _around(times: Times, cells: Sequence[Cell]) -> list[Cell]:
    """Return for each of `times` the cell that contains it; all `cells` have one level."""
    ordered = sorted(cells, key=attrgetter("key"))
    starts = np.fromiter((cell.key.start for cell in ordered), np.int64, len(ordered))
    found = []
    for time, place in zip(times.tolist(), (np.searchsorted(starts, times, side="right") - 1).tolist(), strict=True):
        if place < 0 or time >= ordered[place].end:
            raise ValueError("the longer periods of each period were expected, some are missing")
        found.append(ordered[place])
    return found

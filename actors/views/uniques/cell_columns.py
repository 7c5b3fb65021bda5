"""The cells of a live slice as columns, for its state, and back: one object a period is too much to write one by one.

Hashes are never written to, so a state shares them with the cells, and they are joined by whoever writes the state.
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
from actors.views.uniques.cells import Cell, Key
from actors.views.uniques.periods import GRANULARITIES, PARENTS
from actors.views.uniques.piece import NO_HASHES
from actors.views.uniques.sketch import Sketch

Levels = list[dict[int, Cell]]
"""Cells by level and start."""


class Sums(NamedTuple):
    """What the columns will add up to, known before they are made."""

    hashes: int
    """Hashes of users."""
    chunks: int
    """Arrays that wait."""
    waiting: int
    """Hashes in them."""
    sketches: int
    """Cells that have one."""


def state_of(cells: Levels, waiting: Levels, sums: Sums) -> State:
    """Return what `cells_of` makes the same `cells` of, and those of them where hashes wait.

    Cost: some 0.5 us a cell, 3 us a sketch. No hash is copied, and what looks at every array is left to who writes.
    """
    found = list(chain.from_iterable(level.values() for level in cells))
    count = len(found)
    users = [cell.users for cell in found]
    some = [(place, cell.sketch) for place, cell in enumerate(found) if cell.sketch is not None] if sums.sketches else []
    sketches = [sketch.sealed() for _, sketch in some]
    # These lists only grow, so the first so many of each stay what they are.
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
        "sketch_sizes": np.fromiter(map(len, sketches), np.int64, len(sketches)),
        "sketches": joined(sum(map(len, sketches)), lambda: sketches),
        "waiting_levels": [len(level) for level in waiting],
        "waiting": np.fromiter(chain.from_iterable(waiting), np.int64, len(lists)),
        "chunks": kept,
        "chunk_sizes": numbered(sums.chunks, np.int64, lambda: map(len, chunks())),
        "hashes": joined(8 * sums.waiting, chunks),
    }


def cells_of(state: State) -> tuple[Levels, Levels]:
    """Return the cells of which `state` was taken, and those where hashes wait, in the order they had. Hashes are copied."""
    starts = column(state["starts"], np.int64)
    count = starts.size
    ends = words(state["ends"], np.int64, count)
    frames, revisions = column(state["frames"], np.int64, count), column(state["revisions"], np.int64, count)
    final = column(state["final"], np.bool_, count)
    if (starts >= ends).any() or (frames < 0).any() or (revisions < 0).any():
        raise ValueError("periods and counts were expected, some are below nothing")
    cuts = _levels(state["levels"], count)
    cells: Levels = [{} for _ in GRANULARITIES]
    # The longest first, as the shorter ones know them.
    for level in reversed(range(len(GRANULARITIES))):
        own = slice(cuts[level], cuts[level + 1])
        parents = [_around(starts[own], list(cells[each].values())) for each in PARENTS[level]]
        columns = (starts[own], ends[own], frames[own], revisions[own], final[own])
        rows = zip(*(each.tolist() for each in columns), *parents, strict=True)
        for start, end, seen, revised, closed, *above in rows:
            cell = cells[level][start] = Cell(Key(level, start), Span(start, end), tuple(above))
            cell.frames, cell.revisions, cell.final = seen, revised, closed
    found = list(chain.from_iterable(level.values() for level in cells))
    if len(found) != count:
        raise ValueError("periods that differ were expected, one is there twice")
    _give_users(state, found)
    return cells, _waiting_of(state, cells)


def _give_users(state: State, cells: Sequence[Cell]) -> None:
    """Give each cell its users, or its sketch."""
    users = words(state["users"], np.uint64)
    cuts = bounds(words(state["sizes"], np.int64, len(cells)), users.size)
    for cell, low, high in zip(cells, cuts, cuts[1:], strict=False):
        cell.users = users[low:high].copy() if high > low else NO_HASHES
    places = column(state["sketched"], np.int64).tolist()
    sketches = blob(state["sketches"])
    cuts = bounds(column(state["sketch_sizes"], np.int64, len(places)), len(sketches))
    for place, low, high in zip(places, cuts, cuts[1:], strict=False):
        cell = cells[integer(place, 0, len(cells) - 1)]
        if cell.sketch is not None or cell.users.size:
            raise ValueError("users or one sketch of them were expected, got both")
        cell.sketch = Sketch.of_sealed(sketches[low:high])


def _waiting_of(state: State, cells: Levels) -> Levels:
    """Let the hashes wait that waited, in as many chunks, and return the cells where they do."""
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
                raise ValueError("cells with hashes that wait were expected, each once")
            for chunk in range(chunks[place], chunks[place + 1]):
                cell.put(hashes[cuts[chunk] : cuts[chunk + 1]].copy())
            own[start] = cell
    return waiting


def _levels(value: State, total: int) -> list[int]:
    """Return where the cells of each level begin, and where the last ones end."""
    if not isinstance(value, list | tuple) or len(value) != len(GRANULARITIES):
        raise ValueError(f"a count for each of {len(GRANULARITIES)} levels was expected")
    return bounds(np.array([integer(each, 0) for each in value], np.int64), total)


def _around(times: Times, cells: Sequence[Cell]) -> list[Cell]:
    """Return the one of `cells`, all of a level, that contains each of `times`."""
    ordered = sorted(cells, key=attrgetter("key"))
    starts = np.fromiter((cell.key.start for cell in ordered), np.int64, len(ordered))
    found = []
    for time, place in zip(times.tolist(), (np.searchsorted(starts, times, side="right") - 1).tolist(), strict=True):
        if place < 0 or time >= ordered[place].end:
            raise ValueError("the longer periods of each one were expected, some are missing")
        found.append(ordered[place])
    return found

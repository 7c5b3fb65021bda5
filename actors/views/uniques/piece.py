"""The cells of one level as immutable columns. Partial answers, frozen slices and summaries consist of pieces.

A cell is a period in which the slice has frames. Pieces share columns, so a read of a frozen slice copies little.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from actors.columns.fields import blob, bounds, column, integer, joined
from actors.columns.snapshot import State
from actors.columns.text import Hashes
from actors.columns.times import Times, count_before
from actors.timeline.span import Span
from actors.views.uniques.arguments import GRANULARITIES

Counts = NDArray[np.integer[Any]]

NO_HASHES: Hashes = np.empty(0, np.uint64)
NO_HASHES.flags.writeable = False

_BYTES_OVERHEAD = 160
"""Memory of a sketch beside its data: the bytes object and an entry in a mapping."""

_PIECE_BYTES = 1_500
"""Memory of a piece beside its data: the array objects."""


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """Cells of one level, by start. Cell i has the users `hashes[lows[i] : highs[i]]`, and `sketches[i]` if there is one."""

    level: int
    starts: Times
    """The starts of the periods, ms since 1970, ascending."""
    frames: Counts
    revisions: Counts
    """How often the slice has published the period's row."""
    final: NDArray[np.bool_]
    """Whether one of these rows was final."""
    lows: Counts
    highs: Counts
    hashes: Hashes
    """The hashes of all cells; sorted and distinct within a cell."""
    sketches: Mapping[int, bytes | memoryview]
    known: Mapping[int, int]
    """How many users each cell with a sketch certainly has, at least."""

    @staticmethod
    def of_state(state: State) -> "Piece":
        """Return the piece that `state` describes. Shares its large columns and its sketches."""
        starts = column(state["starts"], np.int64)
        count = starts.size
        if (starts[1:] <= starts[:-1]).any():
            raise ValueError("ascending starts were expected")
        hashes = column(state["hashes"], np.uint64)
        ends = narrow(np.array(bounds(_counts(state["sizes"], count), hashes.size), np.int64))
        places = column(state["sketched"], np.int64).tolist()
        if len(set(places)) != len(places) or min(places, default=0) < 0 or max(places, default=-1) >= count:
            raise ValueError(f"different cells below {count} were expected for sketches")
        sketches = blob(state["sketches"])
        cuts = bounds(column(state["sketch_sizes"], np.int64, len(places)), len(sketches))
        return Piece(
            integer(state["level"], 0, len(GRANULARITIES) - 1),
            starts,
            _counts(state["frames"], count),
            _counts(state["revisions"], count),
            column(state["final"], np.bool_, count),
            ends[:-1],
            ends[1:],
            hashes,
            {place: sketches[low:high] for place, low, high in zip(places, cuts, cuts[1:], strict=False)},
            dict(zip(places, known_of(state, len(places)), strict=True)),
        )

    def state(self) -> State:
        """Return the state for `of_state`. Only for a piece that is not a part of another one."""
        sizes = [len(sketch) for sketch in self.sketches.values()]
        return {
            "level": self.level,
            "starts": self.starts,
            "frames": self.frames,
            "revisions": self.revisions,
            "final": self.final,
            "sizes": self.highs - self.lows,
            "hashes": self.hashes,
            "sketched": np.array(list(self.sketches), np.int64),
            "known": np.array([self.known[place] for place in self.sketches], np.int64),
            "sketch_sizes": np.array(sizes, np.int64),
            "sketches": joined(sum(sizes), self.sketches.values),
        }

    def owned(self) -> "Piece":
        """Return a copy that shares no memory, so that a mapped file can be closed. Cost: one copy."""
        lows, highs, hashes = _joined([self.users(index) for index in range(self.count)])
        return Piece(
            self.level,
            self.starts.copy(),
            self.frames.copy(),
            self.revisions.copy(),
            self.final.copy(),
            lows,
            highs,
            hashes,
            {place: bytes(sketch) for place, sketch in self.sketches.items()},
            self.known,
        )

    def bare(self) -> Self:
        """Return a copy without users, which shares no memory. Cost: one copy of the numbers."""
        none = np.zeros(self.count, np.uint8)
        return replace(
            self,
            starts=self.starts.copy(),
            frames=self.frames.copy(),
            revisions=self.revisions.copy(),
            final=self.final.copy(),
            lows=none,
            highs=none,
            hashes=NO_HASHES,
            sketches={},
            known={},
        )

    @property
    def count(self) -> int:
        """The number of cells."""
        return self.starts.size

    @property
    def nbytes(self) -> int:
        """Bytes in memory of a piece that is not a part of another one."""
        columns = (self.starts, self.frames, self.revisions, self.final, self.lows, self.hashes)
        sketches = sum(len(sketch) + _BYTES_OVERHEAD for sketch in self.sketches.values())
        return sum(column.nbytes for column in columns) + sketches + _PIECE_BYTES

    def users(self, index: int) -> Hashes:
        """Return the hashes of one cell."""
        return self.hashes[int(self.lows[index]) : int(self.highs[index])]

    def between(self, span: Span) -> Self:
        """Return the cells that begin in `span`. Cost: O(log n), and O(sketches)."""
        low, high = count_before(self.starts, span.start), count_before(self.starts, span.end)
        return self._cut(slice(low, high), {at: at - low for at in self.sketches if low <= at < high})

    def at(self, wanted: Times) -> Self:
        """Return the cells that begin at one of the ascending times `wanted`. Cost: O(wanted log n)."""
        places = np.searchsorted(self.starts, wanted)
        inside = places < self.count
        places, wanted = places[inside], wanted[inside]
        places = places[self.starts[places] == wanted]
        return self._cut(places, {old: new for new, old in enumerate(places.tolist()) if old in self.sketches})

    def replaced(self, largest: int, shrink: Callable[[Hashes], bytes]) -> Self:
        """Return the piece with the users of each cell of more than `largest` hashes replaced by a sketch, made by `shrink`."""
        users = [self.users(index) for index in range(self.count)]
        sketches, known = dict(self.sketches), dict(self.known)
        for index, own in enumerate(users):
            if own.size > largest:
                sketches[index], known[index] = shrink(own), own.size
                users[index] = NO_HASHES
        lows, highs, hashes = _joined(users)
        return replace(self, lows=lows, highs=highs, hashes=hashes, sketches=sketches, known=known)

    def _cut(self, places: Any, sketched: Mapping[int, int]) -> Self:
        """Return the cells at `places`. `sketched` maps the old place of each cell with a sketch to its new place."""
        sketches = {new: self.sketches[old] for old, new in sketched.items()}
        known = {new: self.known[old] for old, new in sketched.items()}
        columns = (self.starts, self.frames, self.revisions, self.final, self.lows, self.highs)
        starts, frames, revisions, final, lows, highs = (column[places] for column in columns)
        numbers = {"starts": starts, "frames": frames, "revisions": revisions, "final": final, "lows": lows, "highs": highs}
        return replace(self, **numbers, sketches=sketches, known=known)


def piece(
    level: int,
    *,
    starts: Sequence[int],
    frames: Sequence[int],
    revisions: Sequence[int],
    final: Sequence[bool],
    users: Sequence[Hashes],
    sketches: Mapping[int, bytes | memoryview],
    known: Mapping[int, int],
) -> Piece:
    """Return cells as columns of the smallest possible types. `starts` must ascend. Cost: one copy."""
    lows, highs, hashes = _joined(users)
    return Piece(
        level,
        np.array(starts, np.int64),
        narrow(np.array(frames, np.int64)),
        narrow(np.array(revisions, np.int64)),
        np.array(final, np.bool_),
        lows,
        highs,
        hashes,
        sketches,
        known,
    )


def known_of(state: State, count: int) -> list[int]:
    """Return how many users each of `count` cells with a sketch certainly has; 0 in files of earlier versions."""
    value = state.get("known")
    known = np.zeros(count, np.int64) if value is None else column(value, np.int64, count)
    if (known < 0).any():
        raise ValueError("counts from 0 were expected, some are not")
    counts: list[int] = known.tolist()
    return counts


def _joined(users: Sequence[Hashes]) -> tuple[Counts, Counts, Hashes]:
    """Return the lows, highs and hashes of a piece with these `users`. Lows and highs share one column."""
    ends = np.zeros(len(users) + 1, np.int64)
    np.cumsum(np.fromiter(map(len, users), np.int64, len(users)), out=ends[1:])
    ends = narrow(ends)
    return ends[:-1], ends[1:], np.concatenate(users) if users else NO_HASHES


def narrow(column: NDArray[np.int64]) -> Any:
    """Return counts as the shortest unsigned numbers."""
    return column.astype(np.min_scalar_type(int(column.max(initial=0))))


def _counts(value: State, count: int) -> Counts:
    """Return `value`, a column of `count` unsigned numbers of any width."""
    if not isinstance(value, np.ndarray) or value.dtype.kind != "u":
        raise TypeError(f"a column of counts was expected, got {type(value).__name__}")
    return column(value, value.dtype, count)

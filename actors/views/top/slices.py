"""The slice of `top`, which holds the last value of every id, and its summary."""

from collections.abc import Mapping
from dataclasses import dataclass
from operator import index
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from actors.columns.snapshot import State
from actors.columns.text import Text
from actors.columns.times import Times
from actors.timeline.span import EVER, Span
from actors.views.top.arguments import Figures, Keyed, RankOf, Top
from actors.views.top.dataset import Dataset
from actors.views.top.decode import Tombstones, Upserts, offset_of, partition_of, stands_before
from actors.views.view import NONE_LOST, Live, Meta


@dataclass(frozen=True, slots=True)
class Ranked:
    """Ids with their values, unordered, and the place of the last clear of each partition.

    Immutable. The ids share the table's columns.
    """

    ids: Text
    values: Times
    cleared: Mapping[int, int]


class Valued(NamedTuple):
    """The values of ids, and the times of their records."""

    values: Times
    times: Times


class Kept(NamedTuple):
    """Ids with the values, times and places of their last records, and the place of the last clear of each partition.

    The values of all other ids are `least` or lower; None: there is no other id.
    """

    rows: Upserts
    least: int | None
    cleared: Mapping[int, int]


class Rank(NamedTuple):
    """The value of an id, and its rank: 1 for the largest value."""

    value: int
    rank: int


def cleared_to(partial: tuple[Ranked, ...]) -> dict[int, int]:
    """Return the offset of the last clear of each partition in its newest epoch."""
    found: dict[int, int] = {}
    for owner, place in sorted(entry for piece in partial for entry in piece.cleared.items()):
        found[owner & 0xFFFF] = offset_of(place)
    return found


@dataclass(frozen=True, slots=True)
class TopSummary:
    """The number of ids, the number of superseded or cleared values, and the largest value that was forgotten.

    `scattered` is the number of ids that were seen in more than one partition since the last clear.
    """

    ids: int
    gone: int
    lowest_forgotten: int | None = None
    scattered: int = 0

    def then(self, later: "TopSummary") -> "TopSummary":
        """Return the summary of both."""
        known = [value for value in (self.lowest_forgotten, later.lowest_forgotten) if value is not None]
        return TopSummary(
            self.ids + later.ids, self.gone + later.gone, max(known, default=None), self.scattered + later.scattered
        )

    @staticmethod
    def of_state(state: State) -> "TopSummary":
        """Restore a summary from its `state`. Raises ValueError or TypeError."""
        ids, gone, lowest_forgotten, *scattered = state  # earlier versions did not count the last
        return TopSummary(index(ids), index(gone), _known(lowest_forgotten), *map(index, scattered))

    def state(self) -> State:
        """Return the state for `of_state`."""
        return self.ids, self.gone, self.lowest_forgotten, self.scattered


class LiveTop(Live):
    """Every id with its last value. Not thread-safe: its collector owns it.

    Never full, because an id cannot be split between slices.
    """

    def __init__(self) -> None:
        self._dataset = Dataset()
        self._cleared: dict[int, int] = {}
        self._forgotten: int | None = None
        self._gone = 0
        self._first: int | None = None
        self._last: int | None = None

    @override
    def add(self, batch: Upserts, watermark: int | None) -> Mapping[str, int]:
        """Take in values, clears and tombstones. Cost: about 0.6 us a value, O(ids) a clear, 2 us a tombstone."""
        held = len(self._dataset)
        upserts = self._clear(batch) if batch.clears.size else batch
        if batch.tombstones.places.size:
            self._dataset.delete(batch.tombstones)
            upserts = upserts.only(_after(batch.tombstones, upserts))
        self._dataset.upsert(upserts)
        self._gone += held + batch.count - len(self._dataset)
        first, last = upserts.first(), upserts.last()
        if first is not None and last is not None:
            self._first = first if self._first is None else min(first, self._first)
            self._last = last if self._last is None else max(last, self._last)
        return NONE_LOST

    def read(self, span: Span, arguments: Top) -> tuple[Ranked | Rank | Valued | Kept, ...]:
        """Return the largest values, or for a `span`, all with times in it. Cost: see `Dataset.top_rows`.

        For `RankOf`, return the rank of the id, if it has a value.
        """
        if isinstance(arguments, Keyed):
            return (Kept(*self._dataset.keyed(arguments.limit, arguments.names), dict(self._cleared)),)
        if isinstance(arguments, RankOf):
            found = self._dataset.rank_of(arguments.name)
            return () if found is None else (Rank(*found),)
        if arguments.limit is not None and span == EVER:
            ids, values, _ = self._dataset.top_rows(arguments.limit)
        else:
            ids, values, times = self._dataset.all_rows()
            inside = np.flatnonzero((times >= span.start) & (times < span.end)) if span != EVER else slice(None)
            if isinstance(arguments, Figures):
                return (Valued(values[inside], times[inside]),)
            ids, values = ids.only(inside), values[inside]
        return (Ranked(ids, values, dict(self._cleared)),)

    def shed(self, nbytes: int) -> tuple[dict[str, int], int | None]:
        """Forget about `nbytes` of the ids with the lowest values. Higher values stay exact."""
        held = len(self._dataset)
        if not held or nbytes <= 0:
            return {}, None
        count = min(held, -(-nbytes * held // self._dataset.nbytes))
        gone, limit = self._dataset.forget_lowest(count)
        self._forgotten = limit if self._forgotten is None else max(limit, self._forgotten)
        return {"lowest": gone}, None

    def meta(self) -> Meta:
        """Describe the slice as it stands."""
        held = len(self._dataset)
        span = Span(self._first, self._last + 1) if self._first is not None and self._last is not None else None
        summary = TopSummary(held, self._gone, self._forgotten, self._dataset.scattered)
        return Meta(span, held + self._gone, self._dataset.nbytes, 0, None, summary)

    @staticmethod
    def of_state(state: State) -> "LiveTop":
        """Restore a slice from its `state`. Costs and raises as `Dataset.of_state`."""
        dataset = Dataset.of_state(state["table"], state.get("others"))
        live = LiveTop()
        live._dataset, live._forgotten = dataset, _known(state["forgotten"])
        live._cleared = _numbers(state["cleared"])
        live._gone = index(state["gone"])
        if state["span"] is not None:
            live._first, live._last = map(index, state["span"])
        return live

    def state(self) -> State:
        """Return the state for `of_state`. Cost: that of `Dataset.state`."""
        table, others = self._dataset.state()
        return {
            "table": table,
            "others": others,
            "cleared": dict(self._cleared),
            "forgotten": self._forgotten,
            "gone": self._gone,
            "span": None if self._first is None else (self._first, self._last),
        }

    def _clear(self, batch: Upserts) -> Upserts:
        """Delete the values before the clears, in the table and in the batch; returns the rest of the batch."""
        self._dataset.clear(batch.clears)
        keep = np.ones(batch.values.size, np.bool_)
        for place in batch.clears.tolist():
            owner = partition_of(place)
            self._cleared[owner] = max(place, self._cleared.get(owner, place))
            keep &= ~stands_before(batch.places, place)
        return batch.only(keep)


def _after(tombstones: Tombstones, batch: Upserts) -> NDArray[np.bool_]:
    """Return the mask of the values that no tombstone of the same poll deletes. Cost: 1 us a value of a deleted id."""
    last: dict[tuple[bytes, int], int] = {}
    names = tombstones.ids.take(np.arange(tombstones.places.size))
    for name, place in zip(names, tombstones.places.tolist(), strict=True):
        last[name, partition_of(place)] = place
    keep = np.ones(batch.values.size, np.bool_)
    rows = np.flatnonzero(np.isin(batch.ids.hashes(), tombstones.ids.hashes()))
    for row, name, place in zip(rows.tolist(), batch.ids.take(rows), batch.places[rows].tolist(), strict=True):
        keep[row] = place > last.get((name, partition_of(place)), -1)
    return keep


def _known(number: State) -> int | None:
    """Return an integer of a state, or None. Raises TypeError."""
    return None if number is None else index(number)


def _numbers(state: State) -> dict[int, int]:
    """Return a dictionary of a state. Raises TypeError or ValueError."""
    return {index(key): index(value) for key, value in dict(state).items()}

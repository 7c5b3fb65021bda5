"""The last value of every id, if the records of an id can be in several partitions.

Used by the live slice of `top`. The order of two records of one id is defined by their places and times alone:

- Within a partition, the record with the higher offset is the later one, whatever the times are.
- Between partitions, the last record of each partition is compared. The one with the later (time, place) is the last value.
- A clear deletes the records before it in its partition, and all records of earlier epochs of the topic. A tombstone does so
  for the records of one id.

So the result does not depend on the order in which the partitions are read, and a replay gives the same answer, also after
Kafka has compacted the topic.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from actors.columns.snapshot import State
from actors.columns.text import Hashes, Text
from actors.columns.times import INT64_MIN, NO_TIMES, Times
from actors.views.top.decode import Tombstones, Upserts, partition_of, stands_before
from actors.views.top.table import Table

_OWNER_BYTES = 8


class Dataset:
    """Ids with their last values. Not thread-safe. Results of `all_rows` and `top_rows` do not change later.

    `_shown` has the last value of every id. `_others` has, for an id with records in several partitions, the last value of each
    other partition, because a later record or a clear can make one of these the last value again. Its key is the id and the
    partition. A row of `_others` whose partition is the one of the shown value is out of date, and is ignored.
    """

    def __init__(self) -> None:
        self._shown = Table()
        self._others = Table()
        self._owners: set[int] = set()

    @staticmethod
    def of_state(state: State, others: State | None) -> "Dataset":
        """Restore a dataset from its `state`; `others` is None in states of earlier versions. Raises as `Table.of_state`."""
        dataset = Dataset()
        dataset._shown = Table.of_state(state)
        if others is not None:
            dataset._others = Table.of_state(others)
            dataset._note_owners()
        return dataset

    def state(self) -> tuple[State, State | None]:
        """Return the two arguments of `of_state`. Cost: that of `Table.state`."""
        return self._shown.state(), self._others.state() if self._others.places.size else None

    def __len__(self) -> int:
        """Return the number of ids."""
        return len(self._shown)

    @property
    def nbytes(self) -> int:
        """Bytes of all columns, with spare capacity."""
        return self._shown.nbytes + (self._others.nbytes if self._others.places.size else 0)

    @property
    def scattered(self) -> int:
        """Number of ids with records in more than one partition."""
        return self._shown.marked

    def all_rows(self) -> tuple[Text, Times, Times]:
        """Return all ids with their values and times. Cost: see `Table.all_rows`."""
        return self._shown.all_rows()

    def top_rows(self, limit: int) -> tuple[Text, Times, Times]:
        """Return the `limit` ids with the largest values. Cost: see `Table.top_rows`."""
        return self._shown.top_rows(limit)

    def keyed(self, limit: int | None, names: Sequence[bytes]) -> tuple[Upserts, int | None]:
        """Return the ids with the `limit` largest values, or all, and those of `names`, with their values, times and places.

        The values of all other ids are at most the second result; None: there is no other id. `limit` is at least 1.
        Cost: that of `Table.top_rows`, and 0.5 us a name.
        """
        if limit is None or limit >= len(self):
            return self._shown.upserts(), None
        rows = self._shown.top(limit)
        least = int(self._shown.values[rows].min())
        if names:
            found = self._shown.rows_of(Text.of(names))
            rows = np.unique(np.concatenate((rows, found[found >= 0])))
        return self._shown.upserts(rows), least

    def rank_of(self, name: bytes) -> tuple[int, int] | None:
        """Return the value and the rank of an id, 1 for the largest value; None if it has no value. Cost: 2 ns an id.

        Of equal values, the larger id by bytes comes first: 0.3 us for each id with the same value.
        """
        (row,) = self._shown.rows_of(Text.of([name])).tolist()
        if row < 0:
            return None
        values = self._shown.values
        value = int(values[row])
        above = self._shown.living(np.flatnonzero(values > value)).size
        same = self._shown.upserts(self._shown.living(np.flatnonzero(values == value))).ids
        return value, 1 + above + sum(other > name for other in same.take(np.arange(same.lengths.size)))

    def upsert(self, batch: Upserts) -> None:
        """Take in values. Cost: about 0.5 us a value, and 1 us more for a value of an id in several partitions."""
        hashes = batch.ids.hashes()
        ordered = np.sort(hashes)
        if not (ordered[1:] == ordered[:-1]).any():
            self._upsert_distinct(batch, hashes)
            return
        order = np.argsort(hashes, kind="stable")
        ordered = hashes[order]
        pairs = np.flatnonzero(ordered[1:] == ordered[:-1])
        if not batch.ids.only(order[pairs]).same(batch.ids, order[pairs + 1]).all():  # two ids have equal hashes: rare
            for row in range(batch.values.size):
                self._upsert_distinct(batch.only(np.array([row])), hashes[row : row + 1])
            return
        order = np.lexsort((batch.places, hashes))
        ordered, owners = hashes[order], partition_of(batch.places[order])
        last = np.append((ordered[1:] != ordered[:-1]) | (owners[1:] != owners[:-1]), True)
        rows = order[last]  # the last record of each id in each partition
        ordered = hashes[rows]
        first = np.append(True, ordered[1:] != ordered[:-1])
        turns = np.arange(rows.size) - np.maximum.accumulate(np.where(first, np.arange(rows.size), 0))
        for turn in range(int(turns.max()) + 1):  # each id once in a turn
            some = np.sort(rows[turns == turn])
            self._upsert_distinct(batch.only(some), hashes[some])

    def clear(self, clears: Times) -> None:
        """Delete every value before one of the clears, which are places. Cost: O(ids) for each clear."""
        if self._shown.keep(_survivors(self._shown, clears)) + self._others.keep(_survivors(self._others, clears)):
            self._note_owners()
        if len(self._others):
            left = self._others.upserts()
            ids = _without_owners(left.ids)
            orphans = np.flatnonzero(self._shown.rows_of(ids) < 0)
            self.upsert(Upserts(ids, left.values, left.times, left.places, NO_TIMES).only(orphans))

    def delete(self, tombstones: Tombstones) -> None:
        """Delete the values of each id before its tombstones. Cost: 1 us a tombstone for each partition of scattered ids."""
        at = self._shown.rows_of(tombstones.ids)
        known = np.flatnonzero(at >= 0)
        ids, places, at = tombstones.ids.only(known), tombstones.places[known], at[known]
        for owner in self._owners if len(self._others) else ():
            found = self._others.rows_of(_with_owners(ids, np.full(at.size, owner)))
            gone = (found >= 0) & stands_before(self._others.places[found], places)
            self._others.delete(np.unique(found[gone]))
        fallen = np.unique(at[stands_before(self._shown.places[at], places)])
        best = self._last_elsewhere(fallen)
        back = np.flatnonzero(best >= 0)
        self._shown.replace(fallen[back], self._others.upserts(best[back]), np.arange(back.size))
        self._shown.delete(fallen[best < 0])
        left = np.setdiff1d(at, fallen[best < 0])
        self._shown.unmark(left[self._last_elsewhere(left) < 0])
        self._shown.tidy()
        self._others.tidy()

    def forget_lowest(self, count: int) -> tuple[int, int]:
        """Delete about `count` ids with the lowest values; returns their number, and the largest value among them."""
        values = self._shown.values[self._shown.living()]
        limit = int(np.partition(values, min(count, values.size) - 1)[min(count, values.size) - 1])
        gone = self._shown.keep(self._shown.values > limit)
        if len(self._others):
            keys = self._others.upserts(slice(None)).ids
            self._others.keep(self._shown.rows_of(_without_owners(keys)) >= 0)
            self._note_owners()
        return gone, limit

    def _upsert_distinct(self, batch: Upserts, hashes: Hashes) -> None:
        """Take in values of ids that differ."""
        found, slots = self._shown.find(hashes, batch.ids)
        known = np.flatnonzero(found >= 0)
        at = found[known]
        times, places = batch.times[known], batch.places[known]
        shown_times, shown_places = self._shown.times[at], self._shown.places[at]
        deleted = self._shown.is_deleted(at)
        own = deleted | (partition_of(places) == partition_of(shown_places))
        replaces = np.where(own, deleted | (places > shown_places), _later(times, places, shown_times, shown_places))
        if not own.all():
            self._keep_others(batch, known, at, own=own, replaces=replaces)
        self._shown.replace(at[replaces], batch, known[replaces])
        if len(self._others):
            fallen = at[own & ~deleted & replaces & (times < shown_times)]
            if fallen.size:
                self._show_last(fallen)
        fresh = np.flatnonzero(found < 0)
        if fresh.size:
            self._shown.append(batch, fresh, hashes[fresh], slots[fresh])

    def _keep_others(self, batch: Upserts, known: Times, at: Times, *, own: Any, replaces: Any) -> None:
        """Keep what is not the last value of its id, but the last one of its partition: the shown value, or the new one."""
        self._shown.mark(at[~own])
        self._put(self._shown.upserts(at[~own & replaces]))
        self._put(batch.only(known[~own & ~replaces]))

    def _show_last(self, at: Times) -> None:
        """Compare the values of the shown rows `at` with those of other partitions, and show the last one of each id."""
        shown = self._shown.upserts(at)
        best = self._last_elsewhere(at, shown.times, shown.places)
        beaten = np.flatnonzero(best >= 0)
        if beaten.size:
            self._put(shown.only(beaten))
            others = self._others.upserts(best[beaten])
            self._shown.replace(at[beaten], others, np.arange(beaten.size))

    def _last_elsewhere(self, at: Times, times: Times | None = None, places: Times | None = None) -> Times:
        """Return the row in `_others` of the last value of each shown id in other partitions than the shown value.

        It is -1 if there is no such value, or no such value after the given times and places.
        """
        best = np.full(at.size, -1, np.int64)
        if not len(self._others):
            return best
        times = np.full(at.size, INT64_MIN) if times is None else times.copy()
        places = np.full(at.size, INT64_MIN) if places is None else places.copy()
        ids, own = self._shown.upserts(at).ids, partition_of(self._shown.places[at])
        for owner in sorted(self._owners):
            found = self._others.rows_of(_with_owners(ids, np.full(at.size, owner)))
            rows = np.flatnonzero((found >= 0) & (own != owner))
            there, then = self._others.times[found[rows]], self._others.places[found[rows]]
            later = _later(there, then, times[rows], places[rows])
            rows, there, then = rows[later], there[later], then[later]
            best[rows], times[rows], places[rows] = found[rows], there, then
        return best

    def _put(self, batch: Upserts) -> None:
        """Keep the values of distinct ids as the last ones of their partitions."""
        if not batch.values.size:
            return
        owners = partition_of(batch.places)
        keys = _with_owners(batch.ids, owners)
        mine = Upserts(keys, batch.values, batch.times, batch.places, NO_TIMES)
        hashes = keys.hashes()
        found, slots = self._others.find(hashes, keys)
        known = np.flatnonzero(found >= 0)
        at = found[known]
        newer = known[self._others.is_deleted(at) | (mine.places[known] > self._others.places[at])]
        self._others.replace(found[newer], mine, newer)
        fresh = np.flatnonzero(found < 0)
        if fresh.size:
            self._others.append(mine, fresh, hashes[fresh], slots[fresh])
        self._owners.update(np.unique(owners).tolist())

    def _note_owners(self) -> None:
        self._owners = set(np.unique(partition_of(self._others.places)).tolist())

    def _check(self) -> None:
        """Assert the invariants of both tables, and that every id of `_others` is shown."""
        self._shown._check()  # noqa: SLF001  # the same invariants
        self._others._check()  # noqa: SLF001
        if len(self._others):
            ids = _without_owners(self._others.upserts().ids)
            assert (self._shown.rows_of(ids) >= 0).all()


def _later(times: Times, places: Times, than_times: Times, than_places: Times) -> Any:
    return (times > than_times) | ((times == than_times) & (places > than_places))


def _survivors(table: Table, clears: Times) -> Any:
    keep = np.ones(table.places.size, np.bool_)
    for place in clears.tolist():
        keep &= ~stands_before(table.places, place)
    return keep


def _with_owners(ids: Text, owners: Times) -> Text:
    """Return each id followed by the eight bytes of its owner."""
    lengths = ids.lengths + _OWNER_BYTES
    starts = np.cumsum(lengths) - lengths
    blob = np.zeros(int(lengths.sum()) + _OWNER_BYTES, np.uint8)
    within = np.cumsum(ids.lengths) - ids.lengths
    joined = ids.joined(np.arange(ids.lengths.size))
    blob[np.arange(joined.size) + np.repeat(starts - within, ids.lengths)] = joined
    ends = (starts + ids.lengths)[:, None] + np.arange(_OWNER_BYTES)
    blob[ends] = owners.astype("<i8").view(np.uint8).reshape(-1, _OWNER_BYTES)
    return Text(blob, starts, lengths)


def _without_owners(keys: Text) -> Text:
    return Text(keys.blob, keys.starts, keys.lengths - _OWNER_BYTES)

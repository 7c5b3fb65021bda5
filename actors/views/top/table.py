"""A hash table of ids and their values, in columns, with candidates for the largest values.

Used by the dataset of `top`. There is no object per id: an id of 36 bytes takes about 90 bytes.
"""

from operator import index
from typing import Any

import numpy as np
from numpy.typing import NDArray

from actors.columns.fields import column
from actors.columns.snapshot import State
from actors.columns.text import Hashes, Text
from actors.columns.times import NO_TIMES, Times
from actors.views.top.decode import Upserts

_VALUE, _TIME, _PLACE, _WHERE = range(4)
"""The columns of a row, which are adjacent, so reading a row costs one cache line instead of four. The last column is the start
of the id in the blob, shifted left by `_LENGTH_BITS`, plus the length of the id.
"""

_COLUMNS = 4
_LENGTH_BITS = 17
_LENGTH = (1 << _LENGTH_BITS) - 1
_MARK = 1 << 62
"""The bit of the last column that says that a row is marked."""

_DELETED = 1 << 61
"""The bit of the last column that says that a row is deleted. It stays in the index until the next rebuild."""

_BITS = _MARK | _DELETED

_ROW = np.uint64(2**32 - 1)
"""The low half of an index entry is the row plus one, or 0 if the slot is free. The high half is that of the id's hash, so a
slot of another id is usually recognised without reading its row.
"""

_HALF = np.uint64(32)
_BLOCK = 65_536
_GROWTH = 2.0
"""Growth factor of full columns. The system gives memory to the part of a column that is used, so the rest is not counted."""

_LEAST = 1_024
_LOAD = 0.5
_KEPT_CANDIDATES = 1_024
_MOST_CANDIDATES = 16_384


class Table:
    """Ids that differ, each with a value, a time, a place, and a mark. Not thread-safe.

    Results of `all_rows` and `top_rows` do not change later. A deleted row has no id any more, but takes memory until `tidy`
    or `keep` rebuilds the table. `find` returns it, and `replace` makes it a row again.
    """

    def __init__(self) -> None:
        self._count = 0
        self._rows: NDArray[np.int64] = np.empty((_LEAST, 4), np.int64)
        self._blob = np.zeros(32 * _LEAST, np.uint8)
        self._used = 0
        self._index: Hashes = np.zeros(2 * _LEAST, np.uint64)
        self._threshold: int | None = None
        self._kept = _KEPT_CANDIDATES
        self._candidates: list[Times] = []
        self._candidate_count = 0
        self.marked = 0
        """Number of marked rows."""
        self.deleted = 0
        """Number of deleted rows."""

    @staticmethod
    def of_state(state: State) -> "Table":
        """Restore a table with the same capacity from its `state`. Cost: 0.3 us an id, mostly for hashes.

        Raises ValueError, TypeError or KeyError if `state` is invalid.
        """
        rows, blob = state["rows"], column(state["blob"], np.uint8)
        row_room, blob_room, slots = map(index, state["room"])
        if not isinstance(rows, np.ndarray) or rows.dtype != np.int64 or rows.shape != (len(rows), 4):
            raise ValueError("rows of 4 numbers were expected")
        count, used = len(rows), blob.size
        where = rows[:, _WHERE] & ~_BITS
        if count and (where.min() < 0 or ((where >> _LENGTH_BITS) + (where & _LENGTH)).max() > used):
            raise ValueError(f"ids within {used} bytes were expected, got some outside")
        if not count <= row_room <= max(_LEAST, int(_GROWTH * count)):
            raise ValueError(f"room for {count} rows was expected, got {row_room}")
        if not used + 8 <= blob_room <= max(32 * _LEAST, int(_GROWTH * (used + 8))):
            raise ValueError(f"room for {used} bytes was expected, got {blob_room}")
        if slots not in {_slots_for(count), max(2 * _LEAST, _slots_for(count) // 2)}:
            raise ValueError(f"an index for {count} rows was expected, got one of {slots} slots")
        table = Table()
        table._rows, table._blob = np.empty((row_room, 4), np.int64), np.empty(blob_room, np.uint8)
        table._rows[:count], table._blob[:used] = rows, blob
        table._count, table._used = count, used
        table.marked = int((rows[:, _WHERE] & _MARK != 0).sum())
        table.deleted = int((rows[:, _WHERE] & _DELETED != 0).sum())
        table._index_all(slots)
        table._kept = max(_KEPT_CANDIDATES, index(state["kept"]))
        if state["threshold"] is not None:
            table._threshold = index(state["threshold"])
            table._candidates = [table.living(np.flatnonzero(table.values >= table._threshold))]
            table._candidate_count = table._candidates[0].size
        return table

    def state(self) -> State:
        """Return the state for `of_state`. Shares the ids. Cost: a copy of the rows, 10 ns an id."""
        self._living_candidates()
        return {
            "rows": self._rows[: self._count].copy(),
            "blob": self._blob[: self._used],
            "room": [len(self._rows), self._blob.size, self._index.size],
            "threshold": self._threshold,
            "kept": self._kept,
        }

    def __len__(self) -> int:
        """Return the number of ids, without deleted ones."""
        return self._count - self.deleted

    @property
    def nbytes(self) -> int:
        """Bytes of all columns, without room that was never used."""
        return 8 * _COLUMNS * self._count + self._used + self._index.nbytes + 8 * self._candidate_count

    @property
    def values(self) -> Times:
        """The value of each row, as a view."""
        return self._rows[: self._count, _VALUE]

    @property
    def times(self) -> Times:
        """The time of each row's value, as a view."""
        return self._rows[: self._count, _TIME]

    @property
    def places(self) -> Times:
        """The place of each row's value, as a view."""
        return self._rows[: self._count, _PLACE]

    def upserts(self, rows: Any = None) -> Upserts:
        """Return the ids, values, times and places of `rows`, or of all that are not deleted. Copies all but the ids."""
        rows = self.living() if rows is None else rows
        chosen = self._rows[: self._count][rows]
        return Upserts(self._ids(rows), chosen[:, _VALUE].copy(), chosen[:, _TIME].copy(), chosen[:, _PLACE].copy(), NO_TIMES)

    def replace(self, at: Times, batch: Upserts, rows: Times) -> None:
        """Give each row of `at` the value, time and place of its row in `batch`. A deleted row is a row again."""
        if self.deleted:
            again = at[self._rows[at, _WHERE] & _DELETED != 0]
            self._rows[again, _WHERE] &= ~_DELETED
            self.deleted -= again.size
        self._rows[at, _VALUE] = batch.values[rows]
        self._rows[at, _TIME] = batch.times[rows]
        self._rows[at, _PLACE] = batch.places[rows]
        self._consider(at, batch.values[rows])

    def mark(self, at: Times) -> None:
        """Mark the rows `at`, which differ."""
        fresh = at[self._rows[at, _WHERE] & _MARK == 0]
        self._rows[fresh, _WHERE] |= _MARK
        self.marked += fresh.size

    def unmark(self, at: Times) -> None:
        """Remove the mark of the rows `at`, which differ."""
        marked = at[self._rows[at, _WHERE] & _MARK != 0]
        self._rows[marked, _WHERE] &= ~_MARK
        self.marked -= marked.size

    def is_deleted(self, rows: Times) -> NDArray[np.bool_]:
        """Return the mask of the deleted ones among `rows`."""
        mask: NDArray[np.bool_] = self._rows[rows, _WHERE] & _DELETED != 0
        return mask

    def delete(self, at: Times) -> None:
        """Delete the rows `at`, which differ and are not deleted yet. Call `tidy` when no row numbers are held any more."""
        self.unmark(at)
        self._rows[at, _WHERE] |= _DELETED
        self.deleted += at.size

    def tidy(self) -> None:
        """Rebuild the table if most rows are deleted: so a deletion costs O(1), and the memory is at most double."""
        if self.deleted > max(_LEAST, self._count // 2):
            self._rebuild(self.living())

    def living(self, rows: Times | None = None) -> Times:
        """Return those of `rows`, or of all rows, that are not deleted."""
        rows = np.arange(self._count) if rows is None else rows
        return rows[~self.is_deleted(rows)] if self.deleted else rows

    def keep(self, keep: NDArray[np.bool_]) -> int:
        """Rebuild the table with the rows to keep, a mask; returns how many rows go. Cost: 0.5 us an id that stays."""
        rows = self.living(np.flatnonzero(keep))
        gone = len(self) - rows.size
        if gone:
            self._rebuild(rows)
        return gone

    def _rebuild(self, rows: Times) -> None:
        kept, marked = self.upserts(rows), np.flatnonzero(self._rows[rows, _WHERE] & _MARK)
        Table.__init__(self)
        self._index = np.zeros(_slots_for(rows.size), np.uint64)
        hashes = kept.ids.hashes()
        self.append(kept, np.arange(rows.size), hashes, self._slots(hashes))
        self.mark(marked)

    def all_rows(self) -> tuple[Text, Times, Times]:
        """Return all ids, values and times. Shares the ids, which never change, and copies the rest. Cost: 2 ns an id."""
        rows = self.living() if self.deleted else slice(None)
        return self._ids(rows), self.values[rows].copy(), self.times[rows].copy()

    def top_rows(self, limit: int) -> tuple[Text, Times, Times]:
        """Return the `limit` ids with the largest values, their values and times, unordered.

        Of equal values, takes the largest ids by bytes. Cost: O(candidates) if there are at least `limit` candidates, else
        O(ids).
        """
        if limit >= len(self):
            return self.all_rows()
        chosen = self.top(limit)
        return self._ids(chosen), self._rows[chosen, _VALUE], self._rows[chosen, _TIME]

    def top(self, limit: int) -> Times:
        """Return the rows of the `limit` ids with the largest values, or of all, unordered. Cost: that of `top_rows`."""
        if limit >= len(self):
            return self.living()
        rows = self._living_candidates()
        if rows.size < limit:
            self._kept = max(_KEPT_CANDIDATES, 2 * limit)
            self._find_candidates(self._kept)
            rows = self._living_candidates()
        values = self._rows[rows, _VALUE]
        least = int(np.partition(values, values.size - limit)[values.size - limit])
        above = rows[values > least]
        tied = self._largest_ids(rows[values == least], limit - above.size)
        return np.concatenate((above, tied))

    def _ids(self, rows: Any = slice(None)) -> Text:
        where = self._rows[: self._count, _WHERE][rows] & ~_BITS
        return Text(self._blob, where >> _LENGTH_BITS, where & _LENGTH)

    # The largest values ----------------------------------------------------------------------------------------------

    def _consider(self, rows: Times, values: Times) -> None:
        """Make rows with new values candidates if the values reach the threshold."""
        if self._threshold is None:
            return
        rows = rows[values >= self._threshold]
        if rows.size:
            self._candidates.append(rows)
            self._candidate_count += rows.size
            if self._candidate_count > _MOST_CANDIDATES:
                self._living_candidates()

    def _living_candidates(self) -> Times:
        """Return each row whose value reaches the threshold, once. Raises the threshold if there are too many."""
        if self._threshold is None:
            return NO_TIMES
        if len(self._candidates) > 1:
            rows: Times = np.sort(np.concatenate(self._candidates))
            rows = rows[np.append(True, rows[1:] != rows[:-1])]
        else:
            rows = self._candidates[0]
        rows = self.living(rows)
        values = self._rows[rows, _VALUE]
        threshold = self._threshold
        if rows.size > 4 * self._kept:  # keep the best ones
            threshold = int(np.partition(values, rows.size - self._kept)[rows.size - self._kept])
        rows = rows[values >= threshold]
        self._threshold, self._candidates, self._candidate_count = threshold, [rows], rows.size
        return rows

    def _find_candidates(self, count: int) -> None:
        """Make the `count` largest values candidates, with all ties of the smallest one."""
        living = self.living()
        values = self.values[living]
        place = max(0, living.size - count)
        self._threshold = int(np.partition(values, place)[place]) if living.size else 0
        rows = living[values >= self._threshold]
        self._candidates, self._candidate_count = [rows], rows.size

    def _largest_ids(self, rows: Times, count: int) -> Times:
        """Return the rows of the `count` largest ids by bytes. Cost: O(rows), mostly."""
        chosen: list[Times] = []
        place = 0
        while rows.size > count > 0:
            ids = self._ids(rows)
            if place >= int(ids.lengths.max()):  # equal except for zero bytes at the end: the longer id is larger
                order = np.argsort(ids.lengths, kind="stable")
                rows = rows[order[rows.size - count :]]
                break
            prefixes = ids.prefixes(place)
            least = np.partition(prefixes, rows.size - count)[rows.size - count]
            above = rows[prefixes > least]
            chosen.append(above)
            count -= above.size
            rows = rows[prefixes == least]
            place += 8
        return np.concatenate((*chosen, rows[:count]))

    # The hash table --------------------------------------------------------------------------------------------------

    def find(self, hashes: Hashes, ids: Text) -> tuple[Times, Times]:
        """Return the row of each id, deleted ones included, or -1; and the slot at which the search ended.

        Cost: about 150 ns an id.
        """
        slots = self._slots(hashes)
        found = self._search(hashes, slots)
        known = np.flatnonzero(found >= 0)
        alike = self._ids(found[known]).same(ids, known)
        while not alike.all():  # another id has the same half hash: continue after it
            wrong = known[~alike]
            further = (slots[wrong] + 1) & (self._index.size - 1)
            found[wrong] = self._search(hashes[wrong], further)
            slots[wrong] = further
            known = wrong[found[wrong] >= 0]
            alike = self._ids(found[known]).same(ids, known)
        return found, slots

    def rows_of(self, ids: Text) -> Times:
        """Return the row of each id, or -1 if the id has no row or a deleted one. Cost: that of `find`."""
        found = self.find(ids.hashes(), ids)[0]
        if self.deleted:
            found[(found >= 0) & self.is_deleted(found)] = -1
        return found

    def _search(self, hashes: Hashes, slots: Times) -> Times:
        """Return the next row with an equal half hash, or -1; advances `slots` to its slot."""
        found, left = np.full(hashes.size, -1, np.int64), np.arange(hashes.size)
        mask = self._index.size - 1
        while left.size:
            entries = self._index[slots[left]]
            hit = (entries ^ hashes[left]) >> _HALF == 0
            hit &= entries != 0
            found[left[hit]] = (entries[hit] & _ROW).view(np.int64) - 1
            left = left[(entries != 0) & ~hit]
            slots[left] = (slots[left] + 1) & mask
        return found

    def append(self, batch: Upserts, fresh: Times, hashes: Hashes, slots: Times) -> None:
        """Append rows for new, distinct ids; `slots` are the free slots that `find` returned for them."""
        count, start = fresh.size, self._count
        end = start + count
        lengths = batch.ids.lengths[fresh]
        text = batch.ids.joined(fresh)
        self._blob = _grown(self._blob, self._used + text.size + 8, self._used)
        self._blob[self._used : self._used + text.size] = text
        self._rows = _grown(self._rows, end, start)
        added = self._rows[start:end]
        added[:, _VALUE] = batch.values[fresh]
        added[:, _TIME] = batch.times[fresh]
        added[:, _PLACE] = batch.places[fresh]
        added[:, _WHERE] = ((self._used + np.cumsum(lengths) - lengths) << _LENGTH_BITS) | lengths
        self._used += text.size
        self._count = end
        rows = np.arange(start, end)
        if end > _LOAD * self._index.size:
            self._widen(_slots_for(end))
            slots = self._slots(hashes)
        self._enter(_entries(rows, hashes), slots)
        self._consider(rows, batch.values[fresh])

    def _index_all(self, slots: int) -> None:
        """Build an index of `slots` slots, a power of two, for all rows. Cost: about 0.2 us an id."""
        self._index = np.zeros(slots, np.uint64)
        for low in range(0, self._count, _BLOCK):
            rows = np.arange(low, min(self._count, low + _BLOCK))
            hashes = self._ids(rows).hashes()
            self._enter(_entries(rows, hashes), self._slots(hashes))

    def _widen(self, slots: int) -> None:
        """Replace the index by one of `slots` slots. Cost: 30 ns an id: an entry has all that its slot depends on."""
        entries = self._index[self._index != 0]
        self._index = np.zeros(slots, np.uint64)
        for low in range(0, entries.size, _BLOCK):
            some = entries[low : low + _BLOCK]
            self._enter(some, self._slots(some))

    def _slots(self, hashes: Hashes) -> Times:
        """Return the slot at which the search for each hash, or for the hash of each entry, begins."""
        slots: Times = ((hashes >> _HALF) & np.uint64(self._index.size - 1)).view(np.int64)
        return slots

    def _enter(self, entries: Hashes, slots: Times) -> None:
        """Insert entries into the index by linear probing, in rounds: each free slot takes one of its entries per round."""
        mask = self._index.size - 1
        while entries.size:
            free = self._index[slots] == 0
            self._index[slots[free]] = entries[free]
            left = self._index[slots] != entries
            entries, slots = entries[left], (slots[left] + 1) & mask

    def _check(self) -> None:
        """Assert the invariants: each id occurs once and is found, and all values at or above the threshold are candidates."""
        ids = self._ids()
        assert np.array_equal(self.find(ids.hashes(), ids)[0], np.arange(self._count))
        assert len(set(ids.take(np.arange(self._count)))) == self._count
        assert int((self._index != 0).sum()) == self._count
        assert int((self._rows[: self._count, _WHERE] & _MARK != 0).sum()) == self.marked
        assert int(self.is_deleted(np.arange(self._count)).sum()) == self.deleted
        if self._threshold is not None:
            wanted = self.living(np.flatnonzero(self.values >= self._threshold))
            assert set(wanted.tolist()) <= set(np.concatenate([*self._candidates, NO_TIMES]).tolist())


def _entries(rows: Times, hashes: Hashes) -> Hashes:
    """Return the index entries of rows."""
    return (hashes >> _HALF << _HALF) | (rows + 1).view(np.uint64)


def _slots_for(count: int) -> int:
    """Return the index size for `count` rows: a power of two."""
    return max(2 * _LEAST, 1 << int(count / _LOAD).bit_length())


def _grown(column: Any, count: int, used: int) -> Any:
    """Return the column, or if it is too small for `count` entries, a larger copy of the `used` ones."""
    if count <= len(column):
        return column
    larger = np.empty((max(count, int(_GROWTH * len(column))), *column.shape[1:]), column.dtype)
    larger[:used] = column[:used]
    return larger

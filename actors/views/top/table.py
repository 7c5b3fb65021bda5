"""Ids with their last values, in columns: a hash table whose rows never move, and the candidates for the largest values.

Used by the live slice of `top`, which owns it. No object an id: some 90 bytes for an id of 36.
"""

from operator import index
from typing import Any

import numpy as np
from numpy.typing import NDArray

from actors.columns.snapshot import State
from actors.columns.text import Hashes, Text
from actors.columns.times import NO_TIMES, Times
from actors.views.top.decode import Upserts, stands_before

_VALUE, _TIME, _PLACE, _WHERE = range(4)
"""The columns of a row, which lie side by side, so that a look at a row costs one cache line and not four. The last one is
where the id begins in the blob, above `_LENGTH_BITS` bits of its length.
"""

_LENGTH_BITS = 17
_LENGTH = (1 << _LENGTH_BITS) - 1
_ROW = np.uint64(2**32 - 1)
"""The low half of an index entry is one more than the row, 0 where the slot is free; the high half is that of the id's hash,
so that a look at a slot that belongs to another id costs no look at its row.
"""

_HALF = np.uint64(32)
_BLOCK = 65_536
_GROWTH = 1.125
"""How much larger columns get when they are full: their slack, and how often they are copied."""

_LEAST = 1_024
_LOAD = 0.5
_KEPT_CANDIDATES = 1_024
_MOST_CANDIDATES = 16_384


class Table:
    """Ids and their last values. Not thread-safe; what `all_rows` and `top_rows` return is the caller's own."""

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

    @staticmethod
    def of_state(state: State) -> "Table":
        """Return the table of which `state` was taken, with as much room. Cost: 0.3 us an id, most of it to hash them.

        Raises ValueError, TypeError or KeyError for what is no such state.
        """
        rows, blob = np.asarray(state["rows"], np.int64), np.asarray(state["blob"], np.uint8)
        row_room, blob_room, slots = state["room"]
        if rows.ndim != 2 or rows.shape[1] != 4 or blob.ndim != 1:
            raise ValueError(f"rows of 4 and a row of bytes were expected, got {rows.shape} and {blob.shape}")
        count, used = len(rows), blob.size
        where = rows[:, _WHERE]
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
        table._index_all(slots)
        table._kept = max(_KEPT_CANDIDATES, index(state["kept"]))
        if state["threshold"] is not None:
            table._threshold = index(state["threshold"])
            table._candidates = [np.flatnonzero(table._values() >= table._threshold)]
            table._candidate_count = table._candidates[0].size
        return table

    def state(self) -> State:
        """Return what `of_state` makes the same table of. Cost: a copy of the rows, 10 ns an id; ids are shared."""
        self._living_candidates()
        return {
            "rows": self._rows[: self._count].copy(),
            "blob": self._blob[: self._used],
            "room": [len(self._rows), self._blob.size, self._index.size],
            "threshold": self._threshold,
            "kept": self._kept,
        }

    def __len__(self) -> int:
        """How many ids there are."""
        return self._count

    @property
    def nbytes(self) -> int:
        """Bytes held, slack included."""
        return self._rows.nbytes + self._blob.nbytes + self._index.nbytes + 8 * self._candidate_count

    @property
    def times(self) -> Times:
        """The time of each row's value, as a view."""
        return self._rows[: self._count, _TIME]

    def upsert(self, batch: Upserts) -> None:
        """Give each id of `batch` its last value.

        Of two values of an id the one with the later (time, place) stands. Cost: some 0.5 us a value.
        """
        hashes = batch.ids.hashes()
        rows = _last_of_each(batch, hashes)
        if rows is None:  # two ids with one hash: so rare that it may be slow
            for row in range(batch.values.size):
                self.upsert(_only(batch, np.array([row])))
            return
        # A batch with every id once is the usual one, and needs no copy.
        mine = batch if rows.size == batch.values.size else _only(batch, rows)
        hashes = hashes[rows] if mine is not batch else hashes
        found, slots = self._find(hashes, mine.ids)
        known = np.flatnonzero(found >= 0)
        at = found[known]
        held = self._rows[at]
        times, places = mine.times[known], mine.places[known]
        newer = (times > held[:, _TIME]) | ((times == held[:, _TIME]) & (places > held[:, _PLACE]))
        at, known = at[newer], known[newer]
        self._rows[at, _VALUE] = mine.values[known]
        self._rows[at, _TIME] = mine.times[known]
        self._rows[at, _PLACE] = mine.places[known]
        self._consider(at, mine.values[known])
        fresh = np.flatnonzero(found < 0)
        if fresh.size:
            self._append(mine, fresh, hashes[fresh], slots[fresh])

    def clear(self, places: Times) -> None:
        """Forget every value that stands before one of the clears at `places`. Cost: O(ids)."""
        keep = np.ones(self._count, np.bool_)
        own = self._rows[: self._count, _PLACE]
        for place in places.tolist():
            keep &= ~stands_before(own, place)
        self._keep(keep)

    def forget_lowest(self, count: int) -> tuple[int, int]:
        """Forget about `count` ids of the lowest values; returns how many went, and the largest value among them."""
        values = self._values()
        limit = int(np.partition(values, min(count, self._count) - 1)[min(count, self._count) - 1])
        return self._keep(values > limit), limit

    def all_rows(self) -> tuple[Text, Times, Times]:
        """Return every id, its value and its time. Ids are shared and never change; the rest is copied. Cost: 2 ns an id."""
        return self._ids(), self._values().copy(), self.times.copy()

    def top_rows(self, limit: int) -> tuple[Text, Times, Times]:
        """Return the `limit` ids with the largest values, and the values, in no order.

        Of equal values the largest ids by bytes. Cost: O(candidates) as long as more candidates than `limit` are left;
        else O(ids) to find new ones.
        """
        if limit >= self._count:
            return self.all_rows()
        rows = self._living_candidates()
        if rows.size < limit:
            self._kept = max(_KEPT_CANDIDATES, 2 * limit)
            self._find_candidates(self._kept)
            rows = self._living_candidates()
        values = self._rows[rows, _VALUE]
        least = int(np.partition(values, values.size - limit)[values.size - limit])
        above = rows[values > least]
        tied = self._largest_ids(rows[values == least], limit - above.size)
        chosen = np.concatenate((above, tied))
        return self._ids(chosen), self._rows[chosen, _VALUE], self._rows[chosen, _TIME]

    def _ids(self, rows: Any = slice(None)) -> Text:
        where = self._rows[: self._count, _WHERE][rows]
        return Text(self._blob, where >> _LENGTH_BITS, where & _LENGTH)

    def _values(self) -> Times:
        return self._rows[: self._count, _VALUE]

    # The largest values ----------------------------------------------------------------------------------------------

    def _consider(self, rows: Times, values: Times) -> None:
        """Make candidates of rows with new values, where they are large enough."""
        if self._threshold is None:
            return
        rows = rows[values >= self._threshold]
        if rows.size:
            self._candidates.append(rows)
            self._candidate_count += rows.size
            if self._candidate_count > _MOST_CANDIDATES:
                self._living_candidates()

    def _living_candidates(self) -> Times:
        """Return every row whose value is at least the threshold, once; where they are many, the threshold rises."""
        if self._threshold is None:
            return NO_TIMES
        if len(self._candidates) > 1:
            rows: Times = np.sort(np.concatenate(self._candidates))
            rows = rows[np.append(True, rows[1:] != rows[:-1])]
        else:
            rows = self._candidates[0]
        values = self._rows[rows, _VALUE]
        threshold = self._threshold
        if rows.size > 4 * self._kept:  # the best of them do
            threshold = int(np.partition(values, rows.size - self._kept)[rows.size - self._kept])
        rows = rows[values >= threshold]
        self._threshold, self._candidates, self._candidate_count = threshold, [rows], rows.size
        return rows

    def _find_candidates(self, count: int) -> None:
        """Make the `count` largest values candidates, and all that equal the least of them."""
        values = self._values()
        place = max(0, self._count - count)
        self._threshold = int(np.partition(values, place)[place]) if self._count else 0
        rows = np.flatnonzero(values >= self._threshold)
        self._candidates, self._candidate_count = [rows], rows.size

    def _largest_ids(self, rows: Times, count: int) -> Times:
        """Return the rows of the `count` largest ids by bytes. Cost: O(rows), mostly."""
        chosen: list[Times] = []
        place = 0
        while rows.size > count > 0:
            ids = self._ids(rows)
            if place >= int(ids.lengths.max()):  # equal but for zero bytes at the end: the longer one is larger
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

    def _find(self, hashes: Hashes, ids: Text) -> tuple[Times, Times]:
        """Return the row of each id, or -1, and the slot where its search has ended. Cost: some 150 ns an id."""
        slots = (hashes & np.uint64(self._index.size - 1)).view(np.int64)
        found = self._search(hashes, slots, np.arange(hashes.size))
        known = np.flatnonzero(found >= 0)
        alike = self._ids(found[known]).same(ids, known)
        while not alike.all():  # another id has the same half of a hash: search on behind it
            wrong = known[~alike]
            slots[wrong] = (slots[wrong] + 1) & (self._index.size - 1)
            found[wrong] = -1
            found[wrong] = self._search(hashes, slots, wrong)[wrong]
            known = wrong[found[wrong] >= 0]
            alike = self._ids(found[known]).same(ids, known)
        return found, slots

    def _search(self, hashes: Hashes, slots: Times, left: Times) -> Times:
        """Return, for those in `left`, the next row whose half of a hash is alike, or -1; `slots` moves on to where that is."""
        found = np.full(hashes.size, -1, np.int64)
        mask = self._index.size - 1
        while left.size:
            entries = self._index[slots[left]]
            hit = (entries ^ hashes[left]) >> _HALF == 0
            hit &= entries != 0
            found[left[hit]] = (entries[hit] & _ROW).view(np.int64) - 1
            left = left[(entries != 0) & ~hit]
            slots[left] = (slots[left] + 1) & mask
        return found

    def _append(self, batch: Upserts, fresh: Times, hashes: Hashes, slots: Times) -> None:
        """Add rows for ids that are new, each once; the search for them has ended at `slots`."""
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
        if end > _LOAD * self._index.size:
            self._index_all(_slots_for(end))
        else:
            self._enter(np.arange(start, end), hashes, slots)
        self._consider(np.arange(start, end), batch.values[fresh])

    def _index_all(self, slots: int) -> None:
        """Make an index of `slots` slots, a power of two, for all rows. Cost: some 0.2 us an id."""
        self._index = np.zeros(slots, np.uint64)
        for low in range(0, self._count, _BLOCK):
            rows = np.arange(low, min(self._count, low + _BLOCK))
            hashes = self._ids(rows).hashes()
            self._enter(rows, hashes, (hashes & np.uint64(slots - 1)).view(np.int64))

    def _enter(self, rows: Times, hashes: Hashes, slots: Times) -> None:
        """Put rows into the index: linear probing, the lanes in step; of those that want one slot, one gets it."""
        mask = self._index.size - 1
        entries = (hashes >> _HALF << _HALF) | (rows + 1).view(np.uint64)
        while entries.size:
            free = self._index[slots] == 0
            self._index[slots[free]] = entries[free]
            left = self._index[slots] != entries
            entries, slots = entries[left], (slots[left] + 1) & mask

    def _keep(self, keep: NDArray[np.bool_]) -> int:
        """Make a table of the rows to keep alone; returns how many went."""
        rows = np.flatnonzero(keep)
        gone = self._count - rows.size
        if not gone:
            return 0
        left = self._rows[rows]
        kept = Upserts(self._ids(rows), left[:, _VALUE], left[:, _TIME], left[:, _PLACE], NO_TIMES)
        Table.__init__(self)
        self._index = np.zeros(_slots_for(rows.size), np.uint64)
        hashes = kept.ids.hashes()
        self._append(kept, np.arange(rows.size), hashes, (hashes & np.uint64(self._index.size - 1)).view(np.int64))
        return gone

    def _check(self) -> None:
        """Assert the invariants: each id once, found where it is, with all candidates at or above the threshold."""
        ids = self._ids()
        assert np.array_equal(self._find(ids.hashes(), ids)[0], np.arange(self._count))
        assert len(set(ids.take(np.arange(self._count)))) == self._count
        assert int((self._index != 0).sum()) == self._count
        if self._threshold is not None:
            wanted = np.flatnonzero(self._values() >= self._threshold)
            assert set(wanted.tolist()) <= set(np.concatenate([*self._candidates, NO_TIMES]).tolist())


def _slots_for(count: int) -> int:
    """Return how large an index is that holds `count` rows: a power of two."""
    return max(2 * _LEAST, 1 << int(count / _LOAD).bit_length())


def _grown(column: Any, count: int, used: int) -> Any:
    """Return the column, or where it has no room for `count` entries, a larger copy of the `used` ones."""
    if count <= len(column):
        return column
    larger = np.empty((max(count, int(_GROWTH * len(column))), *column.shape[1:]), column.dtype)
    larger[:used] = column[:used]
    return larger


def _only(batch: Upserts, rows: Times) -> Upserts:
    return Upserts(_ids_at(batch, rows), batch.values[rows], batch.times[rows], batch.places[rows], NO_TIMES)


def _last_of_each(batch: Upserts, hashes: Hashes) -> Times | None:
    """Return the row of the last value of each id, ascending; None where two ids of the batch have one hash."""
    order = np.argsort(hashes, kind="stable")
    ordered = hashes[order]
    again = ordered[1:] == ordered[:-1]
    if not again.any():
        return np.arange(hashes.size)
    pairs = np.flatnonzero(again)
    if not _ids_at(batch, order[pairs]).same(batch.ids, order[pairs + 1]).all():
        return None
    order = np.lexsort((batch.places, batch.times, hashes))
    ordered = hashes[order]
    last = np.append(ordered[1:] != ordered[:-1], True)
    return np.sort(order[last])


def _ids_at(batch: Upserts, rows: Times) -> Text:
    return Text(batch.ids.blob, batch.ids.starts[rows], batch.ids.lengths[rows])

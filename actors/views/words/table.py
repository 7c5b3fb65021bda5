"""Tables of counts by second and name, one for the types and one for the words of a slice.

A live table grows; a frozen table has columns, which are compressed step by step. Tables answer queries with pieces.
"""

import sys
from collections import defaultdict
from collections.abc import Iterable
from itertools import count, islice
from operator import index

import numpy as np

from actors.columns.sealed import CHUNK
from actors.columns.snapshot import State
from actors.columns.text import state_of, texts_of
from actors.columns.times import Times
from actors.views.words.frequent import Frequent
from actors.views.words.grouping import Pairs
from actors.views.words.pieces import Clipped, Counted, Names, Piece, Range, Rows, Totals

_INT_BYTES = 32
_KINDS = {"seconds": "<i8", "sizes": "<u4", "numbers": "<u4", "counts": "<i8"}
"""The columns of a live table's state."""

_BITS = 25
_FAR = 2**38
"""A key is a second in the upper bits, and a name's number in the lower `_BITS`. All seconds lie between -`_FAR` and `_FAR`."""

MOST_NAMES = 2 ** (_BITS - 1)
"""A slice retires at this many names. No poll has as many, so the numbers fit."""

_ROOM = 1_024


class Tally:
    """The names of a live slice in order of appearance, and the total count of each.

    A tally is also a piece with its current counts. A name's number is its position.
    """

    __slots__ = ("_numbers", "_text_bytes", "_totals")

    def __init__(self) -> None:
        # The lookup of a new name assigns the next number to it.
        self._numbers: defaultdict[str, int] = defaultdict(count().__next__)
        self._totals = np.zeros(16, np.int64)
        self._text_bytes = 0

    @staticmethod
    def of_state(state: State) -> "Tally":
        """Return the names that `state` describes, with counts of 0. Cost: 0.3 us a name. Raises ValueError or TypeError."""
        texts, room, text_bytes = state
        names, tally = texts_of(texts), Tally()
        tally._numbers.update(zip(names, range(len(names)), strict=True))
        tally._numbers.default_factory = count(len(names)).__next__
        if len(tally) != len(names):
            raise ValueError(f"{len(names)} different names were expected, got {len(tally)}")
        if not len(names) <= room <= max(tally._totals.size, len(names) * 3 // 2):
            raise ValueError(f"room for {len(names)} names was expected, got {room}")
        tally._totals, tally._text_bytes = np.zeros(room, np.int64), index(text_bytes)
        return tally

    def state(self) -> State:
        """Return the state for `of_state`, without the counts. Cost: 90 ns a name."""
        return state_of(self._numbers), self._totals.size, self._text_bytes

    def __len__(self) -> int:
        return len(self._numbers)

    @property
    def nbytes(self) -> int:
        """Bytes in memory."""
        return sys.getsizeof(self._numbers) + self._totals.nbytes + self._text_bytes + _INT_BYTES * len(self._numbers)

    @property
    def text_bytes(self) -> int:
        """Bytes of the names."""
        return self._text_bytes

    def numbers(self, names: Iterable[str]) -> list[int]:
        """Return the number of each name. New names get the next numbers. Cost: 60 ns a name."""
        before = len(self._numbers)
        numbers = list(map(self._numbers.__getitem__, names))
        if new := len(self._numbers) - before:
            self._text_bytes += sum(map(sys.getsizeof, islice(reversed(self._numbers), new)))
        return numbers

    def count(self, numbers: list[int] | Times, counts: list[int] | Times) -> None:
        """Add `counts` to the names of these `numbers`, which may repeat. Cost: 5 ns each."""
        if len(self._numbers) > self._totals.size:
            grown = np.zeros(len(self._numbers) * 3 // 2, np.int64)
            grown[: self._totals.size] = self._totals
            self._totals = grown
        np.add.at(self._totals, numbers, counts)

    def names(self) -> list[str]:
        """Return the names by number."""
        return list(self._numbers)

    def totals(self) -> Times:
        """Return a copy of the counts by number."""
        return self._totals[: len(self._numbers)].copy()

    def snapshot(self) -> dict[str, int]:
        """Return the current counts. A name that has no count yet may be missing. Cost: 0.4 us a name.

        Any thread may call this, because names are only added, and before their counts.
        """
        names, totals = self.names(), self._totals
        return dict(zip(names, totals[: len(names)].tolist(), strict=False))

    def add_to(self, sums: Frequent) -> None:
        """Add the current counts to `sums`."""
        sums.update(self.snapshot())


class LiveTable:
    """Counts by second and name, as columns in order of second and name. Not thread-safe: one live slice owns it."""

    __slots__ = ("_counts", "_keys", "pairs", "tally")

    def __init__(self) -> None:
        self._keys = np.empty(_ROOM, np.int64)
        self._counts = np.empty(_ROOM, np.int64)
        self.tally = Tally()
        self.pairs = 0
        """The number of pairs of a second and a name, which are the first rows of the columns. The other rows are unused."""

    @staticmethod
    def of_state(state: State) -> "LiveTable":
        """Return the table that `state` describes. Cost: 0.1 us a pair, 0.3 us a name.

        Raises ValueError, TypeError or KeyError.
        """
        seconds, sizes, numbers, counts = (np.frombuffer(state[name], kind).astype(np.int64) for name, kind in _KINDS.items())
        table = LiveTable()
        table.tally = tally = Tally.of_state(state["names"])
        if seconds.size != sizes.size or not numbers.size == counts.size == sizes.sum():
            raise ValueError(
                f"columns that agree were expected, got {seconds.size}, {sizes.size}, {numbers.size}, {counts.size}"
            )
        if sizes.min(initial=1) < 1 or numbers.min(initial=0) < 0 or numbers.max(initial=-1) >= len(tally):
            raise ValueError(f"numbers from 0 to {len(tally) - 1} were expected, and no empty second")
        if seconds.min(initial=0) < -_FAR or seconds.max(initial=0) >= _FAR:
            raise ValueError("seconds of the years 1 to 9999 were expected")
        tally.count(numbers, counts)
        keys = _keys(np.repeat(seconds, sizes), numbers)
        order = np.argsort(keys, kind="stable")
        keys = keys[order]
        if (keys[1:] == keys[:-1]).any() or np.unique(seconds).size != seconds.size:
            raise ValueError("different seconds, and different names in a second, were expected")
        table._insert(np.zeros(keys.size, np.int64), keys, counts[order])
        return table

    def state(self) -> State:
        """Return the state for `of_state`. Cost: 20 ns a pair, 90 ns a name."""
        keys = self._keys[: self.pairs]
        seconds, sizes = np.unique(keys >> _BITS, return_counts=True)
        columns = {"seconds": seconds, "sizes": sizes, "numbers": _numbers(keys), "counts": self._counts[: self.pairs]}
        return {"names": self.tally.state(), **{name: columns[name].astype(kind).tobytes() for name, kind in _KINDS.items()}}

    @property
    def nbytes(self) -> int:
        """Bytes in memory. Cost: O(1)."""
        return self.tally.nbytes + self._keys.nbytes + self._counts.nbytes

    def add(self, pairs: Pairs) -> None:
        """Add counts. Cost: about 40 ns a pair and 60 ns a name, 0.6 us more for a new name.

        A pair of an earlier second than the last one of the table costs up to 2 ns for each later pair of the table.
        """
        numbers = np.array(self.tally.numbers(pairs.names), np.int64)[pairs.numbers]
        keys, counts = _keys(pairs.seconds, numbers), pairs.counts
        self.tally.count(numbers, counts)
        if (keys[1:] < keys[:-1]).any():
            order = np.argsort(keys)
            keys, counts = keys[order], counts[order]
        places = np.searchsorted(self._keys[: self.pairs], keys)
        inside = places < self.pairs
        known = inside & (self._keys[np.where(inside, places, 0)] == keys)
        self._counts[places[known]] += counts[known]
        self._insert(places[~known], keys[~known], counts[~known])

    def _insert(self, places: Times, keys: Times, counts: Times) -> None:
        """Insert rows before the present rows at `places`, which ascend."""
        if not places.size:
            return
        size = self.pairs + places.size
        if size > self._keys.size:
            more = np.empty(size * 3 // 2 - self._keys.size, np.int64)
            self._keys, self._counts = np.append(self._keys, more), np.append(self._counts, more)
        first = int(places[0])
        for column, values in ((self._keys, keys), (self._counts, counts)):
            column[first:size] = np.insert(column[first : self.pairs], places - first, values)
        self.pairs = size

    def read(self, seconds: Range, *, whole: bool) -> Piece:
        """Return a copy of the counts in `seconds`, or of all counts if `whole`.

        Cost: 5 ns a pair in `seconds`, 0.4 us a name of them, 10 ns another name.
        """
        if whole:
            return Counted(self.tally.snapshot())
        bounds = [max(-_FAR, min(second, _FAR - 1)) << _BITS for second in seconds]
        low, high = np.searchsorted(self._keys[: self.pairs], bounds).tolist()
        sums = np.zeros(len(self.tally), np.int64)
        np.add.at(sums, _numbers(self._keys[low:high]), self._counts[low:high])
        found = np.flatnonzero(sums)
        names = self.tally.names() if found.size else []
        return Counted(dict(zip(map(names.__getitem__, found.tolist()), sums[found].tolist(), strict=True)))

    def rows(self, seconds: Range) -> tuple[Rows, ...]:
        """Return the sum of the counts of each second in `seconds`, under the name 0. Cost: 10 ns a pair."""
        bounds = [max(-_FAR, min(second, _FAR - 1)) << _BITS for second in seconds]
        low, high = np.searchsorted(self._keys[: self.pairs], bounds).tolist()
        if low >= high:
            return ()
        found, starts = np.unique(self._keys[low:high] >> _BITS, return_index=True)
        sums = np.add.reduceat(self._counts[low:high], starts)
        return (Rows((found, np.zeros(found.size, np.int64), sums), int(found[0]), int(found[-1])),)

    def freeze(self) -> "FrozenTable":
        """Return the same counts as columns. Cost: 10 ns a pair, 0.1 us a name."""
        names, totals = self.tally.names(), self.tally.totals()
        runs = [
            Names(len(names[at : at + CHUNK]), names[at : at + CHUNK], totals[at : at + CHUNK]) for at in _starts(len(names))
        ]
        blocks = []
        for at in _starts(self.pairs):
            part = slice(at, min(at + CHUNK, self.pairs))
            seconds = self._keys[part] >> _BITS
            columns = seconds, _numbers(self._keys[part]), self._counts[part].copy()
            blocks.append(Rows(columns, int(seconds[0]), int(seconds[-1])))
        return FrozenTable(Totals(tuple(runs)), blocks)


class FrozenTable:
    """Counts that do not change. Not thread-safe while it is compressed: one frozen slice owns it."""

    __slots__ = ("_blocks", "_settled", "totals")

    def __init__(self, totals: Totals, blocks: list[Rows]) -> None:
        self.totals = totals
        self._blocks = blocks
        # Names are compressed before blocks, both in order.
        self._settled = sum(run.is_sealed for run in totals.runs) + sum(block.is_sealed for block in blocks)

    @staticmethod
    def of_state(state: State) -> "FrozenTable":
        """Return the table that `state` describes. Shares compressed columns. Raises ValueError, TypeError or KeyError."""
        totals = Totals(tuple(map(Names.of_state, state["runs"])))
        blocks = list(map(Rows.of_state, state["blocks"]))
        for block in blocks:
            numbers = block.columns[1]
            if isinstance(numbers, np.ndarray) and (numbers.min(initial=0) < 0 or numbers.max(initial=-1) >= len(totals)):
                raise ValueError(f"numbers from 0 to {len(totals) - 1} were expected")
        return FrozenTable(totals, blocks)

    def state(self) -> State:
        """Return the state for `of_state`. Cost: O(blocks)."""
        return {"runs": [run.state() for run in self.totals.runs], "blocks": [block.state() for block in self._blocks]}

    @property
    def nbytes(self) -> int:
        """Bytes in memory."""
        return sum(run.nbytes for run in self.totals.runs) + sum(block.nbytes for block in self._blocks)

    @property
    def settled(self) -> bool:
        """Whether all blocks are compressed."""
        return self._settled == len(self.totals.runs) + len(self._blocks)

    def settle(self) -> None:
        """Compress one block. Must not be called if `settled`. Cost: 1 ms for counts, 14 ms for names."""
        runs = list(self.totals.runs)
        if self._settled < len(runs):
            runs[self._settled] = runs[self._settled].sealed()
            self.totals = Totals(tuple(runs))
        else:
            place = self._settled - len(runs)
            self._blocks[place] = self._blocks[place].sealed()
        self._settled += 1

    def read(self, seconds: Range, *, whole: bool) -> Piece:
        """Return the counts in `seconds`, or all counts if `whole`; still compressed. Cost: O(blocks)."""
        if whole:
            return self.totals
        return Clipped(self.totals, self.rows(seconds), seconds)

    def rows(self, seconds: Range) -> tuple[Rows, ...]:
        """Return the blocks that have counts in `seconds`, and may have others; still compressed. Cost: O(blocks)."""
        start, end = seconds
        return tuple(block for block in self._blocks if block.first < end and start <= block.last)


def _keys(seconds: Times, numbers: Times) -> Times:
    return (seconds << _BITS) | numbers


def _numbers(keys: Times) -> Times:
    numbers: Times = keys & (2**_BITS - 1)
    return numbers


def _starts(count: int) -> range:
    return range(0, count, CHUNK)

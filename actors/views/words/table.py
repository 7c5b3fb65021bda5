"""Counts by second and name: growing in a live slice, packed in a frozen one. A slice has one for types and one for words.

Made by slices. What leaves a table, to answer or to sum up, is a piece.
"""

import sys
from collections import defaultdict
from collections.abc import Mapping
from itertools import chain, count, islice, repeat
from operator import add

import numpy as np

from actors.timeline.batch import Times
from actors.timeline.sealed import CHUNK
from actors.views.words.decode import BySecond
from actors.views.words.frequent import Frequent
from actors.views.words.pieces import Clipped, Counted, Names, Piece, Range, Rows, Totals

_INT_BYTES = 32


class Tally:
    """The names of a live slice in order of appearance, and how often each occurred. Also a piece: of the counts by now."""

    __slots__ = ("_numbers", "_text_bytes", "_totals")

    def __init__(self) -> None:
        # A name that is new gets the next number by being looked up.
        self._numbers: defaultdict[str, int] = defaultdict(count().__next__)
        self._totals = np.zeros(16, np.int64)
        self._text_bytes = 0

    def __len__(self) -> int:
        return len(self._numbers)

    @property
    def nbytes(self) -> int:
        """Bytes that it takes."""
        return sys.getsizeof(self._numbers) + self._totals.nbytes + self._text_bytes + _INT_BYTES * len(self._numbers)

    @property
    def text_bytes(self) -> int:
        """Bytes of the names alone."""
        return self._text_bytes

    def numbers(self, names: Mapping[str, int]) -> list[int]:
        """Return the number of each name, new ones included. Cost: 60 ns a name."""
        before = len(self._numbers)
        numbers = list(map(self._numbers.__getitem__, names))
        if new := len(self._numbers) - before:
            self._text_bytes += sum(map(sys.getsizeof, islice(reversed(self._numbers), new)))
        return numbers

    def count(self, numbers: list[int], counts: list[int]) -> None:
        """Add `counts` to the names of these `numbers`, which may repeat. Cost: 50 ns each."""
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
        """Return the counts as they stand. Cost: 0.4 us a name."""
        return dict(zip(self.names(), self.totals().tolist(), strict=True))

    def add_to(self, sums: Frequent) -> None:
        """Add the counts as they stand to `sums`."""
        sums.update(self.snapshot())


class LiveTable:
    """Counts that grow. Not thread-safe: the live slice owns it."""

    __slots__ = ("_dict_bytes", "_seconds", "pairs", "tally")

    def __init__(self) -> None:
        self._seconds: dict[int, dict[int, int]] = {}
        self._dict_bytes = 0
        self.tally = Tally()
        self.pairs = 0

    @property
    def nbytes(self) -> int:
        """Bytes that it takes. Cost: O(1)."""
        return self.tally.nbytes + self._dict_bytes + sys.getsizeof(self._seconds) + _INT_BYTES * len(self._seconds)

    def add(self, by_second: BySecond) -> None:
        """Add counts. Cost: some 0.3 us a pair of second and name, 0.6 us more for a new name, 2 us a second."""
        all_numbers: list[int] = []
        all_counts: list[int] = []
        for second, counts in by_second.items():
            numbers = self.tally.numbers(counts)
            own = self._seconds.get(second)
            if own is None:
                own = self._seconds[second] = dict(zip(numbers, counts.values(), strict=True))
                self._dict_bytes += sys.getsizeof(own)
                self.pairs += len(own)
            else:
                had, size = len(own), sys.getsizeof(own)
                own.update(zip(numbers, map(add, map(own.get, numbers, repeat(0)), counts.values()), strict=True))
                self._dict_bytes += sys.getsizeof(own) - size
                self.pairs += len(own) - had
            all_numbers += numbers
            all_counts += counts.values()
        if all_numbers:
            self.tally.count(all_numbers, all_counts)

    def read(self, seconds: Range, *, whole: bool) -> Piece:
        """Return a copy of the counts in `seconds`. Cost: 0.2 us a pair in them, 0.4 us a name, 50 ns a second of the slice."""
        if whole:
            return Counted(self.tally.snapshot())
        start, end = seconds
        sums: dict[int, int] = {}
        for second, own in self._seconds.items():
            if start <= second < end:
                sums.update(zip(own, map(add, map(sums.get, own, repeat(0)), own.values()), strict=True))
        names = self.tally.names() if sums else []
        return Counted(dict(zip(map(names.__getitem__, sums), sums.values(), strict=True)))

    def freeze(self) -> "FrozenTable":
        """Return the same counts, packed. Cost: 0.2 to 0.4 us a pair."""
        names, totals = self.tally.names(), self.tally.totals()
        runs = [
            Names(len(names[at : at + CHUNK]), names[at : at + CHUNK], totals[at : at + CHUNK]) for at in _starts(len(names))
        ]
        sizes = np.fromiter(map(len, self._seconds.values()), np.int64, len(self._seconds))
        seconds = np.repeat(np.fromiter(self._seconds, np.int64, len(self._seconds)), sizes)
        numbers = np.fromiter(chain.from_iterable(self._seconds.values()), np.int64, self.pairs)
        counts = np.fromiter(chain.from_iterable(own.values() for own in self._seconds.values()), np.int64, self.pairs)
        order = np.lexsort((numbers, seconds))
        blocks = []
        for at in _starts(self.pairs):
            part = order[at : at + CHUNK]
            columns = seconds[part], numbers[part], counts[part]
            blocks.append(Rows(int(columns[0][0]), int(columns[0][-1]), columns))
        return FrozenTable(Totals(tuple(runs)), blocks)


class FrozenTable:
    """Counts that do not change. Not thread-safe while it settles: the frozen slice owns it."""

    __slots__ = ("_blocks", "_settled", "totals")

    def __init__(self, totals: Totals, blocks: list[Rows]) -> None:
        self.totals = totals
        self._blocks = blocks
        self._settled = 0

    @property
    def nbytes(self) -> int:
        """Bytes that it takes."""
        return sum(run.nbytes for run in self.totals.runs) + sum(block.nbytes for block in self._blocks)

    @property
    def settled(self) -> bool:
        """Whether all is compressed."""
        return self._settled == len(self.totals.runs) + len(self._blocks)

    def settle(self) -> None:
        """Compress one more block; not when it is `settled`. Cost: 1 ms for counts, 14 ms for names."""
        runs = list(self.totals.runs)
        if self._settled < len(runs):
            runs[self._settled] = runs[self._settled].sealed()
            self.totals = Totals(tuple(runs))
        else:
            place = self._settled - len(runs)
            self._blocks[place] = self._blocks[place].sealed()
        self._settled += 1

    def read(self, seconds: Range, *, whole: bool) -> Piece:
        """Return the counts in `seconds`, unopened. Cost: O(blocks)."""
        if whole:
            return self.totals
        start, end = seconds
        return Clipped(self.totals, [block for block in self._blocks if block.first < end and start <= block.last], seconds)


def _starts(count: int) -> range:
    return range(0, count, CHUNK)

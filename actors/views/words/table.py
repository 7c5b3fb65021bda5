"""Tables of counts by second and name, one for the types and one for the words of a slice.

A live table grows; a frozen table has columns, which are compressed step by step. Tables answer queries with pieces.
"""

import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from itertools import chain, count, islice, repeat
from operator import add, index

import numpy as np

from actors.columns.sealed import CHUNK
from actors.columns.snapshot import Deferred, State
from actors.columns.text import state_of, texts_of
from actors.columns.times import Times
from actors.views.words.decode import BySecond
from actors.views.words.frequent import Frequent
from actors.views.words.pieces import Clipped, Counted, Names, Piece, Range, Rows, Totals

_INT_BYTES = 32
_KINDS = {"seconds": "<i8", "sizes": "<u4", "numbers": "<u4", "counts": "<i8"}
"""The columns of a live table's state."""


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

    def numbers(self, names: Mapping[str, int]) -> list[int]:
        """Return the number of each name. New names get the next numbers. Cost: 60 ns a name."""
        before = len(self._numbers)
        numbers = list(map(self._numbers.__getitem__, names))
        if new := len(self._numbers) - before:
            self._text_bytes += sum(map(sys.getsizeof, islice(reversed(self._numbers), new)))
        return numbers

    def count(self, numbers: list[int] | Times, counts: list[int] | Times) -> None:
        """Add `counts` to the names of these `numbers`, which may repeat. Cost: 50 ns each."""
        if len(self._numbers) > self._totals.size:
            grown = np.zeros(len(self._numbers) * 3 // 2, np.int64)
            grown[: self._totals.size] = self._totals
            self._totals = grown
        np.add.at(self._totals, numbers, counts)

    def names(self) -> list[str]:
        """Return the names by number."""
        return list(self._numbers)

    def shared_numbers(self) -> list[int]:
        """Return all numbers, as the int objects that `numbers` returns."""
        return list(self._numbers.values())

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
    """Counts by second and name. Not thread-safe: one live slice owns it."""

    __slots__ = ("_dict_bytes", "_lent", "_seconds", "pairs", "tally")

    def __init__(self) -> None:
        self._seconds: dict[int, dict[int, int]] = {}
        # The seconds that the last state shares; `add` copies one of them before it changes.
        self._lent: dict[int, dict[int, int]] = {}
        self._dict_bytes = 0
        self.tally = Tally()
        self.pairs = 0

    @staticmethod
    def of_state(state: State) -> "LiveTable":
        """Return the table that `state` describes. Cost: 0.3 us a pair, 0.3 us a name.

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
        tally.count(numbers, counts)
        # All seconds share the int objects of the tally, as in a table that has grown.
        pairs = zip(map(tally.shared_numbers().__getitem__, numbers.tolist()), counts.tolist(), strict=True)
        for second, size in zip(seconds.tolist(), sizes.tolist(), strict=True):
            own = table._seconds[second] = dict(islice(pairs, size))
            table._dict_bytes += sys.getsizeof(own)
            table.pairs += len(own)
        if len(table._seconds) != seconds.size or table.pairs != numbers.size:
            raise ValueError("different seconds, and different names in a second, were expected")
        return table

    def state(self) -> State:
        """Return the state for `of_state`. Cost: 10 ns a second, 90 ns a name; 40 ns a pair when it is written.

        The state shares the seconds. `add` copies a shared second before it changes.
        """
        self._lent = lent = self._seconds.copy()
        return {
            "names": self.tally.state(),
            "seconds": _column(lambda: lent, len(lent), "seconds"),
            "sizes": _column(lambda: map(len, lent.values()), len(lent), "sizes"),
            "numbers": _column(lambda: chain.from_iterable(lent.values()), self.pairs, "numbers"),
            "counts": _column(lambda: chain.from_iterable(map(dict.values, lent.values())), self.pairs, "counts"),
        }

    @property
    def nbytes(self) -> int:
        """Bytes in memory. Cost: O(1)."""
        return self.tally.nbytes + self._dict_bytes + sys.getsizeof(self._seconds) + _INT_BYTES * len(self._seconds)

    def add(self, by_second: BySecond) -> None:
        """Add counts. Cost: about 0.3 us a pair of second and name, 0.6 us more for a new name, 2 us a second."""
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
                if own is self._lent.get(second):
                    own = self._seconds[second] = own.copy()
                own.update(zip(numbers, map(add, map(own.get, numbers, repeat(0)), counts.values()), strict=True))
                self._dict_bytes += sys.getsizeof(own) - size
                self.pairs += len(own) - had
            all_numbers += numbers
            all_counts += counts.values()
        if all_numbers:
            self.tally.count(all_numbers, all_counts)

    def read(self, seconds: Range, *, whole: bool) -> Piece:
        """Return a copy of the counts in `seconds`, or of all counts if `whole`.

        Cost: 0.2 us a pair in `seconds`, 0.4 us a name, 50 ns a second of the slice.
        """
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
        """Return the same counts as columns. Cost: 0.2 to 0.4 us a pair."""
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
            blocks.append(Rows(columns, int(columns[0][0]), int(columns[0][-1])))
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
        start, end = seconds
        return Clipped(self.totals, [block for block in self._blocks if block.first < end and start <= block.last], seconds)


def _column(values: Callable[[], Iterable[int]], count: int, name: str) -> Deferred:
    """Return a column that is made when the state is written, in blocks, so that other threads can run in between."""

    def made() -> bytes:
        rest = iter(values())
        return b"".join(np.fromiter(islice(rest, CHUNK), _KINDS[name]).tobytes() for _ in _starts(count))

    return Deferred(count * np.dtype(_KINDS[name]).itemsize, made)


def _starts(count: int) -> range:
    return range(0, count, CHUNK)

"""The lines that a file sink wrote into a file which other programs may write too: their places and their checksums.

Used by the parts of the output, which find the n-th record with it.
"""

from array import array
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from enum import Enum, auto
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np

_STRIDE = 1 << 16
_BLOCK = 1 << 20


class _Places(Enum):
    """Whether the places of a run's lines are noted, not yet read from the file, or lost because the run was changed."""

    NOTED = auto()
    UNREAD = auto()
    LOST = auto()


class Run:
    """Lines without a foreign byte between them: `count` of them, from byte `start` to `end`, with a checksum of all.

    The places of lines are kept for one line in 64 KiB, and read from the file for the others: 20 bytes for 64 KiB. A run of an
    earlier process is read once for that. `crc` is None for a run of a version that kept no checksum.
    """

    def __init__(self, start: int, end: int | None = None, count: int = 0, crc: int | None = 0) -> None:
        self.start, self.end, self.count, self.crc = start, start if end is None else end, count, crc
        self._places = _Places.NOTED if self.end == start else _Places.UNREAD
        self._numbers, self._starts, self._crcs = array("q", [0]), array("q", [start]), array("L", [0])

    @property
    def grows(self) -> bool:
        """Whether lines can be added. To a run of an earlier process they cannot: that run would have to be read first."""
        return self._places is _Places.NOTED

    def add(self, block: bytes | memoryview) -> None:
        """Note the next bytes. Cost: 2 ns a byte."""
        starts = np.flatnonzero(np.frombuffer(block, np.uint8) == ord("\n")) + (self.end + 1)
        place = cut = 0
        while (place := place + int(np.searchsorted(starts[place:], self._starts[-1] + _STRIDE))) < len(starts):
            before, cut = cut, int(starts[place]) - self.end
            self._crcs[-1] = crc32(block[before:cut], self._crcs[-1])
            self._numbers.append(self.count + place + 1)
            self._starts.append(int(starts[place]))
            self._crcs.append(0)
        self._crcs[-1] = crc32(block[cut:], self._crcs[-1])
        self.crc = crc32(block, self.crc or 0)
        self.count += len(starts)
        self.end += len(block)

    def mark(self) -> tuple[int, int, int, int, int | None]:
        """Return the present length, for `back_to`."""
        return len(self._starts), self._crcs[-1], self.end, self.count, self.crc

    def back_to(self, mark: tuple[int, int, int, int, int | None]) -> None:
        """Forget the bytes that were added after `mark`."""
        known, last, self.end, self.count, self.crc = mark
        del self._numbers[known:], self._starts[known:], self._crcs[known:]
        self._crcs[-1] = last

    def find(self, path: Path, number: int) -> tuple[int, int] | None:
        """Return the start of line `number` and its length without the line feed; None if the file was changed there.

        Cost: a read of 64 KiB, or of the whole line. Raises OSError.
        """
        if self._places is _Places.UNREAD:
            self._scan(path)
        if self._places is _Places.LOST:
            return None
        known = bisect_right(self._numbers, number) - 1
        begin = self._starts[known]
        end = self._starts[known + 1] if known + 1 < len(self._starts) else self.end
        skipped, seen, crc = number - self._numbers[known], 0, 0
        start, stop = begin if not skipped else None, None
        for at, block in _blocks(path, begin, end):
            crc = crc32(block, crc)
            ends = np.flatnonzero(np.frombuffer(block, np.uint8) == ord("\n")) + at
            if start is None and seen + len(ends) >= skipped:
                start = int(ends[skipped - seen - 1]) + 1
            if stop is None and seen + len(ends) > skipped:
                stop = int(ends[skipped - seen])
            seen += len(ends)
        if crc != self._crcs[known] or start is None or stop is None:
            return None
        return start, stop - start

    def _scan(self, path: Path) -> None:
        """Read the run once, and note the places of its lines, or that the run was changed. Cost: a second a GB."""
        found = Run(self.start)
        for _, block in _blocks(path, self.start, self.end):
            found.add(block)
        if (found.end, found.count) != (self.end, self.count) or self.crc not in {None, found.crc}:
            self._places = _Places.LOST
            return
        self._numbers, self._starts, self._crcs, self._places = found._numbers, found._starts, found._crcs, _Places.NOTED


def _blocks(path: Path, begin: int, end: int) -> Iterator[tuple[int, bytes]]:
    """Yield the bytes of a file between two places, as far as they exist, each block with its place."""
    with path.open("rb") as file:
        file.seek(begin)
        while block := file.read(min(_BLOCK, end - begin)):
            yield begin, block
            begin += len(block)


class LineIndex:
    """The lines of one file that are ours, in the order in which they were written, numbered from 0.

    `end` is the end of the last line in the file, at least the one given. Memory: 650 bytes a run.
    """

    def __init__(self, runs: Sequence[Run] = (), *, end: int = 0) -> None:
        self._runs = list(runs)
        self._firsts = array("q")
        self.end = max([end, *(run.end for run in runs)])
        self._lines = self._dropped = 0
        self._saved: list[list[int | None]] = []
        for run in self._runs:
            self._firsts.append(self._lines)
            self._lines += run.count

    def __len__(self) -> int:
        """Return the number of runs."""
        return len(self._runs)

    @property
    def count(self) -> int:
        """The number of lines, without those that were dropped."""
        return self._lines - self._dropped

    @property
    def runs(self) -> list[list[int | None]]:
        """The runs as numbers, for a checkpoint. Cost: 8 bytes are copied for each run that was returned before."""
        del self._saved[-1:]  # this run may have grown
        self._saved += [[run.start, run.end, run.count, run.crc] for run in self._runs[len(self._saved) :]]
        return self._saved.copy()

    def add(self, start: int, block: bytes | memoryview) -> None:
        """Note the next bytes that are ours: they begin at byte `start` of the file."""
        if not self._runs or self._runs[-1].end != start or not self._runs[-1].grows:
            self._runs.append(Run(start))
            self._firsts.append(self._lines)
        run = self._runs[-1]
        before = run.count
        run.add(block)
        self._lines += run.count - before
        self.end = max(self.end, run.end)

    def drop(self, runs: int) -> int:
        """Forget the oldest `runs` runs, and return the number of their lines: the later lines are numbered from 0 then.

        Not between `mark` and `back_to`.
        """
        first = self._firsts[runs] if runs < len(self._runs) else self._lines
        lines, self._dropped = first - self._dropped, first
        del self._runs[:runs], self._firsts[:runs], self._saved[:runs]
        return lines

    def mark(self) -> tuple[int, int, int, Any]:
        """Return the present length, for `back_to`."""
        return len(self._runs), self._lines, self.end, self._runs[-1].mark() if self._runs else None

    def back_to(self, mark: tuple[int, int, int, Any]) -> None:
        """Forget the lines that were added after `mark`."""
        runs, self._lines, self.end, last = mark
        del self._runs[runs:], self._firsts[runs:], self._saved[max(0, runs - 1) :]
        if last is not None:
            self._runs[-1].back_to(last)

    def find(self, path: Path, number: int) -> tuple[int, int] | None:
        """Return the start of line `number` and its length without the line feed; None if it is not there. Raises OSError."""
        if not 0 <= number < self.count:
            return None
        number += self._dropped
        run = bisect_right(self._firsts, number) - 1
        return self._runs[run].find(path, number - self._firsts[run])

"""The places where the lines of one file begin: kept for one line in 64 KiB, and read from the file for the others.

Used by the file sink, which finds its n-th record with it.
"""

from array import array
from bisect import bisect_right
from pathlib import Path

import numpy as np

_STRIDE = 1 << 16
_BLOCK = 1 << 20


class LineIndex:
    """The lines of a file from the byte `begin` on, numbered from 0. Takes 16 bytes for 64 KiB of lines."""

    def __init__(self, begin: int) -> None:
        self._numbers = array("q", [0])
        self._starts = array("q", [begin])
        self.count = 0
        self.size = begin

    def add(self, block: bytes) -> None:
        """Note the next bytes of the file. Cost: 1 ns a byte."""
        starts = np.flatnonzero(np.frombuffer(block, np.uint8) == ord("\n")) + (self.size + 1)
        place = 0
        while (place := place + int(np.searchsorted(starts[place:], self._starts[-1] + _STRIDE))) < len(starts):
            self._numbers.append(self.count + place + 1)
            self._starts.append(int(starts[place]))
        self.count += len(starts)
        self.size += len(block)

    def cut(self, count: int, size: int) -> None:
        """Keep the first `count` lines, which end at byte `size`."""
        known = bisect_right(self._numbers, count)
        del self._numbers[known:], self._starts[known:]
        self.count, self.size = count, size

    def scan(self, path: Path, size: int) -> None:
        """Read the file up to byte `size` and note its lines. Cost: a second a GB. Raises OSError."""
        with path.open("rb") as file:
            file.seek(self.size)
            while block := file.read(min(_BLOCK, size - self.size)):
                self.add(block)

    def find(self, path: Path, number: int) -> tuple[int, int] | None:
        """Return the byte where line `number` begins, and its length without the line feed. Reads 64 KiB. Raises OSError."""
        if not 0 <= number < self.count:
            return None
        known = bisect_right(self._numbers, number) - 1
        begin = self._starts[known]
        end = self._starts[known + 1] if known + 1 < len(self._starts) else self.size
        with path.open("rb") as file:
            file.seek(begin)
            ends = np.flatnonzero(np.frombuffer(file.read(min(_STRIDE, end - begin)), np.uint8) == ord("\n"))
        skipped = number - self._numbers[known]
        if skipped > len(ends):
            return None  # another process has changed the file
        start = begin + (int(ends[skipped - 1]) + 1 if skipped else 0)
        stop = begin + int(ends[skipped]) if skipped < len(ends) else end - 1
        return start, stop - start

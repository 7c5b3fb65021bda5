"""The lines that a file sink wrote into a file which other programs may write too: their places, their checksums, and a log.

Used by the file sink, which finds its n-th record with the index, and with the log the records that a restart takes back.
"""

import errno
import os
from array import array
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from zlib import crc32

import numpy as np

_STRIDE = 1 << 16
_BLOCK = 1 << 20
_PAGE = 4_096
"""A kill ends a write to a file at a multiple of this size, or not at all."""


class Run:
    """Lines without a foreign byte between them: `count` of them, from byte `start` to `end`, with a checksum of all.

    The places of lines are kept for one line in 64 KiB, and read from the file for the others: 20 bytes for 64 KiB. A run of an
    earlier process is read once for that. `crc` is None for a run of a version that kept no checksum.
    """

    def __init__(self, start: int, end: int | None = None, count: int = 0, crc: int | None = 0) -> None:
        self.start, self.end, self.count, self.crc = start, start if end is None else end, count, crc
        self.indexed = self.end == start
        self._numbers, self._starts, self._crcs = array("q", [0]), array("q", [start]), array("L", [0])

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
        if not self.indexed and not self._scan(path):
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

    def _scan(self, path: Path) -> bool:
        """Read the run once, and note the places of its lines. Returns False if the file was changed. A second a GB."""
        found = Run(self.start)
        for _, block in _blocks(path, self.start, self.end):
            found.add(block)
        if (found.end, found.count) != (self.end, self.count) or self.crc not in {None, found.crc}:
            return False
        self._numbers, self._starts, self._crcs, self.indexed = found._numbers, found._starts, found._crcs, True
        return True


def _blocks(path: Path, begin: int, end: int) -> Iterator[tuple[int, bytes]]:
    """Yield the bytes of a file between two places, as far as they exist, each block with its place."""
    with path.open("rb") as file:
        file.seek(begin)
        while block := file.read(min(_BLOCK, end - begin)):
            yield begin, block
            begin += len(block)


class LineIndex:
    """The lines of one file that are ours, in the order in which they were written, numbered from 0."""

    def __init__(self, runs: Sequence[Run] = ()) -> None:
        self._runs = list(runs)
        self._firsts = array("q")
        self.end = max((run.end for run in runs), default=0)
        """The end of the last line in the file."""
        self.count = 0
        for run in self._runs:
            self._firsts.append(self.count)
            self.count += run.count

    @property
    def runs(self) -> list[list[int | None]]:
        """The runs as numbers, for a checkpoint."""
        return [[run.start, run.end, run.count, run.crc] for run in self._runs]

    def add(self, start: int, block: bytes | memoryview) -> None:
        """Note the next bytes that are ours: they begin at byte `start` of the file."""
        if not self._runs or self._runs[-1].end != start or not self._runs[-1].indexed:
            self._runs.append(Run(start))
            self._firsts.append(self.count)
        run = self._runs[-1]
        before = run.count
        run.add(block)
        self.count += run.count - before
        self.end = max(self.end, run.end)

    def mark(self) -> tuple[int, int, int, Any]:
        """Return the present length, for `back_to`."""
        return len(self._runs), self.count, self.end, self._runs[-1].mark() if self._runs else None

    def back_to(self, mark: tuple[int, int, int, Any]) -> None:
        """Forget the lines that were added after `mark`."""
        runs, self.count, self.end, last = mark
        del self._runs[runs:], self._firsts[runs:]
        if last is not None:
            self._runs[-1].back_to(last)

    def find(self, path: Path, number: int) -> tuple[int, int] | None:
        """Return the start of line `number` and its length without the line feed; None if it is not there. Raises OSError."""
        if not 0 <= number < self.count:
            return None
        run = bisect_right(self._firsts, number) - 1
        return self._runs[run].find(path, number - self._firsts[run])


class Extent(NamedTuple):
    """Bytes of a file that are ours."""

    start: int
    end: int


class WriteLog:
    """A file with a line for each write of the sink, noted before the write: the inode, the place, the length and checksums.

    So after a kill the bytes behind a checkpoint are known as ours or as another program's, byte by byte. The checksums are
    those of the write up to each page and up to its end: a kill may leave a part of a write. The log is not synced: after a
    loss of power bytes may be ours without a line in the log; they are kept like another program's.
    """

    def __init__(self, path: Path, *, most_bytes: int = 1 << 20) -> None:
        self._path = path
        self._most_bytes = most_bytes
        self._file: int | None = None
        self._marks: list[int] = []

    @property
    def there(self) -> bool:
        """Whether the log exists: versions before 1.0 had none."""
        return self._path.exists()

    def note(self, inode: int, start: int, data: bytes) -> None:
        """Note a write of `data` to byte `start`. Raises OSError."""
        if self._file is None:
            self._file = self._opened()
        crc, sums, at = 0, [], 0
        for cut in _pages(start, len(data)):
            crc, at = crc32(data[at:cut], crc), cut
            sums.append(f"{crc:x}")
        line = f"{inode} {start} {len(data)} {','.join(sums)}\n".encode()
        if (written := os.write(self._file, line)) != len(line):
            os.ftruncate(self._file, os.fstat(self._file).st_size - written)
            raise OSError(errno.ENOSPC, f"{self._path}: {os.strerror(errno.ENOSPC)}")

    def ours(self, path: Path, inode: int, begin: int) -> list[Extent]:
        """Return the bytes of a file from `begin` on that are ours, in their order. Raises OSError."""
        found: set[Extent] = set()
        for start, length, sums in self._entries(inode):
            end = _reached(path, start, length, sums) if start + length > begin else None
            if end is not None and end > begin:
                found.add(Extent(max(start, begin), end))
        return sorted(found)

    def covers(self, path: Path) -> bool:
        """Whether each byte of a file is ours."""
        at = 0
        for start, end in self.ours(path, path.stat().st_ino, 0):
            if start > at:
                return False
            at = max(at, end)
        return at == path.stat().st_size

    def shorten(self) -> None:
        """Drop the writes before the checkpoint before the last one, if the log is long. Call it once for each checkpoint."""
        if self._file is None:
            return
        self._marks = [*self._marks[-2:], os.fstat(self._file).st_size]
        cut = self._marks[0]
        if len(self._marks) < 3 or cut < self._most_bytes:
            return
        fresh = self._path.with_name(f"{self._path.name}.new")
        fresh.write_bytes(self._path.read_bytes()[cut:])
        fresh.replace(self._path)
        self.close()
        self._marks = [mark - cut for mark in self._marks]

    def close(self) -> None:
        """Close the log. The next note opens it again."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _opened(self) -> int:
        """Open the log. A line that a kill has cut off is ended, so that the next one is read."""
        file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        size = os.fstat(file).st_size
        if size and os.pread(file, 1, size - 1) != b"\n":
            os.write(file, b"\n")
        return file

    def _entries(self, inode: int) -> Iterator[tuple[int, int, list[int]]]:
        """Yield the writes to a file. A line that was cut off by a kill belongs to a write that was not begun."""
        try:
            lines = self._path.read_bytes().splitlines(keepends=True)
        except FileNotFoundError:
            return
        for line in lines:
            words = line.split()
            if len(words) == 4 and line.endswith(b"\n") and words[0] == b"%d" % inode:
                yield int(words[1]), int(words[2]), [int(each, 16) for each in words[3].split(b",")]


def _pages(start: int, length: int) -> list[int]:
    """Return the lengths of a write up to each page of the file, and its whole length."""
    return [*range(_PAGE - start % _PAGE, length, _PAGE), length]


def _reached(path: Path, start: int, length: int, sums: Sequence[int]) -> int | None:
    """Return the end of a write, which a kill may have cut off at a page; None if other bytes are there."""
    crc, at, reached = 0, 0, None
    with path.open("rb") as file:
        file.seek(start)
        for cut, expected in zip(_pages(start, length), sums, strict=True):
            block = file.read(cut - at)
            crc = crc32(block, crc)
            if len(block) < cut - at or crc != expected:
                break
            at, reached = cut, start + cut
    return reached

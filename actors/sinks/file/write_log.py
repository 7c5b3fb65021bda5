"""The log of writes to an output file, by which a restart distinguishes our bytes from those of another program.

Used by the file sink, on its thread.
"""

import errno
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from zlib import crc32

from actors.sinks.file.extents import Extent, lines_of, read_at

_PAGE = 4_096
"""A kill ends a write to a file at a multiple of this size, or not at all."""

READ_ONLY = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
"""Errors of a folder in which no file can be made."""

_ENTRY = re.compile(rb"(\d{1,19}) (\d{1,19}) (\d{1,19}) ([0-9a-f]{1,8}(?:,[0-9a-f]{1,8})*)\n")
"""A line of the log."""


class WriteLog:
    """A file with a line for each write of the sink, noted before the write: the inode, the place, the length and checksums.

    So after a kill the bytes behind a checkpoint are known as ours or as another program's, byte by byte. The checksums are
    those of the write up to each page and up to its end: a kill may leave a part of a write. Only `sync` makes notes outlast a
    loss of power, so bytes may be ours without a line in the log then.
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
        """Note a write of `data` to byte `start`. Raises OSError. There is no log in a folder that may not be written to."""
        try:
            self._file = self._opened() if self._file is None else self._file
        except OSError as error:
            if error.errno in READ_ONLY:
                return
            raise
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
        """Drop the writes before the checkpoint before the last one, if the log is long. Call it once for each checkpoint.

        Raises OSError. The log is whole then.
        """
        if self._file is None:
            return
        self._marks = [*self._marks[-2:], os.fstat(self._file).st_size]
        cut = self._marks[0]
        if len(self._marks) < 3 or cut < self._most_bytes:
            return
        fresh = self._path.with_name(f"{self._path.name}.new")
        fresh.write_bytes(read_at(self._file, cut, self._marks[-1] - cut))
        fresh.replace(self._path)
        self.close()
        self._marks = [mark - cut for mark in self._marks]

    def sync(self) -> None:
        """Make the notes outlast a loss of power. Raises OSError."""
        if self._file is not None:
            os.fsync(self._file)

    def close(self) -> None:
        """Close the log. The next note opens it again."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _opened(self) -> int:
        """Open the log. A line that a kill has cut off is ended, so that the next one is read."""
        file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        size = os.fstat(file).st_size
        self._marks = [mark for mark in self._marks if mark <= size]
        if size and os.pread(file, 1, size - 1) != b"\n":
            os.write(file, b"\n")
        return file

    def _entries(self, inode: int) -> Iterator[tuple[int, int, list[int]]]:
        """Yield the writes to a file. A line that was cut off by a kill belongs to a write that was not begun."""
        try:
            lines = lines_of(self._path.read_bytes())
        except FileNotFoundError:
            return
        for line in lines:
            entry = _ENTRY.fullmatch(line)
            if entry is not None and int(entry[1]) == inode:
                yield int(entry[2]), int(entry[3]), [int(each, 16) for each in entry[4].split(b",")]


def _pages(start: int, length: int) -> list[int]:
    """Return the lengths of a write up to each page of the file, and its whole length."""
    return [*range(_PAGE - start % _PAGE, length, _PAGE), length]


def _reached(path: Path, start: int, length: int, sums: Sequence[int]) -> int | None:
    """Return the end of a write, which a kill may have cut off at a page; None if other bytes are there."""
    crc, at, reached = 0, 0, None
    with path.open("rb") as file:
        file.seek(start)
        for cut, expected in zip(_pages(start, length), sums, strict=False):  # the line may be cut off and ended since
            block = file.read(cut - at)
            crc = crc32(block, crc)
            if len(block) < cut - at or crc != expected:
                break
            at, reached = cut, start + cut
    return reached

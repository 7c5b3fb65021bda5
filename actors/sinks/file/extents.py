"""Places in an output file that is open, and the bytes there.

Used by the file sink, and by the parts of it.
"""

import io
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple, Self
from zlib import crc32

_TAIL = 4_096


class Extent(NamedTuple):
    """Bytes of a file that are ours."""

    start: int
    end: int


def joined(extents: Iterable[Extent]) -> list[Extent]:
    """Return the extents in their order, with those that touch each other as one."""
    found: list[Extent] = []
    for each in sorted(extents):
        if found and each.start <= found[-1].end:
            found[-1] = Extent(found[-1].start, max(found[-1].end, each.end))
        else:
            found.append(each)
    return found


def lines_of(data: bytes) -> list[bytes]:
    """Return the lines with their line feeds. A carriage return ends no line."""
    return io.BytesIO(data).readlines()


def read_at(file: int, start: int, length: int) -> bytes:
    """Return bytes of an open file, fewer at its end."""
    read = bytearray()
    while length > len(read) and (more := os.pread(file, length - len(read), start + len(read))):
        read += more
    return bytes(read)


def is_at(file: int, path: Path) -> bool:
    """Whether an open file is still the one at `path`."""
    try:
        return os.path.samestat(os.fstat(file), path.stat())
    except FileNotFoundError:
        return False


def cut(file: int, ours: Sequence[Extent]) -> list[Extent]:
    """Cut our bytes off the end of an open file. Return our other bytes: another program's follow them."""
    rest = joined(ours)
    if rest and rest[-1].end == os.fstat(file).st_size:
        os.ftruncate(file, rest.pop().start)
    return rest


class Tail(NamedTuple):
    """The last bytes before a place in a file, and their checksum: they distinguish a file that has grown from another file."""

    start: int = 0
    length: int = 0
    crc: int = 0

    @classmethod
    def of(cls, data: bytes, end: int) -> Self:
        """Return the tail of `data`, which ends at byte `end` of the file."""
        tail = data[-_TAIL:]
        return cls(end - len(tail), len(tail), crc32(tail))

    @classmethod
    def before(cls, size: int, crc: int) -> Self:
        """Return the tail of a checkpoint: the last bytes of the first `size` bytes."""
        length = min(size, _TAIL)
        return cls(size - length, length, crc)

    @classmethod
    def read(cls, file: int, size: int) -> Self:
        """Return the tail of the first `size` bytes of an open file."""
        tail = cls.before(size, 0)
        return tail._replace(crc=crc32(read_at(file, tail.start, tail.length)))

    def is_in(self, file: int) -> bool:
        """Whether an open file has these bytes."""
        found = read_at(file, self.start, self.length)
        return len(found) == self.length and crc32(found) == self.crc

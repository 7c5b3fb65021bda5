"""The sink that writes results to a file, starts a new file at a size, and cuts the file back to a checkpoint's place.

Used by the publisher. A record can be read again by its number.
"""

import os
import stat
import warnings
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TextIO

from actors.durability.disk import Disk
from actors.durability.lock import locked
from actors.replies import Place
from actors.sinks.line_index import LineIndex
from actors.sinks.sink import Fenced, Sink

_TAIL = 4_096
_MOST_PARTS = 1_000
"""Older files whose records can be found by number. A checkpoint names each of them."""


@dataclass(slots=True)
class _Part:
    """The records in one file: `count` of them, from byte `begin` up to `size`, after `first` records in older files."""

    path: Path
    inode: int
    first: int
    begin: int
    count: int
    size: int
    index: LineIndex | None = None

    def find(self, number: int) -> Place | None:
        """Return the place of its record `number`, from 0. After a restart the file is read once for that."""
        try:
            if self.index is None:
                index = LineIndex(self.begin)
                index.scan(self.path, self.size)
                self.index = index
            found = self.index.find(self.path, number)
        except OSError:  # another process has deleted the file
            return None
        return None if found is None else Place(self.path, *found)


class FileSink(Sink):
    """Appends records to a file. At `max_bytes` the file is renamed to the next number, and a new one is begun.

    `on_error` gets a message if the file of a checkpoint cannot be found any more.
    """

    def __init__(self, path: Path, *, max_bytes: int | None, on_error: Callable[[str], None] = warnings.warn) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._on_error = on_error
        self._file: BinaryIO | None = None
        self._parts: list[_Part] = []
        self._regular = True
        self._renamed = True
        self._lost: str | None = None
        self._lock: TextIO | None = None

    def write(self, blocks: Iterator[bytes]) -> None:
        """Append, and flush to the operating system. A failure cuts the file back to its old size."""
        file = self._opened()
        part = self._parts[-1]
        count, size = part.count, part.size
        try:
            for block in blocks:
                file.write(block)
                part.count += block.count(b"\n")
                part.size += len(block)
                if part.index is not None:
                    part.index.add(block)
            file.flush()
        except Exception:  # the disk's or the view's: either way none of the blocks stays, and the caller gets the error
            part.count, part.size = count, size
            if part.index is not None:
                part.index.cut(count, size)
            self._cut_back(size)
            raise
        self.written += part.count - count

    def place(self, order: int) -> Place | None:
        """Return the place of the `order`-th record, from 1 on; None if there is no such record, or its file is deleted."""
        for part in reversed(self._parts):
            if part.first < order <= part.first + part.count:
                return part.find(order - 1 - part.first)
        return None

    def prepare(self) -> dict[str, Any] | None:
        """Make the file and its name outlast a loss of power, and return the place; None if the file is a device or a pipe.

        Raises Fenced if the disk refuses, because then it is unknown which part of the file is on the disk.
        """
        file = self._opened()
        if not self._regular:
            return None
        if self._taken_away():
            self._on_error(f"{self._path} was deleted or replaced: a new file is begun")
            self._let_go()
            file = self._opened()
        self._sync(file)
        if self._lost is not None:
            raise Fenced(self._lost)
        if self._renamed:
            Disk().sync_folder(self._path.parent)
            self._renamed = False
        part = self._parts[-1]
        return {
            "inode": part.inode,
            "size": part.size,
            "tail": _tail(self._path, part.size),
            "written": self.written,
            "first": part.first,
            "begin": part.begin,
            "next": self._next_number(),
            "aside": [[old.path.name, old.inode, old.first, old.begin, old.count, old.size] for old in self._parts[:-1]],
        }

    def look(self) -> None:
        """Lock the file. A sink that waits for another process must not disturb the stream's other outputs."""
        self._own()

    def restore(self, place: Any | None) -> None:
        """Cut the file back. If it was renamed since, it gets its name back, and the files begun after it are deleted."""
        self._own()
        if self._file is not None:
            self._file.close()
        self._file, self._parts, self._lost, self.written, self._renamed = None, [], None, 0, True
        if place is None:
            return
        self._parts = [
            _Part(self._path.with_name(name), inode, first, begin, count, size)
            for name, inode, first, begin, count, size in place["aside"]
        ]
        self.written = int(place["written"])
        found = self._find(place)
        if found is None:
            self._on_error(f"{self._path}: the records before the checkpoint cannot be found: a new file is begun")
            return
        if found != self._path:
            number = _number(found, self._path)
            for younger in [path for path in self._aside() if _number(path, self._path) > number]:
                younger.unlink()
            found.replace(self._path)
        os.truncate(self._path, place["size"])
        with self._path.open("rb") as file:
            os.fsync(file.fileno())
            inode = os.fstat(file.fileno()).st_ino
        Disk().sync_folder(self._path.parent)
        first, begin, size = int(place["first"]), int(place["begin"]), int(place["size"])
        self._parts.append(_Part(self._path, inode, first, begin, self.written - first, size))

    def close(self) -> None:
        """Close the file, and release its lock."""
        if self._file is not None:
            self._file.close()
        if self._lock is not None:
            self._lock.close()

    def _own(self) -> None:
        """Lock the file by a hidden file beside it, which survives renaming. Raises OSError if another process has the lock.

        Two processes on one file would write each line twice, and each would cut off the lines of the other one. Devices and
        pipes need no lock.
        """
        if self._lock is not None or (self._path.exists() and not self._path.is_file()):
            return
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._lock = locked(self._path.with_name(f".{self._path.name}.lock"))
        except BlockingIOError as error:
            raise OSError(f"{self._path}: process {error} writes to this file: give each service a file of its own") from None
        except OSError:  # of the folder: the first write reports it, if it still fails then
            return

    def _opened(self) -> BinaryIO:
        """Return the file to append to; a new one if it is full."""
        if self._file is None:
            self._open()
        assert self._file is not None, "opened just now"
        part = self._parts[-1]
        if self._max_bytes is not None and self._regular and part.size >= self._max_bytes:
            aside = self._path.with_name(f"{self._path.name}.{self._next_number()}")
            self._sync(self._file)
            self._let_go()
            self._path.rename(aside)
            part.path = aside
            del self._parts[: max(0, len(self._parts) - _MOST_PARTS)]
            self._open()
        return self._file

    def _open(self) -> None:
        self._own()
        self._path.parent.mkdir(parents=True, exist_ok=True)
        file = self._path.open("ab")
        state = os.fstat(file.fileno())
        self._regular = stat.S_ISREG(state.st_mode)
        size = file.tell() if self._regular else 0
        self._file = file
        known = self._parts[-1] if self._parts else None
        if known is None or known.path != self._path or (known.inode, known.size) != (state.st_ino, size):
            if known is not None and known.path == self._path:  # the path is another file now: old records are lost
                self._parts.pop()
            self._renamed = True
            if size and _last_byte(self._path) != b"\n":  # half a record from a crash: the next record begins on a new line
                size += file.write(b"\n")
                file.flush()  # a checkpoint compares the bytes on the disk
            self._parts.append(_Part(self._path, state.st_ino, self.written, size, 0, size, LineIndex(size)))

    def _let_go(self) -> None:
        """Close the file. The next record opens the path again."""
        file, self._file = self._file, None
        self._renamed = True
        if file is not None:
            file.close()

    def _sync(self, file: BinaryIO) -> None:
        """Make a file's bytes safe. A failure is remembered, because a second fsync would report success."""
        try:
            os.fsync(file.fileno())
        except OSError as error:
            self._lost = f"{self._path}: {error.strerror}: records written since the last checkpoint may be lost"

    def _taken_away(self) -> bool:
        try:
            return self._path.stat().st_ino != self._parts[-1].inode
        except FileNotFoundError:
            return True

    def _cut_back(self, size: int) -> None:
        """Make the file `size` bytes long again: the part of a record that a full disk took must not stay."""
        file, self._file = self._file, None
        if file is None or not self._regular:
            return
        os.truncate(self._path, size)
        try:
            file.close()
        except OSError:
            return  # the buffer could not be written, which was reported
        os.truncate(self._path, size)

    def _aside(self) -> list[Path]:
        """Return the paths of the present file, if it exists, and of the renamed files."""
        if not self._path.parent.is_dir():
            return []
        return [path for path in self._path.parent.iterdir() if _number(path, self._path) > 0 and path.is_file()]

    def _next_number(self) -> int:
        return 1 + max((_number(path, self._path) for path in self._aside() if path != self._path), default=0)

    def _find(self, place: dict[str, Any]) -> Path | None:
        """Return the file of the checkpoint, under its present name; None if no file is certainly that one."""
        alike = [
            path
            for path in self._aside()
            if (path == self._path or _number(path, self._path) >= place["next"])
            and path.stat().st_size >= place["size"]
            and _tail(path, place["size"]) == place["tail"]
        ]
        same = [path for path in alike if path.stat().st_ino == place["inode"]]
        copied = [path for path in alike if path == self._path and place["size"]]
        return next(iter([*same, *copied]), None)


_LAST = 1 << 62


def _number(path: Path, main: Path) -> int:
    """Return the number that a renamed file has; for the present file a larger number, for any other file 0."""
    if path == main:
        return _LAST
    stem, _, number = path.name.rpartition(".")
    return int(number) if stem == main.name and number.isascii() and number.isdecimal() else 0


def _tail(path: Path, size: int) -> int:
    """Return a checksum of the last bytes before `size`: it distinguishes a file that has grown from another file."""
    with path.open("rb") as file:
        file.seek(max(0, size - _TAIL))
        return zlib.crc32(file.read(min(size, _TAIL)))


def _last_byte(path: Path) -> bytes:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1)


def file_among(sinks: Iterable[Sink]) -> FileSink | None:
    """Return the first file sink among `sinks`, in which a record can be read again."""
    return next((sink for sink in sinks if isinstance(sink, FileSink)), None)

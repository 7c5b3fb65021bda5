"""The writer of results to a file, which is set aside by size, and cut back to where a checkpoint left it.

Used by the publisher; a record can be read again by its order, from the very first one on.
"""

import os
import stat
import warnings
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from actors.durability.disk import LocalDisk
from actors.replies import Place
from actors.sinks.line_index import LineIndex
from actors.sinks.sink import Fenced, Sink

_TAIL = 4_096
_MOST_PARTS = 1_000
"""Files set aside that are still known by the order of their records; a checkpoint names each."""


@dataclass(slots=True)
class _Part:
    """What one file holds of ours: `count` records from the byte `begin` up to `size`, with `first` records before them."""

    path: Path
    inode: int
    first: int
    begin: int
    count: int
    size: int
    index: LineIndex | None = None

    def find(self, number: int) -> Place | None:
        """Return where its record `number` lies, from 0; after a restart the file is read once to know."""
        try:
            if self.index is None:
                index = LineIndex(self.begin)
                index.scan(self.path, self.size)
                self.index = index
            found = self.index.find(self.path, number)
        except OSError:  # somebody has taken it away, and what it held with it
            return None
        return None if found is None else Place(self.path, *found)


class FileSink:
    """Appends records to a file; at `max_bytes` it is set aside under the next number, and a new one begun.

    `on_error` is told where a checkpoint's file is not to be found any more.
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
        self.written = 0

    @property
    def delivered(self) -> int:
        """All that is written: it is with the operating system when `write` returns."""
        return self.written

    def write(self, blocks: Iterator[bytes]) -> None:
        """Append, and flush. Where that fails, the file is cut back to what it was."""
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
        except Exception:  # the disk's or the view's: either way nothing of it stays, and who called hears of it
            part.count, part.size = count, size
            if part.index is not None:
                part.index.cut(count, size)
            self._cut_back(size)
            raise
        self.written += part.count - count

    def place(self, order: int) -> Place | None:
        """Return where the `order`-th record lies, from 1 on; None where it never was, or its file has gone."""
        for part in reversed(self._parts):
            if part.first < order <= part.first + part.count:
                return part.find(order - 1 - part.first)
        return None

    def poll(self) -> None:
        """Do nothing: what is written is safe."""

    def prepare(self) -> dict[str, Any] | None:
        """Make the file and its name outlast a loss of power.

        Raises Fenced where the disk refuses: nobody can know then which part of the file it has.
        """
        file = self._opened()
        if not self._regular:
            return None
        if self._taken_away():
            self._on_error(f"{self._path} was taken away: begun anew")
            self._let_go()
            file = self._opened()
        self._sync(file)
        if self._lost is not None:
            raise Fenced(self._lost)
        if self._renamed:
            LocalDisk().sync_folder(self._path.parent)
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

    def commit(self, checkpoint: int) -> None:
        """Do nothing: readers see what is written."""

    def committed(self) -> None:
        """Return None: the place says all."""

    def restore(self, place: Any | None) -> None:
        """Cut the file back. One that was set aside since gets its name again, and what was begun after it is removed."""
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
            self._on_error(f"{self._path}: what was written until the checkpoint is not there any more: begun anew")
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
        LocalDisk().sync_folder(self._path.parent)
        first, begin, size = int(place["first"]), int(place["begin"]), int(place["size"])
        self._parts.append(_Part(self._path, inode, first, begin, self.written - first, size))

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()

    def _opened(self) -> BinaryIO:
        """Return the file to append to, a new one where it is full."""
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
        self._path.parent.mkdir(parents=True, exist_ok=True)
        file = self._path.open("ab")
        state = os.fstat(file.fileno())
        self._regular = stat.S_ISREG(state.st_mode)
        size = file.tell() if self._regular else 0
        self._file = file
        known = self._parts[-1] if self._parts else None
        if known is None or known.path != self._path or (known.inode, known.size) != (state.st_ino, size):
            if known is not None and known.path == self._path:  # another one by now: what it held is gone
                self._parts.pop()
            self._renamed = True
            if size and _last_byte(self._path) != b"\n":  # half a record, from a crash: ours begin on a line of their own
                size += file.write(b"\n")
            self._parts.append(_Part(self._path, state.st_ino, self.written, size, 0, size, LineIndex(size)))

    def _let_go(self) -> None:
        """Close the file; the next record begins another one, or goes on with it."""
        file, self._file = self._file, None
        self._renamed = True
        if file is not None:
            file.close()

    def _sync(self, file: BinaryIO) -> None:
        """Make a file's bytes safe; that it failed is remembered, as asking again would hide it."""
        try:
            os.fsync(file.fileno())
        except OSError as error:
            self._lost = f"{self._path}: {error.strerror}: what was written since the last checkpoint may be lost"

    def _taken_away(self) -> bool:
        try:
            return self._path.stat().st_ino != self._parts[-1].inode
        except FileNotFoundError:
            return True

    def _cut_back(self, size: int) -> None:
        """Make the file as long as it was: what a full disk took of a record must not stay."""
        file, self._file = self._file, None
        if file is None or not self._regular:
            return
        os.truncate(self._path, size)
        try:
            file.close()
        except OSError:
            return  # its buffer could not be written, which is known
        os.truncate(self._path, size)

    def _aside(self) -> list[Path]:
        """Return the path, where there is a file, and the files that were set aside."""
        if not self._path.parent.is_dir():
            return []
        return [path for path in self._path.parent.iterdir() if _number(path, self._path) > 0 and path.is_file()]

    def _next_number(self) -> int:
        return 1 + max((_number(path, self._path) for path in self._aside() if path != self._path), default=0)

    def _find(self, place: dict[str, Any]) -> Path | None:
        """Return the file that the checkpoint means, wherever it was set aside since; None where nothing is surely it."""
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
    """Return under which number a file was set aside; the main one is the last, and what is none of them 0."""
    if path == main:
        return _LAST
    stem, _, number = path.name.rpartition(".")
    return int(number) if stem == main.name and number.isascii() and number.isdecimal() else 0


def _tail(path: Path, size: int) -> int:
    """Return a checksum of what stands before the byte `size`: it tells a file that grew from another one."""
    with path.open("rb") as file:
        file.seek(max(0, size - _TAIL))
        return zlib.crc32(file.read(min(size, _TAIL)))


def _last_byte(path: Path) -> bytes:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1)


def file_among(sinks: Iterable[Sink]) -> FileSink | None:
    """Return the first file among `sinks`: where a record can be read again."""
    return next((sink for sink in sinks if isinstance(sink, FileSink)), None)

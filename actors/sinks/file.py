"""The sink that writes results to a file, starts a new file at a size, and takes results back to a checkpoint's place.

Used by the publisher. A record can be read again by its number. Other programs may append to the same file: their bytes are
never cut off and never taken for results.
"""

import os
import stat
import warnings
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from actors.durability.disk import Disk
from actors.durability.lock import locked
from actors.replies import Place
from actors.sinks.line_index import Extent, LineIndex, Run, WriteLog
from actors.sinks.sink import Fenced, Sink

_TAIL = 4_096
_CHUNK = 1 << 22
_MOST_UNLOGGED = 1 << 24
_MOST_RUNS = 1 << 16
_MOST_PARTS = 1_000
"""Older files whose records can be found by number. A checkpoint names each of them."""


@dataclass(slots=True)
class _Part:
    """The records in one file: those of `index`, after `first` records in older files. The file had `begin` bytes before."""

    path: Path
    inode: int
    first: int
    begin: int
    index: LineIndex

    @property
    def count(self) -> int:
        """The number of records."""
        return self.index.count

    @property
    def size(self) -> int:
        """The end of the last record in the file."""
        return max(self.begin, self.index.end)

    def find(self, number: int) -> Place | None:
        """Return the place of its record `number`, from 0. After a restart the file is read once for that."""
        try:
            found = self.index.find(self.path, number)
        except OSError:  # another process has deleted the file
            return None
        return None if found is None else Place(self.path, *found)

    def saved(self) -> list[Any]:
        """Return the part for a checkpoint."""
        runs = self.index.runs
        first = self.first + sum(int(count or 0) for _, _, count, _ in runs[:-_MOST_RUNS])
        kept = runs[-_MOST_RUNS:]
        return [self.path.name, self.inode, first, self.begin, self.first + self.count - first, self.size, kept]


def _part(path: Path, saved: Sequence[Any]) -> _Part:
    """Return a part of a checkpoint. Versions without runs took all lines of the file from `begin` on for records."""
    _, inode, first, begin, count, size, *more = saved
    known = [Run(*run) for run in more[0]] if more else [Run(begin, size, count, None)]
    return _Part(path, inode, first, begin, LineIndex([run for run in known if run.count]))


class FileSink(Sink):
    """Appends records to a file. At `max_bytes` the file is renamed to the next number, and a new one is begun.

    A restart cuts off the records written after the checkpoint. If another program has appended bytes behind such a record, the
    record stays, and is not written once more if the same record comes again. `on_error` gets a message if the file of a
    checkpoint cannot be found any more.
    """

    def __init__(self, path: Path, *, max_bytes: int | None, on_error: Callable[[str], None] = warnings.warn) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._on_error = on_error
        self._file: int | None = None
        self._log = WriteLog(path.with_name(f".{path.name}.log"))
        self._at = -1
        self._last = (0, 0, 0)
        self._ends_line = True
        self._stale: dict[tuple[int, int], list[int]] = {}
        self._parts: list[_Part] = []
        self._regular = True
        self._renamed = True
        self._lost: str | None = None
        self._lock: TextIO | None = None

    def write(self, blocks: Iterator[bytes]) -> None:
        """Append, and hand over to the operating system. If that fails, no record of `blocks` counts as written."""
        self._opened()
        part = self._parts[-1]
        before, count, last = part.index.mark(), part.count, self._last
        self._ends_line = True
        wrote: list[Extent] = []
        try:
            for chunk in _chunks(blocks):
                self._append(part, chunk, wrote)
        except Exception:  # the disk's or the view's: either way none of the blocks stays, and the caller gets the error
            part.index.back_to(before)
            self._last = last
            self._take_back(self._path, wrote)
            raise
        self.written += part.count - count

    def _append(self, part: _Part, chunk: bytes, wrote: list[Extent]) -> None:
        """Write one chunk. Lines that are in the file since before a restart are not written again."""
        if not self._regular:
            self._put(chunk)
            part.index.add(part.size, chunk)
            return
        pieces = chunk.splitlines(keepends=True) if self._stale else [chunk]
        fresh = bytearray()
        for piece in [*pieces, b""]:
            place = self._adopted(piece) if fresh or self._ends_line else None
            if (place is not None or not piece) and fresh:
                self._append_new(part, bytes(fresh), wrote)
                fresh.clear()
            if place is not None:
                part.index.add(place, piece)
            else:
                fresh += piece

    def _append_new(self, part: _Part, data: bytes, wrote: list[Extent]) -> None:
        """Append `data`, and note its place. Raises OSError if another program wrote between two parts of one record."""
        size = self._length()
        within = bool(wrote) and wrote[-1].end == self._at and not self._ends_line
        if size != self._at:
            self._check_others(size)
        gap = b"\n" if size and not within and _read(self._path, size - 1, 1) != b"\n" else b""
        start = size + len(gap)
        self._log.note(part.inode, start, data)
        end = self._put(gap + data)
        wrote.append(Extent(end - len(data), end))
        self._at, self._ends_line = end, data.endswith(b"\n")
        tail = data[-_TAIL:]
        self._last = (end - len(tail), len(tail), zlib.crc32(tail))
        if end - len(data) != start:
            self._log.note(part.inode, end - len(data), data)
        if within and wrote[-1].start != wrote[-2].end:
            raise OSError(f"{self._path}: another program wrote into the middle of a result")
        part.index.add(end - len(data), data)

    def _put(self, data: bytes) -> int:
        """Append bytes to the file, and return its position behind them. If that fails, no part of them stays at the end."""
        assert self._file is not None, "open the file before writing"
        rest, done = memoryview(data), 0
        try:
            while rest:
                done += (now := os.write(self._file, rest))
                rest = rest[now:]
        except OSError:
            if self._regular and done:
                end = os.lseek(self._file, 0, os.SEEK_CUR)
                self._take_back(self._path, [Extent(end - done, end)])
            raise
        return os.lseek(self._file, 0, os.SEEK_CUR) if self._regular else 0

    def _adopted(self, line: bytes) -> int | None:
        """Return the place of an equal line that a restart could not cut off; None if there is no such line."""
        places = self._stale.get((len(line), zlib.crc32(line)))
        while places:
            start = places.pop(0)
            if line.endswith(b"\n") and _read(self._path, start, len(line)) == line:
                return start
        return None

    def _check_others(self, size: int) -> None:
        """Another program wrote to the file: check that our last record is still there. Raises OSError if it is not."""
        if not self._intact(size):
            self._on_error(f"{self._path} was cut or replaced by another program: the results before are lost")
            self._let_go()
            self._parts.pop()
            raise OSError(f"{self._path}: another program has cut the file")

    def _intact(self, size: int) -> bool:
        """Whether the last bytes that this sink wrote are in the file, which has `size` bytes."""
        start, length, crc = self._last
        return size >= start + length and zlib.crc32(_read(self._path, start, length)) == crc

    def _length(self) -> int:
        """Return the present length of the file."""
        assert self._file is not None, "open the file before writing"
        return os.fstat(self._file).st_size

    def place(self, order: int) -> Place | None:
        """Return the place of the `order`-th record, from 1 on; None if there is no such record, or if it is gone."""
        if not self._regular:
            return None
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
        if self._taken_away() or not self._intact(self._length()):
            self._on_error(f"{self._path} was deleted or replaced, or cut by another program: a new file is begun")
            self._let_go()
            file = self._opened()
        self._sync(file)
        if self._lost is not None:
            raise Fenced(self._lost)
        if self._renamed:
            Disk().sync_folder(self._path.parent)
            self._renamed = False
        _, inode, first, begin, _, size, runs = self._parts[-1].saved()
        return {
            "inode": inode,
            "size": size,
            "tail": _tail(self._path, size),
            "written": self.written,
            "first": first,
            "begin": begin,
            "next": self._next_number(),
            "runs": runs,
            "aside": [old.saved() for old in self._parts[:-1]],
        }

    def commit(self, checkpoint: int) -> None:  # noqa: ARG002  # the place is in the checkpoint
        """Forget the writes that no restart takes back any more."""
        self._log.shorten()

    def look(self) -> None:
        """Lock the file. A sink that waits for another process must not disturb the stream's other outputs."""
        self._own()

    def restore(self, place: Any | None) -> None:
        """Take back the later records. If the file was renamed since, it gets its name back, and its successors are deleted.

        Files to which another program has written keep their names and their bytes.
        """
        self._own()
        self._let_go()
        self._log.close()
        self._parts, self._stale, self._lost, self.written, self._renamed = [], {}, None, 0, True
        if place is None:
            return
        self._parts = [_part(self._path.with_name(str(saved[0])), saved) for saved in place["aside"]]
        self.written = int(place["written"])
        found = self._find(place)
        if found is None:
            self._on_error(f"{self._path}: the records before the checkpoint cannot be found: a new file is begun")
            return
        first, begin, size, inode = (int(place[name]) for name in ("first", "begin", "size", "inode"))
        younger = [] if found == self._path else [each for each in self._aside() if self._number(each) > self._number(found)]
        if all(self._log.covers(each) for each in younger):
            for each in younger:
                each.unlink()
            if found != self._path:
                found.replace(self._path)
            found = self._path
        else:
            self._on_error(f"{found} keeps its name: another program has written to the files after it")
            for each in younger:
                self._remember(each, self._log.ours(each, each.stat().st_ino, 0))
        if self._log.there:
            self._take_back(found, self._log.ours(found, inode, size))
        else:  # an earlier version wrote the checkpoint: equal lines are not written again, and nothing is cut off
            self._remember(found, [Extent(size, min(size + _MOST_UNLOGGED, found.stat().st_size))])
        with found.open("rb") as file:
            os.fsync(file.fileno())
            inode = os.fstat(file.fileno()).st_ino
        Disk().sync_folder(self._path.parent)
        more = [place["runs"]] if "runs" in place else []
        self._parts.append(_part(found, [found.name, inode, first, begin, self.written - first, size, *more]))
        length = min(size, _TAIL)
        self._last = (size - length, length, place["tail"])

    def _take_back(self, path: Path, ours: Sequence[Extent]) -> None:
        """Cut off our bytes at the end of a file. Remember our lines before bytes of other programs, because they stay."""
        rest, size = _joined(ours), path.stat().st_size
        if rest and rest[-1].end == size:
            os.truncate(path, rest.pop().start)
        self._remember(path, rest)
        self._at = -1

    def _remember(self, path: Path, ours: Sequence[Extent]) -> None:
        """Remember the whole lines of our bytes, so that equal results are not written again."""
        for start, end in _joined(ours) if path == self._path else ():
            for line in _read(path, start, end - start).splitlines(keepends=True):
                if line.endswith(b"\n"):
                    self._stale.setdefault((len(line), zlib.crc32(line)), []).append(start)
                start += len(line)  # noqa: PLW2901  # the place of the next line

    def close(self) -> None:
        """Close the file, and release its lock."""
        self._let_go()
        self._log.close()
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

    def _opened(self) -> int:
        """Return the file to append to; a new one if it is full."""
        if self._file is None:
            self._open()
        assert self._file is not None, "opened just now"
        if self._max_bytes is not None and self._regular and self._length() >= self._max_bytes:
            aside = self._path.with_name(f"{self._path.name}.{self._next_number()}")
            self._sync(self._file)
            self._let_go()
            self._path.rename(aside)
            self._parts[-1].path = aside
            del self._parts[: max(0, len(self._parts) - _MOST_PARTS)]
            self._open()
        return self._file

    def _open(self) -> None:
        self._own()
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        state = os.fstat(self._file)
        self._regular = stat.S_ISREG(state.st_mode)
        self._at, self._ends_line = -1, True
        known = self._parts[-1] if self._parts and self._parts[-1].path == self._path else None
        if known is not None and known.inode == state.st_ino and self._intact(state.st_size):
            return
        if known is not None:  # the path is another file now: old records are lost
            self._parts.pop()
        self._renamed, self._last = True, (0, 0, 0)
        size = state.st_size if self._regular else 0
        self._parts.append(_Part(self._path, state.st_ino, self.written, size, LineIndex()))

    def _let_go(self) -> None:
        """Close the file. The next record opens the path again."""
        file, self._file = self._file, None
        self._renamed = True
        if file is not None:
            os.close(file)

    def _sync(self, file: int) -> None:
        """Make a file's bytes safe. A failure is remembered, because a second fsync would report success."""
        try:
            os.fsync(file)
        except OSError as error:
            self._lost = f"{self._path}: {error.strerror}: records written since the last checkpoint may be lost"

    def _taken_away(self) -> bool:
        try:
            return self._path.stat().st_ino != self._parts[-1].inode
        except FileNotFoundError:
            return True

    def _aside(self) -> list[Path]:
        """Return the paths of the present file, if it exists, and of the renamed files."""
        if not self._path.parent.is_dir():
            return []
        return [path for path in self._path.parent.iterdir() if self._number(path) > 0 and path.is_file()]

    def _next_number(self) -> int:
        return 1 + max((self._number(path) for path in self._aside() if path != self._path), default=0)

    def _number(self, path: Path) -> int:
        """Return the number that a renamed file has; for the present file a larger number, for any other file 0."""
        if path == self._path:
            return _LAST
        stem, _, number = path.name.rpartition(".")
        return int(number) if stem == self._path.name and number.isascii() and number.isdecimal() else 0

    def _find(self, place: dict[str, Any]) -> Path | None:
        """Return the file of the checkpoint, under its present name; None if no file is certainly that one."""
        alike = [
            path
            for path in self._aside()
            if (path == self._path or self._number(path) >= place["next"])
            and path.stat().st_size >= place["size"]
            and _tail(path, place["size"]) == place["tail"]
        ]
        same = [path for path in alike if path.stat().st_ino == place["inode"]]
        copied = [path for path in alike if path == self._path and place["size"]]
        return next(iter([*same, *copied]), None)


_LAST = 1 << 62


def _tail(path: Path, size: int) -> int:
    """Return a checksum of the last bytes before `size`: it distinguishes a file that has grown from another file."""
    return zlib.crc32(_read(path, max(0, size - _TAIL), min(size, _TAIL)))


def _read(path: Path, start: int, length: int) -> bytes:
    with path.open("rb") as file:
        file.seek(start)
        return file.read(length)


def _joined(extents: Iterable[Extent]) -> list[Extent]:
    """Return the extents in their order, with those that touch each other as one."""
    joined: list[Extent] = []
    for each in sorted(extents):
        if joined and each.start <= joined[-1].end:
            joined[-1] = Extent(joined[-1].start, max(joined[-1].end, each.end))
        else:
            joined.append(each)
    return joined


def _chunks(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """Join blocks, so that most records are written by one call: no other program can write between its bytes then."""
    chunk = bytearray()
    for block in blocks:
        chunk += block
        if len(chunk) >= _CHUNK:
            yield bytes(chunk)
            chunk.clear()
    if chunk:
        yield bytes(chunk)


def file_among(sinks: Iterable[Sink]) -> FileSink | None:
    """Return the first file sink among `sinks`, in which a record can be read again."""
    return next((sink for sink in sinks if isinstance(sink, FileSink)), None)

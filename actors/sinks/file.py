"""The sink that writes results to a file, starts a new file at a size, and takes results back to a checkpoint's place.

Used by the publisher. A record can be read again by its number. Other programs may append to the same file: their bytes are
never cut off. Other programs may also rename, delete or cut the file: the results go on in a new file, or at the new end.
"""

import os
import stat
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO
from zlib import crc32

from actors.durability.disk import Disk
from actors.durability.lock import locked
from actors.replies import Place
from actors.sinks.file_parts import Names, Part, Parts, part_of
from actors.sinks.line_index import LineIndex
from actors.sinks.sink import Fenced, Sink
from actors.sinks.write_log import READ_ONLY, Extent, LeftLines, WriteLog, joined, lines_of, read_at

_TAIL = 4_096
_CHUNK = 1 << 22
_MOST_UNLOGGED = 1 << 24
"""Bytes behind a checkpoint's place in which results are looked for without the log."""


@dataclass(slots=True)
class _Attempt:
    """What one call of `write` has done to the file: the bytes that it wrote, and the lines that it adopted."""

    wrote: list[Extent] = field(default_factory=list)
    adopted: list[Extent] = field(default_factory=list)


class FileSink(Sink):
    """Appends records to a file. At `max_bytes` the file is renamed to the next number, and a new one is begun.

    A restart cuts off the records written after the checkpoint. If another program has appended bytes behind such a record, the
    record stays, and is not written once more if the same record comes again. `on_error` gets a message if earlier records
    cannot be found any more.
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
        self._left = LeftLines()
        self._parts = Parts()
        self._names = Names(path)
        self._regular = True
        self._renamed = True
        self._lost: str | None = None
        self._lock: TextIO | None = None

    def write(self, blocks: Iterator[bytes]) -> None:
        """Append, and hand over to the operating system. If that fails, no record of `blocks` counts as written."""
        file = self._opened()
        part = self._parts.last
        before, count, last = part.index.mark(), part.count, self._last
        self._ends_line = True
        attempt = _Attempt()
        try:
            for chunk in _chunks(blocks, whole_lines=bool(self._left)):
                self._append(file, part, chunk, attempt)
        except Exception:  # the disk's or the view's: either way none of the blocks stays, and the caller gets the error
            part.index.back_to(before)
            self._last = last
            self._at = -1
            if self._regular and self._file is not None:
                self._left.remember(file, attempt.adopted)
                self._left.remember(file, _cut(file, attempt.wrote))
            raise
        self.written += part.count - count
        self._parts.bound()

    def _append(self, file: int, part: Part, chunk: bytes, attempt: _Attempt) -> None:
        """Write one chunk. Lines that are in the file since before a restart are not written again."""
        if not self._regular:
            self._put(file, chunk, 0, attempt)
            part.index.add(part.size, chunk)
            return
        fresh = bytearray()
        for piece in lines_of(chunk) if self._left else (chunk,):
            place = self._left.adopt(file, piece)
            if place is None:
                fresh += piece
                continue
            attempt.adopted.append(Extent(place, place + len(piece)))
            if fresh:
                self._append_new(file, part, bytes(fresh), attempt)
                fresh.clear()
            part.index.add(place, piece)
        if fresh:
            self._append_new(file, part, bytes(fresh), attempt)

    def _append_new(self, file: int, part: Part, data: bytes, attempt: _Attempt) -> None:
        """Append `data`, and note its place. Raises OSError if another program wrote between two parts of one record."""
        size = os.fstat(file).st_size
        within = bool(attempt.wrote) and not self._ends_line
        gap = b""
        if size != self._at:
            self._check_others(file, size)
            gap = b"\n" if size and not within and read_at(file, size - 1, 1) != b"\n" else b""
        noted = size + len(gap)
        self._log.note(part.inode, noted, data)
        known = len(attempt.wrote)
        self._put(file, gap + data, len(gap), attempt)
        if len(joined(attempt.wrote[known - within :])) > 1:
            raise OSError(f"{self._path}: another program wrote into the middle of a result")
        self._at = end = attempt.wrote[-1].end
        self._ends_line = data.endswith(b"\n")
        tail = data[-_TAIL:]
        self._last = (end - len(tail), len(tail), crc32(tail))
        if (start := end - len(data)) != noted:
            self._log.note(part.inode, start, data)
        part.index.add(start, data)

    def _put(self, file: int, data: bytes, gap: int, attempt: _Attempt) -> None:
        """Write bytes, the first `gap` of which are no result, and note where each part of them is. Raises OSError."""
        rest = memoryview(data)
        while rest:
            done = os.write(file, rest)
            rest = rest[done:]
            if self._regular:
                end = os.lseek(file, 0, os.SEEK_CUR)
                attempt.wrote.append(Extent(end - done + gap, end))
                gap = 0

    def _check_others(self, file: int, size: int) -> None:
        """Another program wrote to the file: check that our last record is still there. Raises OSError if it is not."""
        if not self._intact(file, size):
            self._lose("cut or replaced by another program: the results before are lost")
            raise OSError(f"{self._path}: another program has cut the file")

    def _intact(self, file: int, size: int) -> bool:
        """Whether the last bytes that this sink wrote are in the file, which has `size` bytes."""
        start, length, crc = self._last
        return size >= start + length and crc32(read_at(file, start, length)) == crc

    def place(self, order: int) -> Place | None:
        """Return the place of the `order`-th record, from 1 on; None if there is no such record, or if it is gone."""
        return self._parts.place(order) if self._regular else None

    def prepare(self) -> dict[str, Any] | None:
        """Make the file and its name outlast a loss of power, and return the place; None if the file is a device or a pipe.

        Raises Fenced if the disk refuses, because then it is unknown which part of the file is on the disk.
        """
        file = self._opened()
        if not self._regular:
            return None
        if not self._intact(file, os.fstat(file).st_size):
            self._lose("cut or replaced by another program: the results before are lost")
            file = self._opened()
        self._sync(file)
        if self._lost is not None:
            raise Fenced(self._lost)
        if self._renamed:
            Disk().sync_folder(self._path.parent)
            self._renamed = False
        _, inode, first, begin, _, size, runs = self._parts.last.saved()
        return {
            "inode": inode,
            "size": size,
            "tail": _tail(file, size),
            "written": self.written,
            "first": first,
            "begin": begin,
            "next": self._names.following(),
            "runs": runs,
            "aside": self._parts.older(),
            "boot": boot(),
        }

    def commit(self, checkpoint: int) -> None:  # noqa: ARG002  # the place is in the checkpoint
        """Forget the writes that no restart takes back any more."""
        with suppress(OSError):  # the log stays long until the next checkpoint
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
        self._left.clear()
        self._parts, self._lost, self.written, self._renamed = Parts(), None, 0, True
        if place is None:
            return
        self._parts = Parts(part_of(self._path.with_name(str(saved[0])), saved) for saved in place["aside"])
        self.written = int(place["written"])
        found = self._find(place)
        if found is None:
            self._on_error(f"{self._path}: the records before the checkpoint cannot be found: a new file is begun")
            self._remember_present()
            return
        found = self._named_again(found)
        first, begin, size = (int(place[name]) for name in ("first", "begin", "size"))
        file = os.open(found, os.O_RDWR)
        try:
            self._take_back(file, found, place)
            os.fsync(file)
            inode = os.fstat(file).st_ino
        finally:
            os.close(file)
        Disk().sync_folder(self._path.parent)
        more = [place["runs"]] if "runs" in place else []
        self._parts.add(part_of(found, [found.name, inode, first, begin, self.written - first, size, *more]))
        length = min(size, _TAIL)
        self._last = (size - length, length, place["tail"])

    def _named_again(self, found: Path) -> Path:
        """Give the file of the checkpoint its name back, unless another program has written to younger files."""
        if found == self._path:
            return found
        younger = [each for each in self._names.present() if self._names.number(each) > self._names.number(found)]
        if all(self._log.covers(each) for each in younger):
            for each in younger:
                each.unlink()
            return found.replace(self._path)
        self._on_error(f"{found} keeps its name: another program has written to the files after it")
        self._remember_present()
        return found

    def _remember_present(self) -> None:
        """Remember our lines in the present file, which was begun after the checkpoint: equal results are not written again."""
        if self._path.is_file():
            with self._path.open("rb") as file:
                inode = os.fstat(file.fileno()).st_ino
                self._left.remember(file.fileno(), self._log.ours(self._path, inode, 0))

    def _take_back(self, file: int, path: Path, place: dict[str, Any]) -> None:
        """Cut off our bytes at the end of the checkpoint's file. Remember our lines before bytes of other programs: they stay.

        The log may lack writes if the machine was restarted since, and earlier versions had none: any equal line counts then.
        """
        size = int(place["size"])
        left = _cut(file, self._log.ours(path, int(place["inode"]), size))
        if not self._log.there or place.get("boot") != boot():
            left.append(Extent(size, min(size + _MOST_UNLOGGED, os.fstat(file).st_size)))
        if path == self._path:
            self._left.remember(file, left)

    def close(self) -> None:
        """Close the file, and release its lock."""
        self._let_go()
        if self._lock is not None:
            self._lock.close()

    def _own(self) -> None:
        """Lock the file by a hidden file beside it, which survives renaming. Raises OSError if another process has the lock.

        Two processes on one file would write each line twice, and each would cut off the lines of the other one. Devices and
        pipes need no lock. A lock whose file was deleted keeps no process away, so it is taken again.
        """
        path = self._path.with_name(f".{self._path.name}.lock")
        if self._lock is not None and _is_at(self._lock.fileno(), path):
            return
        if self._path.exists() and not self._path.is_file():
            return
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
        except OSError:  # the first write reports it, if it still fails then
            return
        try:
            lock = locked(path)
        except BlockingIOError as error:
            raise OSError(f"{self._path}: process {error} writes to this file: give each service a file of its own") from None
        except OSError as error:
            if error.errno in READ_ONLY:  # the folder; the file itself may be writable
                return
            raise
        if self._lock is not None:
            self._lock.close()
        self._lock = lock

    def _opened(self) -> int:
        """Return the file to append to. A new one is begun if it is full, or if another program has renamed or deleted it."""
        if self._file is not None and self._regular and not _is_at(self._file, self._path):
            self._lose("deleted or replaced: a new file is begun")
        file = self._open() if self._file is None else self._file
        if self._full(file):
            aside = self._path.with_name(f"{self._path.name}.{self._names.following()}")
            self._sync(file)
            self._let_go()
            self._path.rename(aside)
            self._parts.last.path = aside
            self._left.clear()
            file = self._open()
        return file

    def _full(self, file: int) -> bool:
        """Whether a new file is due. Lines that a restart has left can be adopted in this file only: they may delay that."""
        if self._max_bytes is None or not self._regular:
            return False
        return os.fstat(file).st_size >= self._max_bytes * (2 if self._left else 1)

    def _open(self) -> int:
        """Open the path. Its records continue the last part, or begin a part if the file is another one."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._own()
        special = self._path.exists() and not self._path.is_file()
        self._file = file = os.open(self._path, (os.O_WRONLY if special else os.O_RDWR) | os.O_CREAT | os.O_APPEND, 0o666)
        state = os.fstat(file)
        self._regular = stat.S_ISREG(state.st_mode)
        self._at = -1
        known = self._parts.last if self._parts and self._parts.last.path == self._path else None
        if known is not None and known.inode == state.st_ino and self._intact(file, state.st_size):
            return file
        if known is not None:
            self._on_error(f"{self._path} was replaced or cut by another program: the results before are lost")
            self._left.clear()
            self._parts.pop()
        self._renamed, self._last = True, (0, 0, 0)
        size = state.st_size if self._regular else 0
        self._parts.add(Part(self._path, state.st_ino, self.written, size, LineIndex()))
        return file

    def _lose(self, how: str) -> None:
        """Report what happened to the file, and forget its records: the next write opens the path again."""
        self._on_error(f"{self._path} was {how}")
        self._let_go()
        self._left.clear()
        self._parts.pop()

    def _let_go(self) -> None:
        """Close the file and the log. The next record opens them again."""
        file, self._file = self._file, None
        self._renamed = True
        self._log.close()
        if file is not None:
            os.close(file)

    def _sync(self, file: int) -> None:
        """Make a file's bytes safe. A failure is remembered, because a second fsync would report success."""
        try:
            os.fsync(file)
            self._log.sync()
        except OSError as error:
            self._lost = f"{self._path}: {error.strerror}: records written since the last checkpoint may be lost"

    def _find(self, place: dict[str, Any]) -> Path | None:
        """Return the file of the checkpoint, under its present name; None if no file is certainly that one."""
        alike = [
            path
            for path in self._names.present()
            if (path == self._path or self._names.number(path) >= place["next"])
            and path.stat().st_size >= place["size"]
            and _tail_of(path, place["size"]) == place["tail"]
        ]
        same = [path for path in alike if path.stat().st_ino == place["inode"]]
        copied = [path for path in alike if path == self._path and place["size"]]
        return next(iter([*same, *copied]), None)


def boot() -> str:
    """Return the identity of this start of the machine; empty if the system has none."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _is_at(file: int, path: Path) -> bool:
    """Whether an open file is still the one at `path`."""
    try:
        return os.path.samestat(os.fstat(file), path.stat())
    except FileNotFoundError:
        return False


def _tail(file: int, size: int) -> int:
    """Return a checksum of the last bytes before `size`: it distinguishes a file that has grown from another file."""
    return crc32(read_at(file, max(0, size - _TAIL), min(size, _TAIL)))


def _tail_of(path: Path, size: int) -> int:
    """Return `_tail` of the file at `path`."""
    with path.open("rb") as file:
        return _tail(file.fileno(), size)


def _cut(file: int, ours: Sequence[Extent]) -> list[Extent]:
    """Cut our bytes off the end of an open file. Return our other bytes: another program's follow them."""
    rest = joined(ours)
    if rest and rest[-1].end == os.fstat(file).st_size:
        os.ftruncate(file, rest.pop().start)
    return rest


def _chunks(blocks: Iterator[bytes], *, whole_lines: bool) -> Iterator[bytes]:
    """Join blocks, so that most records are written by one call: no other program can write between its bytes then.

    With `whole_lines` each chunk ends with a line, however long that is.
    """
    chunk = bytearray()
    for block in blocks:
        chunk += block
        if len(chunk) < _CHUNK:
            continue
        end = chunk.rfind(b"\n", len(chunk) - len(block)) + 1 if whole_lines else len(chunk)
        if end:
            yield bytes(chunk[:end])
            del chunk[:end]
    if chunk:
        yield bytes(chunk)


def file_among(sinks: Iterable[Sink]) -> FileSink | None:
    """Return the first file sink among `sinks`, in which a record can be read again."""
    return next((sink for sink in sinks if isinstance(sink, FileSink)), None)

"""The sink that writes results to a file, starts a new file at a size, and takes results back to a checkpoint's place.

Used by the publisher. A record can be read again by its number. Other programs may append to the same file: their bytes are
never cut off. Other programs may also rename, delete or cut the file: the results go on in a new file, or at the new end.
"""

import os
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from actors.durability.disk import Disk
from actors.replies import Place
from actors.sinks.file.extents import Extent, Tail, cut
from actors.sinks.file.left_lines import LeftLines
from actors.sinks.file.line_index import LineIndex
from actors.sinks.file.lock import FileLock
from actors.sinks.file.names import Names
from actors.sinks.file.open_file import FileCutError, OpenFile
from actors.sinks.file.parts import Part, Parts, part_of
from actors.sinks.file.write_log import WriteLog
from actors.sinks.sink import Fenced, Sink

_MOST_UNLOGGED = 1 << 24
"""Bytes behind a checkpoint's place in which results are looked for without the log."""

_CUT = "cut or replaced by another program: the results before are lost"


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
        self._file: OpenFile | None = None
        self._log = WriteLog(path.with_name(f".{path.name}.log"))
        self._lock = FileLock(path)
        self._names = Names(path)
        self._left = LeftLines()
        self._parts = Parts()
        self._renamed = True
        self._lost: str | None = None

    def write(self, blocks: Iterator[bytes]) -> None:
        """Append, and hand over to the operating system. If that fails, no record of `blocks` counts as written."""
        file = self._opened()
        part = self._parts.last
        count = part.count
        try:
            file.write(blocks, part)
        except FileCutError:
            self._lose(_CUT)
            raise
        self.written += part.count - count
        self._parts.bound()

    def place(self, order: int) -> Place | None:
        """Return the place of the `order`-th record, from 1 on; None if there is no such record, or if it is gone."""
        return self._parts.place(order) if self._file is None or self._file.regular else None

    def prepare(self) -> dict[str, Any] | None:
        """Make the file and its name outlast a loss of power, and return the place; None if the file is a device or a pipe.

        Raises Fenced if the disk refuses, because then it is unknown which part of the file is on the disk.
        """
        file = self._opened()
        if not file.regular:
            return None
        if not file.holds(self._parts.last.tail):
            self._lose(_CUT)
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
            "tail": file.tail(size).crc,
            "written": self.written,
            "first": first,
            "begin": begin,
            "next": self._names.following(),
            "runs": runs,
            "aside": self._parts.older(),
            "left": [list(each) for each in self._left.extents],
            "boot": boot(),
        }

    def commit(self, checkpoint: int) -> None:  # noqa: ARG002  # the place is in the checkpoint
        """Forget the writes that no restart takes back any more."""
        with suppress(OSError):  # the log stays long until the next checkpoint
            self._log.shorten()

    def look(self) -> None:
        """Lock the file. A sink that waits for another process must not disturb the stream's other outputs."""
        self._lock.take()

    def close(self) -> None:
        """Close the file, and release its lock."""
        self._let_go()
        self._lock.close()

    # A restart -------------------------------------------------------------------------------------------------------

    def restore(self, place: Any | None) -> None:
        """Take back the later records. If the file was renamed since, it gets its name back, and its successors are deleted.

        Files to which another program has written keep their names and their bytes.
        """
        self._lock.take()
        self._let_go()
        self._left.clear()
        self._parts, self._lost, self.written = Parts(), None, 0
        if place is None:
            return
        self._parts = Parts(part_of(self._path.with_name(str(saved[0])), saved) for saved in place["aside"])
        self.written = int(place["written"])
        found = self._names.find(place)
        if found is None:
            self._on_error(f"{self._path}: the records before the checkpoint cannot be found: a new file is begun")
            self._remember_present()
            return
        self._continue_in(self._named_again(found), place)

    def _continue_in(self, found: Path, place: dict[str, Any]) -> None:
        """Take back what was written to the checkpoint's file after the checkpoint. The file becomes the last part."""
        first, begin, size = (int(place[name]) for name in ("first", "begin", "size"))
        with found.open("r+b") as file:
            self._take_back(file.fileno(), found, place)
            os.fsync(file.fileno())
            inode = os.fstat(file.fileno()).st_ino
        Disk().sync_folder(self._path.parent)
        more = [place["runs"]] if "runs" in place else []
        part = part_of(found, [found.name, inode, first, begin, self.written - first, size, *more])
        part.tail = Tail.before(size, place["tail"])
        self._parts.add(part)

    def _named_again(self, found: Path) -> Path:
        """Give the file of the checkpoint its name back, unless another program has written to younger files."""
        if found == self._path:
            return found
        younger = self._names.younger(found)
        if all(self._log.covers(each) for each in younger):
            for each in younger:
                each.unlink()
            return found.replace(self._path)
        self._on_error(f"{found} keeps its name: another program has written to the files after it")
        self._remember_present()
        return found

    def _take_back(self, file: int, path: Path, place: dict[str, Any]) -> None:
        """Cut off our bytes at the end of the checkpoint's file. Remember our lines before bytes of other programs: they stay.

        The log may lack writes if the machine was restarted since, and earlier versions had none: any equal line counts then.
        """
        size = int(place["size"])
        left = cut(file, self._log.ours(path, int(place["inode"]), size))
        if not self._log.there or place.get("boot") != boot():
            left.append(Extent(size, min(size + _MOST_UNLOGGED, os.fstat(file).st_size)))
        if path == self._path:
            self._left.remember(file, [*left, *(Extent(*each) for each in place.get("left", ()))])

    def _remember_present(self) -> None:
        """Remember our lines in the present file, which was begun after the checkpoint: equal results are not written again."""
        if self._path.is_file():
            with self._path.open("rb") as file:
                inode = os.fstat(file.fileno()).st_ino
                self._left.remember(file.fileno(), self._log.ours(self._path, inode, 0))

    # The open file ---------------------------------------------------------------------------------------------------

    def _opened(self) -> OpenFile:
        """Return the file to append to. A new one is begun if it is full, or if another program has renamed or deleted it."""
        if self._file is not None and not self._file.there:
            self._sync(self._file)  # a renamed file keeps its results, and the next checkpoint counts them
            self._lose("deleted or replaced: a new file is begun")
        file = self._file or self._open()
        if self._full(file):
            aside = self._path.with_name(f"{self._path.name}.{self._names.following()}")
            self._sync(file)
            self._let_go()
            self._path.rename(aside)
            self._parts.last.path = aside
            self._left.clear()
            file = self._open()
        return file

    def _full(self, file: OpenFile) -> bool:
        """Whether a new file is due. Lines that a restart has left can be adopted in this file only: they may delay that."""
        if self._max_bytes is None or not file.regular:
            return False
        return file.size >= self._max_bytes * (2 if self._left else 1)

    def _open(self) -> OpenFile:
        """Open the path. Its records continue the last part, or begin a part if the file is another one."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._lock.take()
        self._file = file = OpenFile(self._path, self._log, self._left)
        known = self._parts.last if self._parts and self._parts.last.path == self._path else None
        if known is not None and known.inode == file.inode and file.holds(known.tail):
            return file
        if known is not None:
            self._on_error(f"{self._path} was replaced or cut by another program: the results before are lost")
            self._left.clear()
            self._parts.pop()
        self._renamed = True
        self._parts.add(Part(self._path, file.inode, self.written, file.size, LineIndex()))
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
            file.close()

    def _sync(self, file: OpenFile) -> None:
        """Make a file's bytes safe. A failure is remembered, because a second fsync would report success."""
        try:
            file.sync()
            self._log.sync()
        except OSError as error:
            self._lost = f"{self._path}: {error.strerror}: records written since the last checkpoint may be lost"


def boot() -> str:
    """Return the identity of this start of the machine; empty if the system has none."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def file_among(sinks: Iterable[Sink]) -> FileSink | None:
    """Return the first file sink among `sinks`, in which a record can be read again."""
    return next((sink for sink in sinks if isinstance(sink, FileSink)), None)

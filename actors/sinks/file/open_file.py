"""The output file while it is open: results are appended to it, and a write that fails is taken back.

Used by the file sink, on its thread. Each call works on the open file, whatever file has its path meanwhile.
"""

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from actors.sinks.file.extents import Extent, Tail, cut, is_at, joined, lines_of, read_at
from actors.sinks.file.left_lines import LeftLines
from actors.sinks.file.parts import Part
from actors.sinks.file.write_log import WriteLog

_CHUNK = 1 << 22


class FileCutError(OSError):
    """Another program has cut the file: the last result in it is gone."""


@dataclass(slots=True)
class _Attempt:
    """What one call of `write` has done to the file: the bytes that it wrote, and the lines that it adopted."""

    wrote: list[Extent] = field(default_factory=list)
    adopted: list[Extent] = field(default_factory=list)
    ends_line: bool = True


class OpenFile:
    """Opens `path`, which is created if absent. Each write is noted in `log`. Lines of `left` are not written again.

    Raises OSError.
    """

    def __init__(self, path: Path, log: WriteLog, left: LeftLines) -> None:
        special = path.exists() and not path.is_file()
        self._path = path
        self._file = os.open(path, (os.O_WRONLY if special else os.O_RDWR) | os.O_CREAT | os.O_APPEND, 0o666)
        self._log = log
        self._left = left
        self._at = -1
        state = os.fstat(self._file)
        self.inode = state.st_ino
        self.regular = stat.S_ISREG(state.st_mode)

    @property
    def size(self) -> int:
        """The present length of the file; 0 for a device and a pipe."""
        return os.fstat(self._file).st_size if self.regular else 0

    @property
    def there(self) -> bool:
        """Whether the path still leads to this file, or to a device or a pipe."""
        return not self.regular or is_at(self._file, self._path)

    def holds(self, tail: Tail) -> bool:
        """Whether the file still has these bytes."""
        return tail.is_in(self._file)

    def sync(self) -> None:
        """Make the file's bytes safe. Raises OSError."""
        os.fsync(self._file)

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)

    def tail(self, size: int) -> Tail:
        """Return the last bytes before `size`."""
        return Tail.read(self._file, size)

    def write(self, blocks: Iterator[bytes], part: Part) -> None:
        """Append whole lines, and note them in `part`. Raises FileCutError, OSError, and each error of `blocks`.

        If that fails, none of the lines is noted. Our bytes at the end of the file are cut off then. Our lines before bytes of
        other programs stay, and are left.
        """
        before, tail = part.index.mark(), part.tail
        attempt = _Attempt()
        try:
            for chunk in _chunks(blocks, whole_lines=bool(self._left)):
                self._append(chunk, part, attempt)
        except Exception as error:  # the disk's or the view's: either way none of the blocks stays
            part.index.back_to(before)
            part.tail = tail
            self._at = -1
            if self.regular and not isinstance(error, FileCutError):
                self._left.remember(self._file, attempt.adopted)
                self._leave(cut(self._file, attempt.wrote))
            raise

    def _leave(self, ours: Sequence[Extent]) -> None:
        """Remember our lines in bytes that cannot be cut off. The log has them as a part of a write: note them as they are."""
        self._left.remember(self._file, ours)
        with suppress(OSError):  # the disk is full: after a kill these lines count as another program's
            for start, end in ours:
                self._log.note(self.inode, start, read_at(self._file, start, end - start))

    def _append(self, chunk: bytes, part: Part, attempt: _Attempt) -> None:
        """Write one chunk. Lines that are in the file since before a restart are not written again."""
        if not self.regular:
            self._put(chunk, 0, attempt)
            part.index.add(part.size, chunk)
            return
        if not self._left:
            self._append_new(chunk, part, attempt)
            return
        fresh = bytearray()
        for piece in lines_of(chunk):
            place = self._left.adopt(self._file, piece)
            if place is None:
                fresh += piece
                continue
            attempt.adopted.append(Extent(place, place + len(piece)))
            if fresh:
                self._append_new(bytes(fresh), part, attempt)
                fresh.clear()
            part.index.add(place, piece)
        if fresh:
            self._append_new(bytes(fresh), part, attempt)

    def _append_new(self, data: bytes, part: Part, attempt: _Attempt) -> None:
        """Append `data`, and note its place. Raises OSError if another program wrote between two parts of one record."""
        size = self.size
        within = bool(attempt.wrote) and not attempt.ends_line
        gap = b""
        if size != self._at:  # another program wrote to the file, or it was opened just now
            if not self.holds(part.tail):
                raise FileCutError(f"{self._path}: another program has cut the file")
            gap = b"\n" if size and not within and read_at(self._file, size - 1, 1) != b"\n" else b""
        noted = size + len(gap)
        self._log.note(part.inode, noted, data)
        known = len(attempt.wrote)
        self._put(gap + data, len(gap), attempt)
        if len(joined(attempt.wrote[known - within :])) > 1:
            raise OSError(f"{self._path}: another program wrote into the middle of a result")
        self._at = end = attempt.wrote[-1].end
        attempt.ends_line = data.endswith(b"\n")
        part.tail = Tail.of(data, end)
        if (start := end - len(data)) != noted:
            self._log.note(part.inode, start, data)
        part.index.add(start, data)

    def _put(self, data: bytes, gap: int, attempt: _Attempt) -> None:
        """Write bytes, the first `gap` of which are no result, and note where each part of them is. Raises OSError."""
        rest = memoryview(data)
        while rest:
            done = os.write(self._file, rest)
            rest = rest[done:]
            if self.regular:
                end = os.lseek(self._file, 0, os.SEEK_CUR)
                attempt.wrote.append(Extent(end - done + gap, end))
                gap = 0


def _chunks(blocks: Iterator[bytes], *, whole_lines: bool) -> Iterator[bytes]:
    """Join blocks, so that most records are written by one call: no other program can write between its bytes then.

    With `whole_lines` each chunk ends with a line, however long that is.
    """
    parts: list[bytes] = []
    size = 0
    for block in blocks:
        parts.append(block)
        size += len(block)
        if size < _CHUNK:
            continue
        end = block.rfind(b"\n") + 1 if whole_lines else len(block)
        if end:
            parts[-1] = block[:end]
            yield b"".join(parts)
            parts, size = [block[end:]], len(block) - end
    if size:
        yield b"".join(parts)

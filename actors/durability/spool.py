"""Blocks of bytes in an anonymous temporary file, for data of a view that would take too much memory.

Made by the composition root and given to views. The file has no name, and the kernel deletes it when the process ends.
"""

import os
import tempfile
from bisect import bisect_left, insort
from collections import deque
from pathlib import Path
from threading import Lock
from typing import IO, NamedTuple


class Handle(NamedTuple):
    """The place of a block in the file, in bytes. Opaque to its holder."""

    offset: int
    size: int


class Spool:
    """Keeps blocks in one file in `folder`, by default the system's temporary folder. Any thread may use it.

    The space of freed blocks is used again, best fit first, or cut off at the end of the file. The first `put` makes the file.

    >>> spool = Spool()
    >>> handle = spool.put(b"numbers")
    >>> spool.get(handle), spool.nbytes
    (b'numbers', 7)
    >>> spool.free(handle)
    >>> spool.nbytes
    0
    >>> spool.close()
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._lock = Lock()
        self._file: IO[bytes] | None = None
        self._closed = False
        self._end = 0
        self._freed: deque[Handle] = deque()
        # Gaps between blocks, never adjacent: by size, and by either end.
        self._gaps: list[tuple[int, int]] = []
        self._gap_from: dict[int, int] = {}
        self._gap_until: dict[int, int] = {}

    @property
    def nbytes(self) -> int:
        """Bytes of the file, gaps included."""
        self._drain()
        return self._end

    def put(self, data: bytes | bytearray | memoryview) -> Handle:
        """Write `data` and return its handle. Blocks for the write.

        Raises OSError when there is no room; ValueError after `close`.
        """
        self._drain()
        with self._lock:
            if self._closed:
                raise ValueError("the spool is closed")
            if self._file is None:
                self._file = tempfile.TemporaryFile(buffering=0, dir=self._folder)  # noqa: SIM115  # closed by `close`
            number = self._file.fileno()
            handle = Handle(self._reserve(len(data)), len(data))
        try:
            written = 0
            while written < handle.size:
                written += os.pwrite(number, memoryview(data)[written:], handle.offset + written)
        except BaseException:  # whatever stops the write, its space is free again, and the caller gets the error
            self.free(handle)
            raise
        return handle

    def get(self, handle: Handle) -> bytes:
        """Return the bytes of a block. Blocks for the read. Must not run while another thread calls `close`.

        Raises OSError if the file cannot be read; ValueError after `close`.
        """
        if self._closed or self._file is None:
            raise ValueError("the spool is closed")
        parts, at, end = [], handle.offset, handle.offset + handle.size
        while at < end:
            part = os.pread(self._file.fileno(), end - at, at)
            if not part:
                raise OSError(f"the spool ends at {at} bytes, {end} are expected")
            parts.append(part)
            at += len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def free(self, handle: Handle) -> None:
        """Free a block, once only. Never waits, because the garbage collector may call it while the lock is held."""
        self._freed.append(handle)
        self._drain()

    def close(self) -> None:
        """Close the file. Blocks may still be freed later."""
        with self._lock:
            self._closed = True
            if self._file is not None:
                self._file.close()

    def _drain(self) -> None:
        """Take back the freed blocks, unless another thread holds the lock: then that thread does, at its next call."""
        while self._freed and self._lock.acquire(blocking=False):
            try:
                while self._freed:
                    self._release(self._freed.popleft())
            finally:
                self._lock.release()

    def _reserve(self, size: int) -> int:
        """Return the offset of `size` free bytes: in the smallest gap that is large enough, or at the end."""
        place = bisect_left(self._gaps, (size, 0))
        if place == len(self._gaps) or not size:
            self._end += size
            return self._end - size
        room, offset = self._gaps[place]
        self._remove_gap(offset, room)
        if room > size:
            self._add_gap(offset + size, room - size)
        return offset

    def _release(self, handle: Handle) -> None:
        """Turn a block into a gap and join it with adjacent gaps, or cut it off at the end of the file. Cost: O(gaps)."""
        offset, size = handle
        if not size or self._closed or self._file is None:
            return
        if (before := self._gap_until.get(offset)) is not None:
            self._remove_gap(before, offset - before)
            offset, size = before, size + offset - before
        if (room := self._gap_from.get(offset + size)) is not None:
            self._remove_gap(offset + size, room)
            size += room
        if offset + size == self._end:
            self._end = offset
            self._file.truncate(self._end)
        else:
            self._add_gap(offset, size)

    def _add_gap(self, offset: int, size: int) -> None:
        insort(self._gaps, (size, offset))
        self._gap_from[offset] = size
        self._gap_until[offset + size] = offset

    def _remove_gap(self, offset: int, size: int) -> None:
        del self._gaps[bisect_left(self._gaps, (size, offset))]
        del self._gap_from[offset]
        del self._gap_until[offset + size]

    def _check(self) -> None:
        """Assert the invariants: gaps are not adjacent, lie before the end, and are indexed by size and by either end."""
        ordered = sorted((offset, size) for size, offset in self._gaps)
        assert dict(ordered) == self._gap_from
        assert {offset + size: offset for offset, size in ordered} == self._gap_until
        following = [offset for offset, _ in ordered[1:]] + [self._end]
        assert all(offset + size < after for (offset, size), after in zip(ordered, following, strict=False))

"""The reader of lines, from a file, plain or gzip, or from standard input.

Used by the front end as Kafka is: one partition, 0, whose offsets count lines. It never waits longer than a poll may take.
"""

import gzip
import os
import selectors
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

import numpy as np
from numpy.typing import NDArray

from actors.timeline.batch import Times

LONGEST = 128 << 20
"""Bytes of the longest line that is read; of a longer one this much is kept, to be refused."""

_BLOCK = 1 << 19


@dataclass(frozen=True, slots=True)
class LinePoll:
    """Some lines in a row: `first` is the number of the first one, `at_ms` when they were read."""

    values: list[bytes | None]
    first: int
    at_ms: int
    ended: frozenset[int]
    epoch: int

    @property
    def partitions(self) -> NDArray[np.unsignedinteger]:
        """Return partition 0 for every line."""
        return np.zeros(len(self.values), np.uint8)

    def offsets(self) -> Times:
        """Return the number of each line, from 0."""
        return np.arange(self.first, self.first + len(self.values))

    def timestamps(self) -> Times:
        """Return when the lines were read, ms since 1970."""
        return np.full(len(self.values), self.at_ms)

    def key_of(self, place: int) -> None:
        """Return None: a line has no key."""


class Stream(Protocol):
    """Bytes that come when they come."""

    def read(self, timeout_s: float) -> bytes | None:
        """Return what is there, at most 512 KiB, within `timeout_s`; nothing at the end, None where nothing came in time."""


class PlainStream:
    """A file, read in blocks: it never keeps anybody waiting.

    Raises OSError where it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        with path.open("rb") as looking:
            packed = looking.read(2) == b"\x1f\x8b"
        self._file: BinaryIO = gzip.GzipFile(path) if packed else path.open("rb")  # type: ignore[assignment]  # it reads alike

    def read(self, timeout_s: float) -> bytes:  # noqa: ARG002  # the protocol's
        """Return the next block."""
        try:
            return self._file.read(_BLOCK)
        except EOFError as error:  # a gzip file that was cut off
            raise OSError(str(error)) from error

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class PipeStream:
    """A pipe, a terminal or a file behind a descriptor, read as bytes come."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._selector: selectors.BaseSelector | None = selectors.DefaultSelector()
        try:
            self._selector.register(descriptor, selectors.EVENT_READ)
        except (PermissionError, ValueError):  # a plain file is always ready, and cannot be waited for
            self._selector.close()
            self._selector = None

    def read(self, timeout_s: float) -> bytes | None:
        """Return what is there."""
        if self._selector is not None and not self._selector.select(timeout_s):
            return None
        return os.read(self._descriptor, _BLOCK)

    def close(self) -> None:
        """Stop waiting for the descriptor; it stays open."""
        if self._selector is not None:
            self._selector.close()


class Splitter:
    """Cuts bytes into lines. A line longer than `LONGEST` is cut off; an empty last line is none."""

    def __init__(self) -> None:
        self._held = bytearray()

    def split(self, block: bytes) -> list[bytes]:
        """Return the lines that `block` completes, without line feeds."""
        *lines, rest = block.split(b"\n")
        if lines:
            lines[0] = self._joined(lines[0])
        self._held += rest[: LONGEST - len(self._held)]
        return lines

    def end(self) -> list[bytes]:
        """Return the last line, where it had no line feed."""
        last = self._joined(b"")
        return [last] if last else []

    def _joined(self, end: bytes) -> bytes:
        """Return what is held, and `end`. A huge line is handed on as it is: a copy would take its memory twice."""
        if not self._held:
            return end[:LONGEST]
        held, self._held = self._held, bytearray()
        held += end[: LONGEST - len(held)]
        return held if len(held) > _BLOCK else bytes(held)  # type: ignore[return-value]  # it reads as bytes do


class LineSource:
    """Reads lines of a stream that `connect` opens anew for each time that it is read from the start.

    What was read before `open` at an offset is skipped, where the stream can be read again. One that cannot goes on, at the
    earliest with the last poll.
    """

    def __init__(self, connect: Callable[[], Stream], *, again: bool, on_error: Callable[[str], None]) -> None:
        self._connect = connect
        self._again = again
        self._on_error = on_error
        self._stream: Stream | None = None
        self._splitter = Splitter()
        self._lines: list[bytes] = []
        self._place = 0
        self._next = 0
        self._silent = False
        self.finished = False
        self.endless = False
        self.epoch = 0

    def open(self, offsets: Mapping[int, int]) -> bool:
        """Begin at a line; False, with the reason told, where the stream cannot be opened."""
        wanted = offsets.get(0, 0)
        back = self._next - wanted
        if self._stream is not None and 0 <= back <= self._place:  # lines that were polled, and not taken in
            self._place -= back
            self._next = wanted
        if self._stream is None or (self._again and wanted != self._next):
            self.close()
            try:
                self._stream = self._connect()
            except OSError as error:
                self._on_error(str(error))
                return False
            self._splitter, self._lines, self._place, self._next, self.finished = Splitter(), [], 0, 0, False
        while self._again and self._next < wanted and not self.finished:
            self.poll(wanted - self._next, 0.1)
        return True

    def extend(self) -> bool:
        """Do nothing: there is one partition."""
        return True

    def poll(self, count: int, timeout_s: float) -> LinePoll:
        """Read on. Cost: 0.1 us a line.

        Raises OSError where the stream breaks.
        """
        if self._place >= len(self._lines) and not self.finished:
            self._fill(timeout_s)
        values: list[bytes | None] = self._lines[self._place : self._place + count]  # type: ignore[assignment]
        first = self._next
        self._place += len(values)
        self._next += len(values)
        at_end = self._place >= len(self._lines) and (self.finished or self._silent)
        return LinePoll(values, first, time.time_ns() // 10**6, frozenset({0}) if at_end else frozenset(), self.epoch)

    def only(self, partition: int | None) -> None:
        """Do nothing: there is one partition."""

    def offsets(self) -> dict[int, int]:
        """Return the number of the next line."""
        return {0: self._next}

    def lag(self) -> dict[int, int]:
        """Return the lines that are read from the stream and not polled yet; how many follow is not known."""
        return {0: len(self._lines) - self._place}

    def commit(self) -> None:
        """Do nothing: nobody else follows."""

    def close(self) -> None:
        """Let go of the stream."""
        closing = getattr(self._stream, "close", None)
        if closing is not None and self._again:
            closing()
            self._stream = None

    def _fill(self, timeout_s: float) -> None:
        assert self._stream is not None, "open the source before reading"
        block = self._stream.read(timeout_s)
        self._silent = block is None
        if block is None:
            return
        self._lines = self._splitter.split(block) if block else self._splitter.end()
        self._place = 0
        self.finished = not block


def file_source(path: Path, *, on_error: Callable[[str], None]) -> LineSource:
    """Return a source of the lines of a file, read once to its end."""
    return LineSource(lambda: PlainStream(path), again=True, on_error=on_error)


def stdin_source(*, on_error: Callable[[str], None]) -> LineSource:
    """Return a source of the lines of standard input."""
    return LineSource(lambda: PipeStream(0), again=False, on_error=on_error)

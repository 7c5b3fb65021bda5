"""The source of lines that can be read only once, such as standard input. For files see `line_file`.

It has one partition, 0, whose offsets count lines.
"""

import time
from bisect import bisect_left
from collections.abc import Callable
from itertools import accumulate, islice
from typing import Protocol

import numpy as np

from actors.columns.values import Values
from actors.replies import Trouble
from actors.sources.line_splitter import BLOCK, Splitter
from actors.sources.pipe import PipeStream
from actors.sources.polled import Gap, Place, Polled, Reason, of_one_partition

_WAIT_S = 0.005
"""Seconds that a steady source waits for the next bytes of a poll that is not full."""


class Stream(Protocol):
    """A stream of bytes."""

    def read(self, timeout_s: float) -> bytes | None:
        """Return the next bytes, at most 512 KiB; b"" at the end, None if no byte came within `timeout_s`."""


class LineSource:
    """Reads the lines of a stream that `connect` opens. The stream cannot be read again.

    `open` can go back within the last block of lines only, or the last poll. If it should go back further, the lines between
    are a gap.

    A poll of a `steady` source is full, or the last one: its lines depend on the bytes alone, and not on when they come.
    """

    def __init__(self, connect: Callable[[], Stream], *, on_error: Callable[[str], None], steady: bool = False) -> None:
        self._connect = connect
        self._on_error = on_error
        self._steady = steady
        self._stream: Stream | None = None
        self._splitter = Splitter()
        self._lines: list[bytes] = []
        self._place = self._polled = 0
        self._next = 0
        self._silent = self._ended = False
        self._gaps: list[Gap] = []
        self._identity: str | None = None
        self._epoch = 0
        self.finished = False
        self.endless = False

    def open(self, place: Place) -> bool:
        """Continue at the next line, and count from the offset. Returns False, and reports the reason, if that fails."""
        wanted, self._epoch = place.offsets.get(0, 0), place.epoch
        if not self._back_to(wanted) and wanted != self._next:
            self._missing("interrupted", self._next - wanted if wanted < self._next else None)
            self._next = max(wanted, self._next)
        if self._stream is None:
            try:
                self._stream = self._connect()
            except OSError as error:
                self._on_error(str(error))
                return False
        return True

    def extend(self) -> bool:
        """Return True, because the one partition is always read."""
        return True

    def poll(self, count: int, timeout_s: float) -> Polled:
        """Return the next lines. Cost: 0.1 us a line. Raises OSError if the stream fails."""
        if self._steady:
            count = self._steady_count(count)
        elif self._place >= len(self._lines) and not self._ended:
            self._fill(timeout_s)
        values = self._lines[self._place : self._place + count]
        first = self._next
        self._place += len(values)
        self._polled = len(values) or self._polled
        self._next += len(values)
        self.finished = self._ended and self._place >= len(self._lines)
        at_end = self.finished or (self._place >= len(self._lines) and self._silent and not self._steady)
        at_ms = time.time_ns() // 10**6
        ended = frozenset({0}) if at_end else frozenset[int]()
        return of_one_partition(Values.of(values), first, lambda: np.full(len(values), at_ms), ended=ended, epoch=self._epoch)

    def only(self, partition: int | None) -> None:
        """Change nothing, because there is one partition."""

    def place(self) -> Place:
        """Return the place after the last poll. Its offset is the number of the next line."""
        return Place({0: self._next}, self._identity, self._epoch)

    def lag(self) -> dict[int, int]:
        """Return the number of lines that are read from the stream and not polled. The number of further lines is unknown."""
        return {0: len(self._lines) - self._place}

    def commit(self) -> None:
        """Commit nothing, because lag tools read from Kafka only."""

    def trouble(self) -> Trouble | None:
        """Return None, because each failure of a stream is raised or reported when it happens."""
        return None

    def gaps(self) -> list[Gap]:
        """Return the gaps that were found since the last call."""
        found, self._gaps = self._gaps, []
        return found

    def close(self) -> None:
        """Leave the stream open, because it could not be opened again."""

    def _back_to(self, wanted: int) -> bool:
        """Go back to line `wanted` if it is in the present block. Returns whether it is."""
        back = self._next - wanted
        if self._stream is None or not 0 <= back <= self._place:
            return False
        self._place -= back
        self._polled = 0
        self.finished = self._ended and self._place >= len(self._lines)
        self._next = wanted
        return True

    def _missing(self, reason: Reason, count: int | None = None) -> None:
        self._gaps.append(Gap(0, count, reason))
        self._on_error(f"{'an unknown number of' if count is None else count} lines are missing: {reason}")

    def _fill(self, timeout_s: float) -> None:
        assert self._stream is not None, "open the source before reading"
        block = self._stream.read(timeout_s)
        self._silent = block is None
        if block is None:
            return
        kept = self._place - self._polled if self._steady else len(self._lines)
        self._lines = self._lines[kept:] + (self._splitter.split(block) if block else self._last())
        self._place -= kept
        self._ended = not block

    def _last(self) -> list[bytes]:
        """Return the last line, at the end of the stream, if no line feed ended it."""
        return self._splitter.end()

    def _steady_count(self, count: int) -> int:
        """Read until there are `count` lines, a block of bytes, or all lines. Returns the number of lines of the poll.

        Returns 0 if the stream has no such bytes yet.
        """
        wanted = max(1, count)
        while True:
            sizes = list(accumulate(map(len, islice(self._lines, self._place, self._place + wanted))))
            full = min(wanted, bisect_left(sizes, BLOCK) + 1)
            if full <= len(sizes) or self._ended:
                return min(full, count)
            self._fill(_WAIT_S)
            if self._silent:
                return 0


def stdin_source(*, on_error: Callable[[str], None], steady: bool = False) -> LineSource:
    """Return a source of the lines of standard input."""
    return LineSource(lambda: PipeStream(0), on_error=on_error, steady=steady)

"""The source of lines that can be read only once, such as standard input. For files see `line_file`.

It has one partition, 0, whose offsets count lines.
"""

import time
from collections.abc import Callable

import numpy as np

from actors.columns.values import Values
from actors.replies import Trouble
from actors.sources.blocks import Blocks, Stream
from actors.sources.line_splitter import BLOCK, Splitter
from actors.sources.pipe import PipeStream
from actors.sources.polled import Gap, Place, Polled, Reason, of_one_partition
from actors.sources.read_ahead import ReadAhead


class LineSource:
    """Reads the lines of a stream that `connect` opens. The stream cannot be read again.

    `open` can go back within the last block of lines only. If it should go back further, the lines between are a gap.

    The lines of a poll are in one block. The blocks of a `steady` source are whole: its polls depend on the bytes alone, and
    not on when the bytes come.
    """

    def __init__(self, connect: Callable[[], Stream], *, on_error: Callable[[str], None], steady: bool = False) -> None:
        self._connect = connect
        self._on_error = on_error
        self._steady = steady
        self._blocks: Blocks | None = None
        self._splitter = Splitter()
        self._lines = self._later = Values.of([])
        self._place = self._next = 0
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
        if self._blocks is None:
            try:
                self._blocks = Blocks(self._connect(), whole=self._steady)
            except OSError as error:
                self._on_error(str(error))
                return False
        return True

    def extend(self) -> bool:
        """Return True, because the one partition is always read."""
        return True

    def rest(self, timeout_s: float) -> None:
        """See the contract: it does not wait."""

    def poll(self, count: int, timeout_s: float) -> Polled:
        """Return the next lines, of one block. Cost: 0.1 us a line. Raises OSError if the stream fails."""
        if self._place >= len(self._lines) and not self._ended:
            self._fill(timeout_s)
        values = self._lines[self._place : self._place + _even(len(self._lines) - self._place, count)]
        first = self._next
        self._place += len(values)
        self._next += len(values)
        self.finished = self._ended and self._place >= len(self._lines)
        at_end = self.finished or (self._place >= len(self._lines) and self._silent and not self._steady)
        at_ms = time.time_ns() // 10**6
        ended = frozenset({0}) if at_end else frozenset[int]()
        return of_one_partition(values, first, lambda: np.full(len(values), at_ms), ended=ended, epoch=self._epoch)

    def only(self, partition: int | None) -> None:
        """Change nothing, because there is one partition."""

    def place(self) -> Place:
        """Return the place after the last poll. Its offset is the number of the next line."""
        return Place({0: self._next}, self._identity, self._epoch)

    def lag(self) -> dict[int, int]:
        """Return the number of lines that are read from the stream and not polled. The number of further lines is unknown."""
        return {0: len(self._lines) - self._place + len(self._later)}

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
        if self._blocks is None or not 0 <= back <= self._place:
            return False
        self._place -= back
        self.finished = self._ended and self._place >= len(self._lines)
        self._next = wanted
        return True

    def _missing(self, reason: Reason, count: int | None = None) -> None:
        self._gaps.append(Gap(0, count, reason))
        self._on_error(f"{'an unknown number of' if count is None else count} lines are missing: {reason}")

    def _fill(self, timeout_s: float) -> None:
        """Read the next block. The present lines stay if the block completes no line."""
        if self._later:
            self._present(self._later)
            return
        assert self._blocks is not None, "open the source before reading"
        pieces = self._blocks.read(timeout_s)
        self._silent = pieces is None
        if pieces is None:
            return
        if lines := self._splitter.split(*pieces) if pieces else self._last():
            self._present(lines)
        self._ended = not pieces

    def _present(self, lines: Values) -> None:
        """Poll `lines` next. A huge line is polled alone, so that its memory is free when the next lines are polled."""
        alone = 1 if len(lines[0] or b"") > BLOCK else len(lines)
        self._lines, self._later, self._place = lines[:alone], lines[alone:], 0

    def _last(self) -> Values:
        """Return the last line, at the end of the stream, if no line feed ended it."""
        return Values.of(self._splitter.end())


class PipeSource(LineSource):
    """The lines of a descriptor. A pipe and a terminal are read ahead."""

    def __init__(self, descriptor: int, *, on_error: Callable[[str], None], steady: bool = False) -> None:
        self._descriptor = descriptor
        self._ahead: ReadAhead | None = None
        super().__init__(self._connected, on_error=on_error, steady=steady)

    def close(self) -> None:
        """Stop reading ahead. The bytes that were read stay, because they could not be read again."""
        if self._ahead is not None:
            self._ahead.pause()

    def _connected(self) -> Stream:
        pipe = PipeStream(self._descriptor)
        if not pipe.may_wait:
            return pipe
        self._ahead = ReadAhead(pipe)
        return self._ahead


def stdin_source(*, on_error: Callable[[str], None], steady: bool = False) -> PipeSource:
    """Return a source of the lines of standard input."""
    return PipeSource(0, on_error=on_error, steady=steady)


def _even(left: int, count: int) -> int:
    """Return the size of the next of the fewest polls of about equal size that have `left` lines, at most `count` each.

    A short last poll would look like a stream without load, see `FrontEnd`.
    """
    return min(count, -(-left // -(-left // count))) if left and count else 0

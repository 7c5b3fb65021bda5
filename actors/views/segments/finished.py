"""The finished batches of a live slice: one row for each, by epoch, in order of completion."""

from array import array

import numpy as np

from actors.columns.fields import column, integer, listed
from actors.columns.snapshot import State
from actors.timeline.span import Span
from actors.views.segments.runs.rows import COLUMNS, Rows, Table, clipped, cut, ordered


class Finished:
    """The rows of finished batches. Not thread-safe: one slice owns it."""

    __slots__ = ("_high", "_low", "_rows", "count", "numbers")

    def __init__(self) -> None:
        self._rows: dict[int, array[int]] = {}
        self._low: int | None = None
        self._high: int | None = None
        self.count = 0
        """The number of batches."""
        self.numbers = 0
        """The sum of the batches' numbers."""

    @staticmethod
    def of_state(state: State) -> "Finished":
        """Return the rows that `state` describes."""
        finished = Finished()
        for epoch, values in map(listed, listed(state)):
            rows = column(values, np.int64)
            if not rows.size or rows.size % len(COLUMNS) or (rows[2 :: len(COLUMNS)] < 0).any():
                raise ValueError(f"rows of {len(COLUMNS)} were expected, got {rows.size} numbers")
            own = array("q")
            own.frombytes(rows.tobytes())
            if finished._rows.setdefault(integer(epoch), own) is not own:
                raise ValueError("different epochs were expected, one occurs twice")
            low, high = int(rows[:: len(COLUMNS)].min()), int(rows[:: len(COLUMNS)].max())
            finished._low = low if finished._low is None else min(finished._low, low)
            finished._high = high if finished._high is None else max(finished._high, high)
            finished.count += rows.size // len(COLUMNS)
            finished.numbers += sum(rows[2 :: len(COLUMNS)].tolist())
        return finished

    def state(self) -> State:
        """Return the state for `of_state`. Cost: a copy, about 4 ms for 100,000 rows."""
        return [(epoch, np.array(rows, np.int64)) for epoch, rows in self._rows.items()]

    @property
    def span(self) -> Span | None:
        """The span of the batch ids; None without a batch."""
        return None if self._low is None or self._high is None else Span(self._low, self._high + 1)

    @property
    def nbytes(self) -> int:
        """Bytes of the rows, including their spare capacity."""
        return self.count * len(COLUMNS) * 9 + 200 * len(self._rows)

    def add(self, epoch: int, row: tuple[int, int, int, int, int]) -> None:
        """Add the row of a batch: one number for each of `COLUMNS`. Cost: 0.5 us."""
        batch_id, _, count, _, _ = row
        if epoch not in self._rows:
            self._rows[epoch] = array("q")
        self._rows[epoch].extend(row)
        self._low = batch_id if self._low is None else min(self._low, batch_id)
        self._high = batch_id if self._high is None else max(self._high, batch_id)
        self.count += 1
        self.numbers += count

    def read(self, span: Span) -> tuple[Rows, ...]:
        """Return a copy of the rows with a batch id in `span`. Cost: 50 ns a row of the slice."""
        found = []
        for epoch in self._rows:
            table = clipped(ordered(self._table(epoch)), span.start, span.end)
            if table.size:
                found.append(Rows.of(epoch, table))
        return tuple(found)

    def pieces(self) -> list[Rows]:
        """Return all rows, ordered by epoch and batch id."""
        return [piece for epoch in sorted(self._rows) for piece in cut(epoch, ordered(self._table(epoch)))]

    def _table(self, epoch: int) -> Table:
        """Return a copy of the rows of an epoch as a table, in order of completion."""
        table: Table = np.frombuffer(self._rows[epoch], np.int64).reshape(-1, len(COLUMNS)).T.copy()
        return table

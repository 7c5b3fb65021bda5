"""Live slices of unique users: one cell for each period, in the levels that are kept.

New users are handed from the shortest periods up to the longest. A slice is frozen to columns. Only the agenda is carried to
the next slice.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from actors.columns import fields
from actors.columns.snapshot import State
from actors.columns.text import Hashes
from actors.timeline.periods import MINUTE, MINUTE_MS, YEAR, Periods
from actors.timeline.span import EVER, Span, span_of_state, span_state
from actors.views.uniques.agenda import Agenda
from actors.views.uniques.arguments import GRANULARITIES, Counts, Rows
from actors.views.uniques.cell_columns import Sums, cells_of, state_of
from actors.views.uniques.cells import Cell, Key, Ladder
from actors.views.uniques.decode import Frames
from actors.views.uniques.piece import NO_HASHES, Piece, piece
from actors.views.uniques.sketch import SKETCH_BYTES
from actors.views.uniques.slices import FrozenUniques, UniquesSummary
from actors.views.view import NONE_LOST, Due, Live, Meta, Silence

_WAITING_LIMIT = 262_144
"""If more hashes than this wait in all cells together, all cells are folded: 2 MB."""

_CELL_BYTES = 500
"""Memory of a cell beside its hashes: the object, its numbers, the array objects, and an entry in a mapping."""

_CHUNK_BYTES = 130
"""Memory of a waiting array beside its hashes."""


class LiveUniques(Live):
    """A slice that counts users by period. Not thread-safe: its collector owns it.

    It is full when it has `max_cells` cells in all levels, or `max_hashes` hashes in all cells. A cell of more than
    `exact_users` users is turned into a sketch.
    """

    def __init__(
        self,
        *,
        periods: Periods,
        max_cells: int,
        max_hashes: int,
        exact_users: int,
        ladder: Ladder,
        agenda: Agenda | None = None,
    ) -> None:
        self._periods = periods
        self._ladder = ladder
        self._max_cells = max_cells
        self._max_hashes = max_hashes
        self._exact_users = exact_users
        self._agenda = agenda or Agenda()
        self._cells: list[dict[int, Cell]] = [{} for _ in GRANULARITIES]
        self._recent: list[Cell | None] = [None] * len(GRANULARITIES)
        self._waiting: list[dict[int, Cell]] = [{} for _ in GRANULARITIES]
        self._waiting_count = 0
        self._chunks = 0
        self._count = 0
        self._held = 0
        self._sketches = 0
        self._frames = 0
        self._first: int | None = None
        self._end = 0
        self._full = False

    @staticmethod
    def of_state(
        state: State, *, periods: Periods, max_cells: int, max_hashes: int, exact_users: int, ladder: Ladder
    ) -> "LiveUniques":
        """Return the slice that `state` describes. Cost: about 5 us a cell, and a copy of the hashes."""
        live = LiveUniques(
            periods=periods,
            max_cells=max_cells,
            max_hashes=max_hashes,
            exact_users=exact_users,
            ladder=ladder,
            agenda=Agenda.of_state(state["agenda"]),
        )
        live._cells, live._waiting = cells_of(state["cells"], ladder.parents)
        for level in live._cells:
            live._count += len(level)
            live._held += sum(cell.users.size for cell in level.values())
            live._sketches += sum(cell.sketch is not None for cell in level.values())
        for level in live._waiting:
            live._waiting_count += sum(cell.waiting_count for cell in level.values())
            live._chunks += sum(len(cell.waiting or ()) for cell in level.values())
        live._frames = fields.integer(state["frames"], 0)
        live._full = fields.flag(state["full"])
        reached = span_of_state(state["span"])
        if reached is not None:
            live._first, live._end = reached.start, reached.end
        if (reached is None) != (live._count == 0):
            raise ValueError("a span was expected if and only if there are cells")
        return live

    def state(self) -> State:
        """Return the state for `of_state`. Cost: about 0.5 us a cell and 0.2 us an open period."""
        return {
            "agenda": self._agenda.state(),
            "cells": state_of(self._cells, self._waiting, Sums(self._held, self._chunks, self._waiting_count, self._sketches)),
            "frames": self._frames,
            "full": self._full,
            "span": span_state(self._span),
        }

    @property
    def full(self) -> bool:
        """Whether the slice has reached one of its limits. Cost: O(1)."""
        return self._full

    def add(self, batch: Frames, watermark: int | None) -> Mapping[str, int]:  # noqa: ARG002  # only `close` uses it
        """Add a batch, in any order of time. Cost: about 40 ns a frame in order; about 20 us for a new cell."""
        assert not self.full, "a full slice is frozen before the next batch"
        if not batch.count:
            return NONE_LOST
        # The calendar is used first, because it can fail.
        parts = [(cell, hashes) for start, hashes in _by_minute(batch) for cell in self._roots(start)]
        self._count_frames(parts)
        for cell, hashes in parts:
            self._put(cell, hashes)
        for cell, _ in parts:
            self._fold_due(cell)
        # Each waiting hash may become one in every level. Near the limit, an eighth of the limit may wait before each fold.
        room = max(self._max_hashes - self._held, self._max_hashes // 8)
        if self._waiting_count > _WAITING_LIMIT or len(GRANULARITIES) * self._waiting_count >= room:
            self._fold_all(YEAR)
        self._frames += batch.count
        self._full = self._count >= self._max_cells or self._held >= self._max_hashes
        return NONE_LOST

    def close(self, watermark: int | None, silence: Silence | None) -> Due | None:
        """Return the rows that are due: of periods that end by `watermark`, and corrections of earlier ones.

        In a `silence`, rows of open periods are due too. The caller must publish each row: its revision is counted.
        """
        due = self._agenda.due(watermark, silence)
        if not due:
            return None
        for end, key, final in due:
            cell = self._cell(key, Span(key.start, end))
            cell.revisions += 1
            cell.final |= final
        wanted = tuple((GRANULARITIES[key.level], key.start) for _, key, _ in due)
        return Due(EVER, Rows(None, wanted), ())

    @property
    def due_at(self) -> int | None:
        """The end of the earliest open period."""
        return self._agenda.next_end

    def read(self, span: Span, arguments: Rows) -> tuple[Piece, ...]:
        """Return copies of the cells that `arguments` selects. Cost: O(cells of the level), and one copy of their hashes."""
        levels, bare = arguments.levels(), isinstance(arguments, Counts)
        if not bare:
            self._fold_all(max(levels, default=MINUTE))
        if arguments.wanted is None:
            starts = {level: sorted(x for x in self._cells[level] if span.start <= x < span.end) for level in levels}
        else:
            starts = {level: [x for x in arguments.wanted_of(level).tolist() if x in self._cells[level]] for level in levels}
        return tuple(self._piece(level, own, bare=bare) for level, own in starts.items() if own)

    def shed(self, nbytes: int) -> tuple[dict[str, int], int | None]:
        """Turn large cells into sketches until about `nbytes` are free: closed periods first, then the largest first."""
        self._fold_all(YEAR)
        until = self._agenda.until
        large = [cell for level in self._cells for cell in level.values() if cell.users.nbytes > SKETCH_BYTES]
        large.sort(key=lambda cell: (until is None or cell.end > until, -cell.users.size))
        for cell in large:
            if nbytes <= 0:
                break
            nbytes -= cell.users.nbytes - SKETCH_BYTES
            self._held -= cell.users.size
            self._sketches += 1
            cell.shrink(cell.users.size)
        return {}, None

    def freeze(self) -> tuple[FrozenUniques, Agenda]:
        """Return the cells as columns, and the agenda. Cost: one copy, and the sketches of months and years."""
        self._fold_all(YEAR)
        pieces = [self._piece(level, sorted(self._cells[level])) for level in range(len(GRANULARITIES))]
        return FrozenUniques(pieces, self._span, self._frames), self._agenda

    def meta(self) -> Meta:
        """Describe the slice as it stands. Cost: O(1)."""
        hashes = self._held + self._waiting_count
        return Meta(
            span=self._span,
            events=self._frames,
            nbytes=self._count * _CELL_BYTES
            + hashes * 8
            + self._chunks * _CHUNK_BYTES
            + self._sketches * SKETCH_BYTES
            + self._agenda.nbytes,
            dead_bytes=0,
            final_until=None,
            summary=UniquesSummary(self._frames, self._count, hashes),
        )

    def _roots(self, start: int) -> tuple[Cell, ...]:
        """Return the cells that count the frames of the minute `start` first."""
        minute = Span(start, start + MINUTE_MS)
        if MINUTE in self._ladder.roots:
            return (self._cells[MINUTE].get(start) or self._cell(Key(MINUTE, start), minute),)
        self._widen(MINUTE, minute)
        return tuple(self._around(level, start) for level in self._ladder.roots)

    def _cell(self, key: Key, period: Span) -> Cell:
        """Return the cell of a period. Creates it if needed, and the cells of the longer periods."""
        level, start = key
        found = self._cells[level].get(start)
        if found is None:
            self._widen(level, period)
            found = Cell(key, period, tuple(self._around(each, start) for each in self._ladder.parents[level]))
            self._cells[level][start] = found
            self._count += 1
        return found

    def _around(self, level: int, time: int) -> Cell:
        """Return the cell of `level` whose period contains `time`. Tries the last result first."""
        found = self._recent[level]
        if found is None or not found.key.start <= time < found.end:
            period = self._periods.period(level, time)
            found = self._recent[level] = self._cell(Key(level, period.start), period)
        return found

    @property
    def _span(self) -> Span | None:
        return None if self._first is None else Span(self._first, self._end)

    def _widen(self, level: int, period: Span) -> None:
        """Extend the span to a new period: to a whole minute, or to the nearest millisecond of a longer period."""
        first, end = period.start, period.end
        if level != MINUTE:
            if self._first is not None and self._first < end and first < self._end:
                return
            rest = self._agenda.until if self._first is None else self._first
            first = first if rest is None else min(max(rest, first), end - 1)
            end = first + 1
        self._end = end if self._first is None else max(self._end, end)
        self._first = first if self._first is None else min(self._first, first)

    def _count_frames(self, parts: Sequence[tuple[Cell, Hashes]]) -> None:
        """Add the frames of some minutes to the cells that count them first, and to each longer period."""
        levels: list[dict[Cell, int]] = [{} for _ in GRANULARITIES]
        for cell, hashes in parts:
            own = levels[cell.key.level]
            own[cell] = own.get(cell, 0) + hashes.size
        for counts in levels:
            for cell, count in counts.items():
                cell.frames += count
                self._agenda.touch(cell.key, cell.end)
                for parent in cell.parents:
                    above = levels[parent.key.level]
                    above[parent] = above.get(parent, 0) + count

    def _put(self, cell: Cell, hashes: Hashes) -> None:
        level, start = cell.key
        cell.put(hashes)
        self._waiting[level][start] = cell
        self._waiting_count += hashes.size
        self._chunks += 1

    def _fold(self, cell: Cell) -> None:
        """Fold one cell, and hand new hashes to the longer periods."""
        level, start = cell.key
        if self._waiting[level].pop(start, None) is None or cell.waiting is None:
            return
        self._waiting_count -= cell.waiting_count
        self._chunks -= len(cell.waiting)
        self._held -= cell.users.size
        sketched_before = cell.sketch is not None
        new = cell.fold(self._exact_users)
        self._held += cell.users.size
        self._sketches += (cell.sketch is not None) - sketched_before
        for parent in cell.parents:
            parent.known = max(parent.known, cell.least)
            if new.size:
                self._put(parent, new)

    def _fold_due(self, cell: Cell) -> None:
        if cell.due:
            self._fold(cell)
            for parent in cell.parents:
                self._fold_due(parent)

    def _fold_all(self, level: int) -> None:
        """Fold every cell up to `level`, the shortest periods first."""
        for waiting in self._waiting[: level + 1]:
            for cell in list(waiting.values()):
                self._fold(cell)

    def _piece(self, level: int, starts: Sequence[int], *, bare: bool = False) -> Piece:
        """Return the cells that begin at `starts`, without their users if they are to be `bare`."""
        cells = [self._cells[level][start] for start in starts]
        sketched = [] if bare else [(place, cell) for place, cell in enumerate(cells) if cell.sketch is not None]
        return piece(
            level,
            starts=starts,
            frames=[cell.frames for cell in cells],
            revisions=[cell.revisions for cell in cells],
            final=[cell.final for cell in cells],
            users=[NO_HASHES if bare else cell.users for cell in cells],
            sketches={place: cell.sketch.sealed() for place, cell in sketched if cell.sketch is not None},
            known={place: cell.known for place, cell in sketched},
        )


def _by_minute(batch: Frames) -> list[tuple[int, Hashes]]:
    """Split a batch into pairs of the start of a minute, ms, and its hashes. Small parts are copies, to free the batch."""
    minutes = batch.times // MINUTE_MS
    first = int(minutes.min())
    if first == int(minutes.max()):
        return [(first * MINUTE_MS, batch.hashes)]
    order = np.argsort(minutes, kind="stable")
    minutes, hashes = minutes[order], batch.hashes[order]
    cuts = np.flatnonzero(minutes[1:] != minutes[:-1]) + 1
    bounds = [0, *cuts.tolist(), minutes.size]
    starts = (minutes[bounds[:-1]] * MINUTE_MS).tolist()
    parts = []
    for start, low, high in zip(starts, bounds[:-1], bounds[1:], strict=True):
        part = hashes[low:high]
        parts.append((start, part if 2 * part.size >= hashes.size else part.copy()))
    return parts

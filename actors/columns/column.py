"""A growing, ascending column of times: the newest values are raw, the older ones compressed.

Used by live slices for the events that they keep. Values are appended at the end and removed from the start.
"""

from collections import deque
from dataclasses import dataclass

import numpy as np

from actors.columns import fields
from actors.columns.block import Block
from actors.columns.sealed import CHUNK
from actors.columns.snapshot import State
from actors.columns.times import Times, count_before

_SEAL_AT = 8 * CHUNK
"""Number of raw values at which the oldest chunk is sealed. Usually a slice has fewer unmatched events than this."""

_LEAST = 1_024
"""Minimum capacity of the raw buffer, in values."""


@dataclass(frozen=True, slots=True, eq=False)
class _Sealed(Block):
    """One compressed column."""

    first: int
    last: int
    count: int

    def values(self) -> Times:
        return self.opened()[0]


class Column:
    """Ascending int64 times. Not thread-safe: one live slice owns it.

    >>> column = Column()
    >>> column.extend(np.array([1, 2, 2, 5]))
    >>> column.popleft(2).tolist(), column.before(5), len(column)
    ([1, 2], 1, 2)
    """

    __slots__ = ("_raw", "_sealed", "_sealed_bytes", "_sealed_count", "_start", "_stop")

    def __init__(self) -> None:
        self._sealed: deque[_Sealed] = deque()
        self._sealed_count = 0
        self._sealed_bytes = 0
        self._raw = np.empty(_LEAST, np.int64)
        self._start = 0
        self._stop = 0

    @staticmethod
    def of_state(state: State) -> "Column":
        """Restore a column from its `state`. Shares sealed pieces and copies raw values."""
        column = Column()
        for first, last, count, data in map(fields.listed, fields.listed(state["sealed"])):
            count = fields.integer(count, 1, 2**32)  # noqa: PLW2901  # the same number, now checked
            column._sealed.append(_Sealed((fields.blob(data),), fields.integer(first), fields.integer(last), count))
            column._sealed_count += count
            column._sealed_bytes += column._sealed[-1].nbytes
        raw = fields.column(state["raw"], np.int64)
        column._reserve(raw.size)
        column._raw[: raw.size] = raw
        column._stop = raw.size
        return column

    def copy(self) -> "Column":
        """Return a column of the same values. Shares sealed pieces. Cost: a copy of the raw values."""
        twin, raw = Column(), self._view()
        twin._sealed = deque(self._sealed)
        twin._sealed_count, twin._sealed_bytes = self._sealed_count, self._sealed_bytes
        twin._reserve(raw.size)
        twin._raw[: raw.size] = raw
        twin._stop = raw.size
        return twin

    def state(self) -> State:
        """Return the state for `of_state`. Cost: a copy of the raw values."""
        sealed = [(piece.first, piece.last, piece.count, *piece.columns) for piece in self._sealed]
        return {"sealed": sealed, "raw": self._view().copy()}

    def __len__(self) -> int:
        """Return the number of values."""
        return self._sealed_count + self._stop - self._start

    @property
    def nbytes(self) -> int:
        """Bytes of the whole raw buffer and of the sealed pieces, with their Python overhead."""
        return self._raw.nbytes + self._sealed_bytes

    @property
    def value_bytes(self) -> int:
        """Approximate bytes that removing one value frees; at least 1."""
        return max(1, min(8, self.nbytes // max(1, len(self))))

    def first(self) -> int | None:
        """Return the earliest time, or None. Cost: O(1)."""
        if self._sealed:
            return self._sealed[0].first
        return int(self._raw[self._start]) if self._start < self._stop else None

    def last(self) -> int | None:
        """Return the latest time, or None. Cost: O(1)."""
        if self._start < self._stop:
            return int(self._raw[self._stop - 1])
        return self._sealed[-1].last if self._sealed else None

    def extend(self, values: Times) -> None:
        """Append ascending `values`, none earlier than the last one. Seals full chunks. Cost: O(values) amortised."""
        for place in range(0, values.size, CHUNK):
            part = values[place : place + CHUNK]
            self._reserve(part.size)
            self._raw[self._stop : self._stop + part.size] = part
            self._stop += part.size
            if self._stop - self._start >= _SEAL_AT:
                self._push(self._raw[self._start : self._start + CHUNK])
                self._start += CHUNK

    def replace_from(self, time: int, values: Times) -> None:
        """Replace all values at or after `time` by `values`. Cost: O(values), and opening one chunk."""
        while self._sealed and self._sealed[-1].last >= time:
            self._stop = self._start
            self._load(self._pop_sealed(last=True))
        self._stop = self._start + count_before(self._view(), time)
        self.extend(values)

    def resume(self, count: int, values: Times) -> None:
        """Keep the oldest `count` values, and put `values` in place of the others. Cost: as `replace_from`."""
        if count >= len(self):
            self.extend(values)
            return
        time = int(self.peek(count, count + 1)[0])
        equal = np.full(count - self.before(time), time)
        self.replace_from(time, np.concatenate((equal, values)) if equal.size else values)

    def popleft(self, count: int) -> Times:
        """Remove and return the oldest `count` values, or all if there are fewer. Cost: O(count), and opening one chunk."""
        wanted = min(count, len(self))
        returned = []
        while wanted and self._sealed:
            values = self._pop_sealed(last=False).values()
            if values.size > wanted:
                self._push(values[wanted:], left=True)
                values = values[:wanted]
            returned.append(values)
            wanted -= values.size
        returned.append(self._raw[self._start : self._start + wanted].copy())
        self._start += wanted
        if 8 * (self._stop - self._start) < self._raw.size:
            self._move(self._stop - self._start)
        return returned[0] if len(returned) == 1 else np.concatenate(returned)

    def trim(self) -> int:
        """Free the spare capacity; returns its bytes. Cost: O(raw values)."""
        before, used = self._raw.nbytes, self._stop - self._start
        raw = np.empty(max(_LEAST, used), np.int64)
        raw[:used] = self._view()
        self._raw, self._start, self._stop = raw, 0, used
        return before - raw.nbytes

    def peek(self, start: int, stop: int) -> Times:
        """Return a copy of the values from index `start` to `stop`. Cost: O(stop - start), and opening one chunk."""
        pieces, at = [], 0
        for sealed in self._sealed:
            if start < at + sealed.count and at < stop:
                pieces.append(sealed.values()[max(0, start - at) : stop - at])
            at += sealed.count
            if at >= stop:
                break
        pieces.append(self._view()[max(0, start - at) : max(0, stop - at)].copy())
        return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)

    def before(self, time: int) -> int:
        """Return the number of values before `time`. Cost: O(log n), and opening one chunk."""
        at = 0
        for sealed in self._sealed:
            if sealed.last >= time:
                return at + count_before(sealed.values(), time)
            at += sealed.count
        return at + count_before(self._view(), time)

    def _view(self) -> Times:
        return self._raw[self._start : self._stop]

    def _load(self, sealed: _Sealed) -> None:
        """Copy a sealed piece into the raw buffer, which must be empty."""
        self._reserve(sealed.count)
        self._raw[self._stop : self._stop + sealed.count] = sealed.values()
        self._stop += sealed.count

    def _push(self, values: Times, *, left: bool = False) -> None:
        piece = _Sealed((values,), int(values[0]), int(values[-1]), values.size).sealed()
        (self._sealed.appendleft if left else self._sealed.append)(piece)
        self._sealed_count += piece.count
        self._sealed_bytes += piece.nbytes

    def _pop_sealed(self, *, last: bool) -> _Sealed:
        piece = self._sealed.pop() if last else self._sealed.popleft()
        self._sealed_count -= piece.count
        self._sealed_bytes -= piece.nbytes
        return piece

    def _reserve(self, count: int) -> None:
        """Ensure capacity for `count` more raw values."""
        if self._stop + count <= self._raw.size:
            return
        self._move(self._stop - self._start + count)

    def _move(self, count: int) -> None:
        """Move the raw values to the start of a buffer sized for `count` of them."""
        used = self._stop - self._start
        room = self._raw
        if 2 * count > room.size or 8 * count < room.size:
            room = np.empty(max(_LEAST, 2 * count), np.int64)
        room[:used] = self._view()
        self._raw, self._start, self._stop = room, 0, used

    def _check(self) -> None:
        """Assert the invariants: counts, bytes and ascending order."""
        assert self._sealed_count == sum(piece.count for piece in self._sealed)
        assert self._sealed_bytes == sum(piece.nbytes for piece in self._sealed)
        values = self.peek(0, len(self))
        assert values.size == len(self)
        assert (np.diff(values) >= 0).all()

"""Which periods are still to be published: the open ones, and those that late frames have changed.

Used by live slices, and handed from one to the next. Knows periods by their keys alone, so no cell has to move.
"""

import heapq
from typing import NamedTuple

from actors.views.uniques.cells import Key
from actors.views.uniques.periods import MINUTE

_ENTRY_BYTES = 140
"""Bytes of one period here: a key, a tuple in the heap, a place in a mapping."""


class Entry(NamedTuple):
    """A period that is due, and whether its row is the final one."""

    end: int
    key: Key
    final: bool


class Agenda:
    """The periods to be published. Not thread-safe: one live slice owns it.

    A period that ends by the watermark is final. Late frames make it due once more, as a correction: corrections wait for the
    next period to end, so that a trickle of late frames does not become a flood of rows.
    """

    __slots__ = ("_changed", "_heap", "_late", "_until")

    def __init__(self) -> None:
        self._changed: dict[Key, bool] = {}
        self._heap: list[tuple[int, Key]] = []
        self._late: dict[Key, int] = {}
        self._until: int | None = None

    @property
    def nbytes(self) -> int:
        """Bytes that it takes. Cost: O(1)."""
        return _ENTRY_BYTES * (len(self._changed) + len(self._late))

    @property
    def until(self) -> int | None:
        """The watermark that was last obeyed: periods that end by it have been published."""
        return self._until

    def touch(self, key: Key, end: int) -> None:
        """Note that the period `key`, which ends at `end`, has new frames. Cost: O(1), O(log n) for a new period."""
        if self._until is not None and end <= self._until:
            self._late[key] = end
            return
        if key not in self._changed:
            heapq.heappush(self._heap, (end, key))
        self._changed[key] = True

    def due(self, watermark: int | None, *, idle: bool) -> list[Entry]:
        """Return what is to be published now, by end and then level, and take it off the agenda.

        When `idle`, that is every changed period; those longer than a minute stay, to become final later.
        Cost: O(1) when nothing has ended; else O(due log n), and when idle O(n log n).
        """
        if watermark is not None:
            self._until = watermark
        found: dict[Key, Entry] = {}
        while self._heap and self._until is not None and self._heap[0][0] <= self._until:
            end, key = heapq.heappop(self._heap)
            del self._changed[key]
            found[key] = Entry(end, key, final=True)
        if not found and not idle:
            return []
        for key, end in self._late.items():
            found[key] = Entry(end, key, final=True)
        self._late = {}
        if idle:
            for end, key in self._heap:
                if self._changed[key]:
                    found.setdefault(key, Entry(end, key, final=key.level == MINUTE))
                self._changed[key] = False
            self._heap = [entry for entry in self._heap if entry[1].level != MINUTE]
            self._changed = {key: False for _, key in self._heap}
            heapq.heapify(self._heap)
        return sorted(found.values())

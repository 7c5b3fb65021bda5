"""Which periods are still to be published: the open ones, and those that late frames have changed.

Used by live slices, and handed from one to the next. Knows periods by their keys alone, so no cell has to move.
"""

import heapq
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from actors.columns.fields import integer, numbered, words
from actors.columns.snapshot import State
from actors.views.uniques.cells import Key
from actors.views.uniques.periods import GRANULARITIES, MINUTE

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

    @staticmethod
    def of_state(state: State) -> "Agenda":
        """Return the agenda of which `state` was taken."""
        agenda = Agenda()
        agenda._until = None if state["until"] is None else integer(state["until"])
        agenda._heap = _periods_of(state["open"])
        changed = words(state["changed"], np.bool_, len(agenda._heap))
        agenda._changed = {key: new for (_, key), new in zip(agenda._heap, changed.tolist(), strict=True)}
        late = _periods_of(state["late"])
        agenda._late = {key: end for end, key in late}
        if len(agenda._changed) != len(agenda._heap) or len(agenda._late) != len(late):
            raise ValueError("periods that differ were expected, one is there twice")
        heapq.heapify(agenda._heap)
        return agenda

    def state(self) -> State:
        """Return what `of_state` makes the same agenda of. Cost: some 40 ns a period, and 1 us where it is written."""
        heap, changed = self._heap.copy(), self._changed.copy()
        return {
            "until": self._until,
            "open": _state_of(heap),
            "changed": numbered(len(heap), np.bool_, lambda: (changed[key] for _, key in heap)),
            "late": _state_of([(end, key) for key, end in self._late.items()]),
        }

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
        # What waits as late goes on so, though the watermark has stepped back: in both places it would be published twice.
        if key in self._late or (self._until is not None and end <= self._until):
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


def _state_of(periods: Sequence[tuple[int, Key]]) -> State:
    """Return periods as columns: the level, the start and the end of each."""
    count = len(periods)
    return (
        numbered(count, np.uint8, lambda: (key.level for _, key in periods)),
        numbered(count, np.int64, lambda: (key.start for _, key in periods)),
        numbered(count, np.int64, lambda: (end for end, _ in periods)),
    )


def _periods_of(state: State) -> list[tuple[int, Key]]:
    """Return the periods of which `state` was taken."""
    levels, starts, ends = state
    levels = words(levels, np.uint8)
    if int(levels.max(initial=0)) >= len(GRANULARITIES):
        raise ValueError(f"a level of {len(GRANULARITIES)} was expected, got {int(levels.max())}")
    starts, ends = words(starts, np.int64, levels.size), words(ends, np.int64, levels.size)
    return [(end, Key(level, start)) for level, start, end in zip(levels.tolist(), starts.tolist(), ends.tolist(), strict=True)]

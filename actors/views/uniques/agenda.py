"""The periods that are still to be published: open periods, and closed ones that late frames have changed.

A live slice hands its agenda to its successor. It refers to periods by key, so it needs no cells.
"""

import heapq
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from actors.columns.fields import integer, numbered, words
from actors.columns.snapshot import State
from actors.timeline.periods import MINUTE
from actors.views.uniques.arguments import GRANULARITIES
from actors.views.uniques.cells import Key
from actors.views.view import Silence

_ENTRY_BYTES = 140
"""Memory of one period: a key, a tuple in the heap, and an entry in a mapping."""


class Entry(NamedTuple):
    """A period that is due."""

    end: int
    key: Key
    final: bool
    """Whether the row is final: the period has ended."""


class Agenda:
    """The periods to be published. Not thread-safe: one live slice owns it.

    A period whose end the watermark has reached is final. In a silence the clock goes on in place of the watermark. Late frames
    make a final period due again, as a correction. Corrections are published when the next period ends, because one row for
    each late frame would be too many.
    """

    __slots__ = ("_changed", "_clock", "_heap", "_late", "_until")

    def __init__(self) -> None:
        # Open periods, and whether they have frames that are not published. The heap has the same periods.
        self._changed: dict[Key, bool] = {}
        self._heap: list[tuple[int, Key]] = []
        self._late: dict[Key, int] = {}
        self._until: int | None = None
        self._clock: int | None = None

    @staticmethod
    def of_state(state: State) -> "Agenda":
        """Return the agenda that `state` describes."""
        agenda = Agenda()
        agenda._until = None if state["until"] is None else integer(state["until"])
        clock = state.get("clock")  # earlier versions did not write it
        agenda._clock = None if clock is None else integer(clock)
        agenda._heap = _periods_of(state["open"])
        changed = words(state["changed"], np.bool_, len(agenda._heap))
        agenda._changed = {key: new for (_, key), new in zip(agenda._heap, changed.tolist(), strict=True)}
        late = _periods_of(state["late"])
        agenda._late = {key: end for end, key in late}
        if len(agenda._changed) != len(agenda._heap) or len(agenda._late) != len(late):
            raise ValueError("different periods were expected, one occurs twice")
        heapq.heapify(agenda._heap)
        return agenda

    def state(self) -> State:
        """Return the state for `of_state`. Cost: about 40 ns a period now, and 1 us when the state is written."""
        heap, changed = self._heap.copy(), self._changed.copy()
        return {
            "until": self._until,
            "clock": self._clock,
            "open": _state_of(heap),
            "changed": numbered(len(heap), np.bool_, lambda: (changed[key] for _, key in heap)),
            "late": _state_of([(end, key) for key, end in self._late.items()]),
        }

    @property
    def nbytes(self) -> int:
        """Bytes in memory. Cost: O(1)."""
        return _ENTRY_BYTES * (len(self._changed) + len(self._late))

    @property
    def until(self) -> int | None:
        """The time by which `due` has published the periods that have ended."""
        return self._until

    @property
    def next_end(self) -> int | None:
        """The end of the earliest open period, or None if none is open."""
        return self._heap[0][0] if self._heap else None

    def touch(self, key: Key, end: int) -> None:
        """Record that the period `key`, which ends at `end`, has new frames. Cost: O(1), O(log n) for a new period."""
        # A late period stays late if the watermark steps back. As an open one too, it would be published twice.
        if key in self._late or (self._until is not None and end <= self._until):
            self._late[key] = end
            return
        if key not in self._changed:
            heapq.heappush(self._heap, (end, key))
        self._changed[key] = True

    def due(self, watermark: int | None, silence: Silence | None) -> list[Entry]:
        """Return the periods that are due now, ordered by end and level, and remove those that are final.

        In a `silence`, every changed period is due. A period that has not ended stays on the agenda, to become final later. If
        the source has ended, minutes are final, because no more frames will come.
        Cost: O(1) if no period has ended, else O(due log n); O(n log n) in a silence.
        """
        if silence is not None:
            self._clock = _latest(self._clock, silence.time)
        if watermark is not None:
            self._until = _latest(watermark, self._clock)
        found: dict[Key, Entry] = {}
        while self._heap and self._until is not None and self._heap[0][0] <= self._until:
            end, key = heapq.heappop(self._heap)
            del self._changed[key]
            found[key] = Entry(end, key, final=True)
        if not found and silence is None:
            return []
        for key, end in self._late.items():
            found[key] = Entry(end, key, final=True)
        self._late = {}
        if silence is not None:
            self._put_open(found, ended=silence.ended)
        return sorted(found.values())

    def _put_open(self, found: dict[Key, Entry], *, ended: bool) -> None:
        """Add the changed open periods to `found`. If the source has `ended`, open minutes leave the agenda."""
        for end, key in self._heap:
            last = ended and key.level == MINUTE
            if self._changed[key] or last:
                found.setdefault(key, Entry(end, key, final=last))
            self._changed[key] = False
        if ended:
            self._heap = [entry for entry in self._heap if entry[1].level != MINUTE]
            self._changed = {key: False for _, key in self._heap}
            heapq.heapify(self._heap)


def _latest(one: int | None, other: int | None) -> int | None:
    return max((time for time in (one, other) if time is not None), default=None)


def _state_of(periods: Sequence[tuple[int, Key]]) -> State:
    """Return periods as three columns: levels, starts and ends."""
    count = len(periods)
    return (
        numbered(count, np.uint8, lambda: (key.level for _, key in periods)),
        numbered(count, np.int64, lambda: (key.start for _, key in periods)),
        numbered(count, np.int64, lambda: (end for end, _ in periods)),
    )


def _periods_of(state: State) -> list[tuple[int, Key]]:
    """Return the periods that `state` describes."""
    levels, starts, ends = state
    levels = words(levels, np.uint8)
    if int(levels.max(initial=0)) >= len(GRANULARITIES):
        raise ValueError(f"levels below {len(GRANULARITIES)} were expected, got {int(levels.max())}")
    starts, ends = words(starts, np.int64, levels.size), words(ends, np.int64, levels.size)
    return [(end, Key(level, start)) for level, start, end in zip(levels.tolist(), starts.tolist(), ends.tolist(), strict=True)]

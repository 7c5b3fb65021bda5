"""How far the stream has come, by event time: the least of what its partitions have reached, less the lateness.

Used by the front end to decide what may leave the order buffer. Wall-clock time is handed in; nothing here looks at a clock.
"""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from actors.columns.snapshot import State
from actors.columns.times import INT64_MAX, INT64_MIN, NO_TIMES, Times

_WINDOW = 128
_SUPPORT = 8


class Partition:
    """What one partition has shown lately: its newest `_WINDOW` times, and the frontier that they support.

    The frontier is the latest time that has at least `_SUPPORT` other recent events of the partition at most `lateness`
    before it, or after it. So a lone timestamp from the far future, a flipped bit, moves nothing, and a frontier that
    false times did move steps back when they leave the window.
    """

    __slots__ = ("_recent", "at_end", "frontier", "seen_at")

    def __init__(self, now: float) -> None:
        self._recent: Times = NO_TIMES
        self.frontier: int | None = None
        self.seen_at = now
        self.at_end = False

    def saw(self, times: Times, lateness: int, now: float) -> None:
        """Take note of `times`, in order of arrival. Cost: O(1), some microseconds."""
        recent = self._recent = np.concatenate((self._recent, times[-_WINDOW:]))[-_WINDOW:]
        ascending = np.sort(recent)
        supported = int(ascending[-1 - min(_SUPPORT, recent.size - 1)])
        within = int(np.searchsorted(ascending, min(supported + lateness, INT64_MAX), side="right"))
        self.frontier = int(ascending[within - 1])
        self.seen_at = now
        self.at_end = False


class Watermark:
    """The time up to which no event is expected any more, over all partitions.

    A partition counts while it has something to say: it is behind its end, or was heard of within `idle_s` seconds. One
    that has not delivered yet, but has records waiting, holds the watermark back at None.
    """

    def __init__(self, *, lateness: int, idle_s: float) -> None:
        self._lateness = lateness
        self._idle_s = idle_s
        self._partitions: dict[int, Partition] = {}

    def state(self) -> State:
        """Return what `restore` takes: what each partition has shown lately."""
        return {number: (state._recent, state.frontier) for number, state in self._partitions.items()}  # noqa: SLF001  # its own

    def restore(self, state: State, now: float) -> None:
        """Know what was known when `state` was taken, and nothing else. No partition counts as being at its end."""
        self._partitions = {}
        for number, (recent, frontier) in state.items():
            known = self._partitions[int(number)] = Partition(now)
            known._recent, known.frontier = np.array(recent), frontier  # noqa: SLF001

    def postpone(self, seconds: float) -> None:
        """Let `seconds` not count as silence: nobody listened."""
        for known in self._partitions.values():
            known.seen_at += seconds

    def keep(self, partitions: Iterable[int]) -> None:
        """Forget every partition but these: one that is no more must not hold the others back."""
        wanted = set(partitions)
        self._partitions = {number: known for number, known in self._partitions.items() if number in wanted}

    def frontier(self, partition: int) -> int | None:
        """Return how far a partition has come, or None where that is unknown."""
        known = self._partitions.get(partition)
        return known.frontier if known is not None else None

    def expect(self, partition: int, *, at_end: bool, now: float) -> None:
        """Say that `partition` is read, and whether all of its records are consumed for now."""
        self._partitions.setdefault(partition, Partition(now)).at_end = at_end

    def saw(self, partitions: NDArray[np.unsignedinteger], times: Times, now: float) -> None:
        """Take note of one poll: the partition and time of each event, in order of arrival. Cost: some 5 ns an event."""
        by_partition = times[np.argsort(partitions, kind="stable")]
        start = 0
        for number, count in enumerate(np.bincount(partitions).tolist()):
            if count:
                own = by_partition[start : start + count]
                self._partitions.setdefault(number, Partition(now)).saw(own, self._lateness, now)
                start += count

    def at(self, now: float) -> int | None:
        """Return the time before which nothing is expected, or None while that is unknown.

        It may step back; see `Partition`. When all partitions are idle, the one that came farthest decides.
        """
        active = [state.frontier for state in self._partitions.values() if not self._idle(state, now)]
        known = [frontier for frontier in active if frontier is not None]
        if len(known) < len(active):
            return None
        if not active:
            known = [state.frontier for state in self._partitions.values() if state.frontier is not None]
        reached = min(known) if active else max(known, default=None)
        return None if reached is None else max(INT64_MIN, reached - self._lateness)

    def idle(self, now: float) -> bool:
        """Whether every partition is at its end and has been silent for the idle time."""
        return all(self._idle(state, now) for state in self._partitions.values())

    def holding(self, now: float) -> int | None:
        """Return the partition that holds the watermark back, or None when all are idle."""
        active = [(state.frontier, number) for number, state in self._partitions.items() if not self._idle(state, now)]
        unknown = [number for frontier, number in active if frontier is None]
        return unknown[0] if unknown else min(active, default=(None, None))[1]

    def _idle(self, state: Partition, now: float) -> bool:
        return state.at_end and now - state.seen_at >= self._idle_s

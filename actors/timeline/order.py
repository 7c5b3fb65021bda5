"""Puts the events of all partitions in order of time, up to the watermark.

Used by the front end between decoding and sending. Holds events after the watermark, at most `limit`.
"""

import numpy as np

from actors.columns.snapshot import State
from actors.timeline.batch import Batch


class OrderBuffer:
    """Events that wait for the watermark, by category. Not thread-safe: the front end owns it.

    It sorts only when at least as many events are new as are held. So each event is sorted about twice, however long it waits.
    """

    def __init__(self, *, categories: int, limit: int) -> None:
        self._categories = categories
        self._limit = limit
        self._held = Batch.empty(categories)
        self._new: list[Batch] = []
        self._new_count = 0

    def state(self) -> State:
        """Return the state for `restore`: all events, in order. Cost: one sort."""
        self._held = self._all()
        return self._held.state()

    def restore(self, state: State) -> None:
        """Replace the content by that of `state`."""
        self._held = Batch.of_state(state)
        self._new, self._new_count = [], 0

    def __len__(self) -> int:
        """Return the number of events."""
        return self._held.count + self._new_count

    @property
    def nbytes(self) -> int:
        """Bytes of the events."""
        return 8 * len(self)

    @property
    def due(self) -> bool:
        """Whether there are enough new events since the last release to justify a sort."""
        return self._new_count >= self._held.count or len(self) > self._limit

    def add(self, batch: Batch) -> None:
        """Take in events in any order. Cost: O(1)."""
        self._new.append(batch)
        self._new_count += batch.count

    def release(self, watermark: int | None) -> Batch:
        """Remove and return, ordered, all events before `watermark` (None: no events).

        If more than `limit` events are left, also removes the earliest of them. Cost: one sort of all events.
        """
        ordered = self._all()
        released = Batch.empty(self._categories)
        if watermark is not None:
            released, ordered = ordered.split(watermark)
        over = ordered.count - self._limit
        if over > 0:
            forced, ordered = _earliest(ordered, over + self._limit // 2)
            released = Batch.concatenate((released, forced), self._categories)
        self._held = ordered
        return released

    def flush(self) -> Batch:
        """Remove and return everything, ordered."""
        released = self._all()
        self._held = Batch.empty(self._categories)
        return released

    def _all(self) -> Batch:
        if not self._new:
            return self._held
        ordered = Batch.concatenate((self._held, *self._new), self._categories).ordered()
        self._new = []
        self._new_count = 0
        return ordered


def _earliest(ordered: Batch, count: int) -> tuple[Batch, Batch]:
    """Split off the earliest `count` events, and all events at the time of the last of them."""
    merged = np.sort(np.concatenate(ordered.times))
    return ordered.split(int(merged[count - 1]) + 1)

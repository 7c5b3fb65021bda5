"""The records that are kept apart: their times cannot be yet. Each is taken in when its time comes.

The intake owns it. Pure: the present time is an argument. Checkpoints have the records.
"""

import heapq
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from actors.columns.fields import blob, bounds, column
from actors.columns.snapshot import State
from actors.columns.times import Times
from actors.columns.values import Values
from actors.sources.polled import Polled

_RECORD_BYTES = 350
"""Memory of a record beside its value: a tuple of eight, its numbers, and the place in the heap."""


class _Record(NamedTuple):
    """A record: the time of its event (stream's unit), its number in order of arrival, and what a source gives of a record."""

    time: int
    number: int
    partition: int
    offset: int
    timestamp: int
    epoch: int
    value: bytes
    key: bytes | None


_NUMBERS = len(_Record._fields) - 2
_NO_KEY = -1


class Kept(NamedTuple):
    """Records that were kept apart, and a poll of them."""

    records: Sequence[_Record]
    polled: Polled


class Apart:
    """Records whose events are ahead of the clock, at most `max_bytes` of them. Headers are not kept."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._heap: list[_Record] = []
        self._arrivals = 0
        self.nbytes = 0
        """Bytes of the records in memory."""

    def __len__(self) -> int:
        """Return the number of records."""
        return len(self._heap)

    @property
    def first(self) -> int | None:
        """The earliest time, or None without records."""
        return self._heap[0].time if self._heap else None

    def state(self) -> State:
        """Return the state for `restore`. Cost: O(records), and one copy of the values."""
        numbers = [record[:_NUMBERS] for record in self._heap]
        values, keys = [record.value for record in self._heap], [record.key for record in self._heap]
        return {
            "numbers": np.array(numbers, np.int64).ravel(),
            "sizes": np.fromiter(map(len, values), np.int64, len(values)),
            "values": b"".join(values),
            "key_sizes": np.array([_NO_KEY if key is None else len(key) for key in keys], np.int64),
            "keys": b"".join(key or b"" for key in keys),
        }

    def restore(self, state: State) -> None:
        """Replace the content by that of `state`; None: nothing. Raises ValueError, TypeError or KeyError."""
        self._heap, self.nbytes, self._arrivals = [], 0, 0
        if state is None:
            return
        values, ends = bytes(blob(state["values"])), bounds(column(state["sizes"], np.int64), len(state["values"]))
        numbers = column(state["numbers"], np.int64, (len(ends) - 1) * _NUMBERS).reshape(-1, _NUMBERS).tolist()
        keys = _keys_of(state, len(numbers))
        for own, start, end, key in zip(numbers, ends, ends[1:], keys, strict=False):
            time, number, partition, offset, timestamp, epoch = own
            self._push(_Record(time, number, partition, offset, timestamp, epoch, values[start:end], key))
        self._arrivals = 1 + max((record.number for record in self._heap), default=-1)

    def keep(self, polled: Polled, times: Times) -> list[int]:
        """Keep the records of a poll, whose events have these `times`. Returns the indices of those that have no room.

        The earliest times are kept first. Cost: about 1 us a record.
        """
        offsets, stamps, left = polled.offsets().tolist(), polled.timestamps().tolist(), []
        for index in np.argsort(times, kind="stable").tolist():
            value, key = bytes(polled.values[index] or b""), polled.key_of(index)
            if self.nbytes + len(value) + len(key or b"") + _RECORD_BYTES > self._max_bytes:
                left.append(index)
                continue
            place = int(polled.partitions[index]), offsets[index], stamps[index]
            self._push(_Record(int(times[index]), self._arrivals + index, *place, polled.epoch, value, key))
        self._arrivals += len(polled.values)
        return sorted(left)

    def take(self, until: int) -> Kept:
        """Remove and return records of the times up to `until`, in order of arrival: those of the oldest epoch.

        There must be such a record. Cost: O(log n) a record.
        """
        found: list[_Record] = []
        while self._heap and self._heap[0].time <= until:
            found.append(heapq.heappop(self._heap))
            self.nbytes -= _bytes_of(found[-1])
        epoch = min(record.epoch for record in found)
        for later in found:
            if later.epoch > epoch:
                self._push(later)
        own = sorted((record for record in found if record.epoch == epoch), key=lambda record: record.number)
        return Kept(own, _polled(own, epoch))

    def put_back(self, kept: Kept) -> None:
        """Keep records again that were taken."""
        for record in kept.records:
            self._push(record)

    def _push(self, record: _Record) -> None:
        heapq.heappush(self._heap, record)
        self.nbytes += _bytes_of(record)


def _bytes_of(record: _Record) -> int:
    return len(record.value) + len(record.key or b"") + _RECORD_BYTES


def _keys_of(state: State, count: int) -> Sequence[bytes | None]:
    """Return the keys of a state; earlier versions did not keep them."""
    if "keys" not in state:
        return [None] * count
    sizes, joined = column(state["key_sizes"], np.int64, count), bytes(blob(state["keys"]))
    ends = bounds(np.maximum(sizes, 0), len(joined))
    return [
        None if size == _NO_KEY else joined[start:end] for size, start, end in zip(sizes.tolist(), ends, ends[1:], strict=False)
    ]


def _polled(found: Sequence[_Record], epoch: int) -> Polled:
    return Polled(
        Values.of([record.value for record in found]),
        np.array([record.partition for record in found], np.uint32),
        lambda: np.array([record.offset for record in found], np.int64),
        lambda: np.array([record.timestamp for record in found], np.int64),
        [record.key for record in found].__getitem__,
        epoch=epoch,
    )

"""The values that a source gives: polls of records, places and gaps."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from actors.columns.times import Times
from actors.columns.values import Values

Headers = Sequence[tuple[str, bytes | None]]
Reason = Literal["deleted", "recreated", "shrank", "interrupted", "damaged"]


@dataclass(frozen=True, slots=True)
class Gap:
    """Missing records of one partition: the number of offsets, None if it is unknown, and the reason.

    `deleted`: the broker deleted them before they were read. `recreated`: the topic or file was replaced by another one of the
    same name, which is read from its beginning. `shrank`: records that were read before are gone; reading goes on at the end.
    `interrupted`: a source that cannot be read again went on at a later place. `damaged`: the bytes of a batch are not the
    written ones, or a gzip file is incomplete or damaged.
    """

    partition: int
    count: int | None
    reason: Reason


@dataclass(frozen=True, slots=True)
class Place:
    """A place in a topic or file: the offset of the next record, by partition.

    `identity` is an id that a recreated topic or file does not share, None if it is unknown. `epoch` is the number of times
    that the topic or file was recreated.

    If the records are read from another topic than their own, `carrier` is the place there.
    """

    offsets: Mapping[int, int] = field(default_factory=dict)
    identity: str | None = None
    epoch: int = 0
    carrier: "Place | None" = None

    def before(self, polled: "Polled") -> "Place":
        """Return the place of the first records of a poll that ends at this place. Cost: O(records)."""
        starts = {number: start for number, (start, _) in polled.ranges().items()}
        return Place({**self.offsets, **starts}, self.identity, self.epoch, self.carrier)


@dataclass(frozen=True, slots=True)
class Mark:
    """What a source that gives only some records of a partition knows of the others.

    `recent` has the newest times of all events of the partition, in order of arrival; it is empty if none came since the last
    mark. `ahead`: an event came whose time is ahead of the clock. It is not among the recent ones.
    """

    recent: Times
    ahead: bool = False


@dataclass(frozen=True, slots=True)
class Polled:
    """One poll: its records in order of arrival, and the partitions of which every record is read (`ended`).

    `held` has the partitions whose next records cannot be read yet: the first offset of an open transaction, None if the
    reason is unknown. It has all of them at each poll.

    With `marks`, by partition, these alone tell how far the stream is in time; its records are only some of the events.

    Some values are needed by some views only, so callables make them: the offset and the time (ms since 1970) of each record,
    and the key and the headers of the record at an index. By default a record has neither key nor headers. The source may
    forget times, keys and headers at its next poll; see `kept`. `time_of` returns the time of the record at an index in less
    time than `timestamps`; None if there is no such way. If the values are not those of the records, `original` returns the
    value of the record at an index.
    """

    values: Values
    partitions: NDArray[np.unsignedinteger[Any]]
    offsets: Callable[[], Times]
    timestamps: Callable[[], Times]
    key_of: Callable[[int], bytes | None] = lambda _: None
    headers_of: Callable[[int], Headers] = lambda _: ()
    original: Callable[[int], bytes | None] | None = None
    time_of: Callable[[int], int] | None = None
    ended: frozenset[int] = frozenset()
    epoch: int = 0
    held: Mapping[int, int | None] = field(default_factory=dict)
    marks: Mapping[int, Mark] | None = None

    def part(self, indices: NDArray[np.int64]) -> "Polled":
        """Return the records at `indices`, which ascend. Cost: O(indices)."""
        return Polled(
            self.values.part(indices),
            self.partitions[indices],
            lambda: self.offsets()[indices],
            lambda: self.timestamps()[indices],
            lambda index: self.key_of(int(indices[index])),
            lambda index: self.headers_of(int(indices[index])),
            None if self.original is None else lambda index: self.record_value(int(indices[index])),
            lambda index: self.written_at(int(indices[index])),
            self.ended,
            self.epoch,
            self.held,
            self.marks,
        )

    def kept(self) -> "Polled":
        """Return the same poll, to be read after the next poll of its source. Cost: 1 us a record, for keys and headers."""
        times = self.timestamps()
        keys = [self.key_of(index) for index in range(len(self.values))]
        headers = [self.headers_of(index) for index in range(len(self.values))]
        return replace(self, timestamps=lambda: times, time_of=None, key_of=keys.__getitem__, headers_of=headers.__getitem__)

    def written_at(self, index: int) -> int:
        """Return the time of the record at `index`."""
        return int(self.timestamps()[index]) if self.time_of is None else self.time_of(index)

    def record_value(self, index: int) -> bytes | None:
        """Return the value that the record at `index` has in the source."""
        return self.values[index] if self.original is None else self.original(index)

    def ranges(self) -> dict[int, tuple[int, int]]:
        """Return the offset of the first record and the offset after the last one, by partition. Cost: O(records)."""
        offsets = self.offsets()
        owned = {number: offsets[self.partitions == number] for number in np.unique(self.partitions).tolist()}
        return {number: (int(own.min()), int(own.max()) + 1) for number, own in owned.items()}


def of_one_partition(values: Values, first: int, timestamps: Callable[[], Times], **more: Any) -> Polled:
    """Return a poll of partition 0 whose first record has the offset `first`. `more` are further fields of `Polled`."""
    partitions = np.zeros(len(values), np.uint8)
    return Polled(values, partitions, lambda: np.arange(first, first + len(values)), timestamps, **more)

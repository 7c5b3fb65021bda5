"""Finds the records at which a stream fails again and again, so that they can be refused and the rest is read. Pure.

A poll at which the decoder fails is decoded in halves. If a slice fails, the stream goes back to a checkpoint, and the failed
events come again in ever smaller batches, one batch at a time. A batch of one event that fails twice is poison.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from actors.columns.snapshot import State
from actors.messages import Ingest
from actors.sources.polled import Place, Polled
from actors.timeline.batch import Batch
from actors.timeline.span import Span

_FINER = 32
_MOST_IN_A_POLL = 16
"""The most records of one poll that may be poison. If the decoder fails at more, the records are not the cause."""

_MOST_IN_A_STREAM = 64
"""The most events of a stream that may be poison. If slices fail at more, the events are not the cause."""

Indices = NDArray[np.int64]
"""The indices of records in a poll, or of events in a batch. They ascend."""


@dataclass(frozen=True, slots=True)
class Origin:
    """The place of a batch's records: the first offset and the offset after the last one, by partition; and the epoch."""

    starts: Mapping[int, int]
    ends: Mapping[int, int]
    epoch: int

    @property
    def ranges(self) -> dict[int, tuple[int, int]]:
        """The first offset and the offset after the last one, for each partition that has records in the batch."""
        return {
            number: (self.starts.get(number, 0), end) for number, end in self.ends.items() if end > self.starts.get(number, 0)
        }

    @staticmethod
    def of(part: Polled) -> "Origin":
        """Return the origin of a part of a poll. Cost: O(records)."""
        ranges = part.ranges()
        return Origin(
            {key: start for key, (start, _) in ranges.items()}, {key: end for key, (_, end) in ranges.items()}, part.epoch
        )


class Suspects:
    """The records and events that are poison, and those that may be. The intake owns it; checkpoints have the poison."""

    def __init__(self) -> None:
        self._records: set[tuple[int, int, int]] = set()
        self._events: set[tuple[int, int]] = set()
        self._ranges: dict[int, tuple[int, int]] = {}
        self._span: Span | None = None
        self._until = Place()
        self._failed_at: Place | None = None
        self._topics: dict[int, str] = {}
        self.batch_size: int | None = None
        """The number of events in a batch of suspected events; None if nothing is suspected."""

    def state(self) -> State:
        """Return the state for `restore`: the poison."""
        return {"records": sorted(self._records), "events": sorted(self._events)}

    def restore(self, state: State) -> None:
        """Add the poison of a checkpoint to the poison that is known already."""
        # Records of earlier versions have no epoch. It was mostly the first one.
        self._records |= {(0, *row) if len(row) == 2 else tuple(row) for row in state["records"]}
        self._events |= {(category, time) for category, time in state["events"]}

    def enter(self, place: Place) -> None:
        """Note which topic has the epoch of `place`, and forget the poison of another one that had the epoch before.

        A stream that goes back to a checkpoint counts epochs from there again. Meanwhile the topic may have been created anew.
        """
        if place.identity is None:
            return
        if self._topics.setdefault(place.epoch, place.identity) != place.identity:
            self._topics[place.epoch] = place.identity
            self._records = {record for record in self._records if record[0] != place.epoch}
            self._ranges = {}

    # The decoder fails -----------------------------------------------------------------------------------------------

    def fails_again(self, place: Place) -> bool:
        """Note that decoding has failed at `place`. Returns whether its last failure was there too."""
        again = self._failed_at == place
        self._failed_at = place
        return again

    def search(self, decode: Callable[[Polled], Any], polled: Polled) -> Indices:
        """Return the records at which `decode` fails. Cost: for each one, log2(records) decodings.

        Raises the error of `decode` if it fails at too many records.
        """
        found: list[int] = []
        waiting = [np.arange(len(polled.values))]
        while waiting:
            indices = waiting.pop()
            try:
                decode(polled.part(indices))
            except Exception:  # any failure of the view, which is what this searches
                if indices.size > 1:
                    waiting += np.array_split(indices, 2)
                    continue
                found.append(int(indices[0]))
                if len(found) > _MOST_IN_A_POLL:
                    raise
        return np.array(sorted(found), np.int64)

    # Poison ----------------------------------------------------------------------------------------------------------

    def poison_in(self, polled: Polled) -> Indices:
        """Return the records of a poll that are poison. Cost: O(records), or nothing if no record is poison yet."""
        if not self._records:
            return np.empty(0, np.int64)
        records = zip(polled.partitions.tolist(), polled.offsets().tolist(), strict=True)
        return np.array([index for index, record in enumerate(records) if (polled.epoch, *record) in self._records], np.int64)

    def poison_among(self, times: NDArray[np.int64], category_of: Callable[[int], int]) -> Indices:
        """Return the events that are poison. `category_of` is called for an event with the time of poison; it may be slow."""
        if not self._events:
            return np.empty(0, np.int64)
        poisonous = np.array([time for _, time in self._events])
        indices = np.flatnonzero(np.isin(times, poisonous)).tolist()
        return np.array([index for index in indices if (category_of(index), int(times[index])) in self._events], np.int64)

    def without_poison(self, batch: Batch) -> tuple[Batch, list[tuple[int, int]]]:
        """Return an ordered batch without poison, and the category and time of each event that was taken out."""
        gone: list[tuple[int, int]] = []
        columns = list(batch.times)
        for category, time in sorted(self._events):
            poisonous = columns[category] == time
            gone += [(category, time)] * int(poisonous.sum())
            columns[category] = columns[category][~poisonous]
        return (Batch(tuple(columns)), gone) if gone else (batch, gone)

    # A slice fails ---------------------------------------------------------------------------------------------------

    def narrow(self, failed: Ingest, place: Place) -> bool:
        """Suspect the events of a batch at which a slice has failed, when all records before `place` were read.

        If the batch is one event that was suspected already, the event becomes poison. Returns whether this narrows the search.
        """
        batch, before = failed.batch, self.batch_size
        if batch is None or not batch.count:
            return False
        self._until = place
        origin = failed.origin
        if origin is None:
            first, last = batch.first(), batch.last()
            assert isinstance(batch, Batch), "events that were put in order are columns of times"
            assert first is not None, "the batch has an event"
            assert last is not None, "the batch has an event"
            again = self._span is not None and self._span.start <= first < self._span.end
            if batch.count == 1 and again:
                category = next(number for number, column in enumerate(batch.times) if column.size)
                self._events.add((category, first))
            self._span = Span(first, last + 1)
            records = batch.count
        else:
            again = all(
                number in self._ranges and self._ranges[number][0] <= start < self._ranges[number][1]
                for number, start in origin.starts.items()
            )
            self._ranges = origin.ranges
            records = sum(end - start for start, end in self._ranges.values())
            if records == 1 and again:
                self._records |= {(origin.epoch, number, start) for number, (start, _) in self._ranges.items()}
        if records == 1 and again:
            self.batch_size = None
            return len(self._records) + len(self._events) <= _MOST_IN_A_STREAM
        self.batch_size = max(1, min(records, self.batch_size or records) // _FINER)
        return before is not None and self.batch_size < before

    def clear(self, place: Place, released_until: int | None) -> None:
        """End the suspicion if all records that were read before the failure have been taken in and released since."""
        if self.batch_size is None or self._is_before(place):
            return
        if self._span is None or (released_until is not None and released_until >= self._span.end):
            self.batch_size, self._span, self._ranges = None, None, {}

    def _is_before(self, place: Place) -> bool:
        """Whether some records that were read before the failure lie at or after `place`."""
        if place.epoch != self._until.epoch:
            return place.epoch < self._until.epoch
        return any(place.offsets.get(number, 0) < end for number, end in self._until.offsets.items())

    def split(self, batch: Batch) -> tuple[Batch, Batch, Batch] | None:
        """Return the events of an ordered batch before, in and after the suspected span; None if none are in it."""
        if self.batch_size is None or self._span is None:
            return None
        before, rest = batch.split(self._span.start)
        inside, after = rest.split(self._span.end)
        return (before, inside, after) if inside.count else None

    def overlap(self, starts: Mapping[int, int], ends: Mapping[int, int]) -> bool:
        """Whether records between these offsets are suspected."""
        return self.batch_size is not None and any(
            starts.get(number, 0) < end and start < ends.get(number, 0) for number, (start, end) in self._ranges.items()
        )

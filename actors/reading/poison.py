"""Which records are at fault when a stream fails again and again: found by bisection, and set aside, so that the rest goes on.

A decoder that fails is tried on halves of the poll. A slice that fails goes back to its checkpoint first; then what failed
comes again in ever smaller batches, one at a time, until one of a single event fails: that is poison.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from actors.columns.snapshot import State
from actors.messages import Ingest
from actors.sources.polled import Polled
from actors.timeline.batch import Batch
from actors.timeline.span import Span

_FINER = 32
_MOST_IN_A_POLL = 16
"""Records of one poll that may be poison: where more are, it is not the records."""

_MOST_EXCUSED = 64
"""Poisonous events that a stream may have: where more are, it is not the events."""

Places = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Origin:
    """Where the records of a batch lie: from which offset up to which, by partition, in which epoch of the topic."""

    starts: Mapping[int, int]
    ends: Mapping[int, int]
    epoch: int

    @property
    def ranges(self) -> dict[int, tuple[int, int]]:
        """The partitions that gave any."""
        return {
            number: (self.starts.get(number, 0), end) for number, end in self.ends.items() if end > self.starts.get(number, 0)
        }

    @staticmethod
    def of(part: Polled) -> "Origin":
        """Return where the records of a part of a poll lie."""
        partitions, offsets = part.partitions, part.offsets()
        numbers = np.unique(partitions).tolist()
        owned = {number: offsets[partitions == number] for number in numbers}
        return Origin(
            {number: int(own.min()) for number, own in owned.items()},
            {number: int(own.max()) + 1 for number, own in owned.items()},
            part.epoch,
        )


class Suspects:
    """What is known to be poison, and what may be. The front end owns it; poison is in its checkpoint."""

    def __init__(self) -> None:
        self._records: set[tuple[int, int, int]] = set()
        self._events: set[tuple[int, int]] = set()
        self._ranges: dict[int, tuple[int, int]] = {}
        self._span: Span | None = None
        self._until: dict[int, int] = {}
        self._failed_at: dict[int, int] | None = None
        self.size: int | None = None
        """Events of a batch where something is suspected; None where nothing is."""

    def state(self) -> State:
        """Return what `restore` takes."""
        return {"records": sorted(self._records), "events": sorted(self._events)}

    def restore(self, state: State) -> None:
        """Know the poison of a checkpoint, beside what is known already."""
        # Before, they had no epoch; it was the first one, mostly.
        self._records |= {(0, *row) if len(row) == 2 else tuple(row) for row in state["records"]}
        self._events |= {(category, time) for category, time in state["events"]}

    # Decoding --------------------------------------------------------------------------------------------------------

    def fails_again(self, offsets: dict[int, int]) -> bool:
        """Whether decoding has failed at this place before; if not, it is known from now on."""
        again = self._failed_at == offsets
        self._failed_at = dict(offsets)
        return again

    def sift(self, decode: Callable[[Polled], Any], polled: Polled) -> Places:
        """Return the places of the records at which `decode` fails. Cost: for each, the logarithm of the poll in decodings.

        Raises what `decode` raises, where too many records are at fault.
        """
        found: list[int] = []
        waiting = [np.arange(len(polled.values))]
        while waiting:
            places = waiting.pop()
            try:
                decode(polled.part(places))
            except Exception:  # whatever it is, it is what is looked for
                if places.size > 1:
                    waiting += np.array_split(places, 2)
                    continue
                found.append(int(places[0]))
                if len(found) > _MOST_IN_A_POLL:
                    raise
        return np.array(sorted(found), np.int64)

    # Poison ----------------------------------------------------------------------------------------------------------

    def known(self, polled: Polled) -> Places:
        """Return the places of records that are known to be poison. Cost: nothing as long as none is known."""
        if not self._records:
            return np.empty(0, np.int64)
        places = zip(polled.partitions.tolist(), polled.offsets().tolist(), strict=True)
        epoch = polled.epoch
        return np.array([place for place, record in enumerate(places) if (epoch, *record) in self._records], np.int64)

    def known_events(self, times: NDArray[np.int64], category_of: Callable[[int], int]) -> Places:
        """Return the places of events that are known to be poison; `category_of` one of them costs a decoding."""
        if not self._events:
            return np.empty(0, np.int64)
        poisonous = np.array([time for _, time in self._events])
        places = np.flatnonzero(np.isin(times, poisonous)).tolist()
        return np.array([place for place in places if (category_of(place), int(times[place])) in self._events], np.int64)

    def without_events(self, batch: Batch) -> tuple[Batch, list[tuple[int, int]]]:
        """Return an ordered batch without the events that are known to be poison, and these: the category and time of each."""
        gone: list[tuple[int, int]] = []
        columns = list(batch.times)
        for category, time in sorted(self._events):
            poisonous = columns[category] == time
            gone += [(category, time)] * int(poisonous.sum())
            columns[category] = columns[category][~poisonous]
        return (Batch(tuple(columns)), gone) if gone else (batch, gone)

    def strike(self, message: Ingest, offsets: dict[int, int]) -> bool:
        """Note that a slice has failed at a batch, when all before `offsets` was read.

        What is in it is suspected, and, where that is one event that was suspected already, guilty. Returns whether more is
        known than before.
        """
        batch, before = message.batch, self.size
        if batch is None or not batch.count:
            return False
        self._until = dict(offsets)
        origin = message.origin
        if origin is None:
            first, last = batch.first(), batch.last()
            assert isinstance(batch, Batch), "what is put in order is columns of times"
            assert first is not None, "there is an event"
            assert last is not None, "there is an event"
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
            self.size = None
            return len(self._records) + len(self._events) <= _MOST_EXCUSED
        self.size = max(1, min(records, self.size or records) // _FINER)
        return before is not None and self.size < before

    def clear(self, offsets: Mapping[int, int], released_until: int | None) -> None:
        """Suspect nothing any more, where all that was read when the slice failed has been taken in since."""
        if self.size is None or any(offsets.get(number, 0) < end for number, end in self._until.items()):
            return
        if self._span is None or (released_until is not None and released_until >= self._span.end):
            self.size, self._span, self._ranges = None, None, {}

    def suspected(self, batch: Batch) -> tuple[Batch, Batch, Batch] | None:
        """Cut an ordered batch into what is before what may be at fault, that, and what is after it; None where nothing may."""
        if self.size is None or self._span is None:
            return None
        before, rest = batch.split(self._span.start)
        inside, after = rest.split(self._span.end)
        return (before, inside, after) if inside.count else None

    def suspected_records(self, starts: Mapping[int, int], ends: Mapping[int, int]) -> bool:
        """Whether records between these offsets may be at fault."""
        return self.size is not None and any(
            starts.get(number, 0) < end and start < ends.get(number, 0) for number, (start, end) in self._ranges.items()
        )

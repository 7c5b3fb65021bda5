"""Which shard each record of a poll belongs to, and the blocks in which it goes there. Decides only."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from actors.cluster.rekeyed.blocks import Range, Stand, block_bytes, standing_bytes
from actors.columns.times import NO_TIMES, Times
from actors.sources.polled import Gap, Mark, Place, Polled, Reason
from actors.timeline.horizon import Ahead, Horizon
from actors.timeline.watermark import newest
from actors.views.view import Decoded, UnreadyError, View

_BLOCK_BYTES = 512 << 10
_RECORD_BYTES = 64
"""What a record takes in a block beside its value, with a short key."""

Homes = Callable[[Any, int], NDArray[np.int64]]
"""Returns the shard of each event of a batch, out of a number of shards."""


class _Dealt(NamedTuple):
    """The shard of each record of a poll, and the rows of the events with their times."""

    homes: NDArray[np.int64]
    rows: NDArray[np.int64]
    times: Times


class LostError(OSError):
    """The topic is another one, or has lost records at its end, so offsets mean something else than before."""


class Dealer:
    """Deals the records of the source `topic` to `shards`. `view` decodes them, and `homes` finds the shards of its events.

    A record that is no event goes to the shard of its partition. Times `ahead` of the clock move no watermark.

    The keys and the headers of records go along if the view needs them (`labelled`). Otherwise only those of records that the
    shard may refuse, for dead letters: records that are no events, and events ahead of the clock.
    """

    def __init__(self, topic: str, view: View, homes: Homes, *, shards: int, ahead: Ahead, labelled: bool) -> None:
        self._topic = topic
        self._view = view
        self._homes = homes
        self._shards = shards
        self._labelled = labelled
        self._horizon = Horizon(ahead)
        self._identity: str | None = None
        self._stands: dict[int, Stand] = {}
        self._reasons: dict[int, Reason] = {}
        self._unsaid: set[int] = set()

    @property
    def standing(self) -> bytes:
        """How far the partitions are forwarded, for the next forwarder."""
        return standing_bytes(self._stands, self._identity)

    def begin(self, before: Mapping[int, Stand], gaps: Iterable[Gap], place: Place) -> None:
        """Begin at the place where the source was opened, after these gaps, and after what was forwarded `before`.

        Raises LostError.
        """
        if place.epoch:
            raise self._lost("the topic was deleted and created again")
        self._identity = place.identity
        self._stands = {number: Stand(at, _recent(before, number)) for number, at in place.offsets.items()}
        self._reasons, self._unsaid = {}, set()
        for gap in gaps:
            self._skip(gap)
        self._unsaid = {
            number for number, stand in self._stands.items() if number not in before or before[number].next != stand.next
        }

    def deal(self, polled: Polled, gaps: Iterable[Gap], place: Place, now: float, wall: float) -> list[list[bytes]]:
        """Return the blocks of a poll that ends at `place`: in order, and of each one that of each shard. None without news.

        `now` and `wall` are the clocks. Raises LostError. Cost: that of decoding the poll, and 1 us a record.
        """
        if place.epoch:
            raise self._lost("the topic was deleted and created again")
        for gap in gaps:
            known = self._stands.get(gap.partition)
            if known is not None:
                self._stands[gap.partition] = known._replace(next=known.next + (gap.count or 0))
            self._skip(gap)
        firsts = {number: first for number, (first, _) in polled.ranges().items()} if polled.values else {}
        for number, at in place.offsets.items():
            if number not in self._stands:  # the topic has got more partitions
                self._stands[number] = Stand(firsts.get(number, at), NO_TIMES)
                self._unsaid.add(number)
        self._horizon.read(now, wall)
        if not polled.values:
            ranges = self._ranges(place.offsets, {}, {})
            nothing = np.empty(0, np.int64)
            return [[block_bytes(polled, nothing, ranges, self._identity)] * self._shards] if ranges else []
        dealt = self._dealt(polled)
        return [self._blocks(polled, cut, dealt, place) for cut in _cuts(polled)]

    def _blocks(self, polled: Polled, cut: tuple[int, int], dealt: _Dealt, place: Place) -> list[bytes]:
        """Return the blocks of the records from one index to another one, one for each shard."""
        begin, end = cut
        homes, rows, times = dealt
        partitions, offsets = polled.partitions[begin:end], polled.offsets()[begin:end]
        ends = {number: int(offsets[partitions == number].max()) + 1 for number in np.unique(partitions).tolist()}
        inside = (rows >= begin) & (rows < end)
        own, of = times[inside], polled.partitions[rows[inside]]
        fits = own <= self._horizon.latest
        fresh = {number: own[(of == number) & fits] for number in ends}
        ahead = {number: bool(((of == number) & ~fits).any()) for number in ends} if not fits.all() else {}
        if end == len(polled.values):
            ends |= {number: max(at, ends.get(number, 0)) for number, at in place.offsets.items()}
        ranges = self._ranges(ends, fresh, ahead)
        labelled = None
        if not self._labelled and polled.original is None:
            labelled = np.ones(len(polled.values), np.bool_)
            labelled[rows[inside][fits]] = False
        parts = [begin + np.flatnonzero(homes[begin:end] == shard) for shard in range(self._shards)]
        return [block_bytes(polled, part, ranges, self._identity, labelled) for part in parts]

    def _ranges(self, ends: Mapping[int, int], fresh: Mapping[int, Times], ahead: Mapping[int, bool]) -> list[Range]:
        """Return the ranges up to the `ends`, with the times of `fresh` events, and note that these are forwarded."""
        found = []
        for number, until in sorted(ends.items()):
            stand, times = self._stands[number], fresh.get(number, NO_TIMES)
            if until <= stand.next and number not in self._unsaid:
                continue
            recent = newest(stand.recent, times) if times.size else stand.recent
            shown = recent if times.size or number in self._unsaid else NO_TIMES
            mark = Mark(shown, ahead=ahead.get(number, False))
            end = max(until, stand.next)
            found.append(Range(number, stand.next, end, self._reasons.pop(number, None), mark))
            self._stands[number] = Stand(end, recent)
            self._unsaid.discard(number)
        return found

    def _dealt(self, polled: Polled) -> _Dealt:
        """Decode a poll, and find the shards.

        If the view fails at a record, this goes to the shard of its partition, whose slices refuse it.
        """
        homes = polled.partitions.astype(np.int64) % self._shards
        rows, times = [], []
        for begin, end, decoded in self._decoded(polled, 0, len(polled.values)):
            accepted = np.arange(end - begin) if decoded.accepted is None else np.flatnonzero(decoded.accepted)
            own = begin + accepted
            if own.size:
                homes[own] = self._homes(decoded.batch, self._shards)
            rows.append(own)
            times.append(decoded.times)
        return _Dealt(homes, np.concatenate([*rows, np.empty(0, np.int64)]), np.concatenate([*times, NO_TIMES]))

    def _decoded(self, polled: Polled, begin: int, end: int) -> list[tuple[int, int, Decoded]]:
        """Decode the records from one index to another one, in halves if the view fails."""
        whole = begin == 0 and end == len(polled.values)
        try:
            return [(begin, end, self._view.decode(polled if whole else polled.part(np.arange(begin, end))))]
        except UnreadyError:  # no record is at fault
            raise
        except Exception:  # noqa: BLE001  # a defect of the view: the slices of the shard report it
            if end - begin == 1:
                return []
            middle = (begin + end) // 2
            return [*self._decoded(polled, begin, middle), *self._decoded(polled, middle, end)]

    def _skip(self, gap: Gap) -> None:
        """Note why records are missing."""
        if gap.reason not in {"deleted", "damaged"}:
            raise self._lost("the topic has lost records at its end")
        self._reasons[gap.partition] = gap.reason

    def _lost(self, what: str) -> LostError:
        return LostError(
            f"topic {self._topic}: {what}, and the topic by key has the records of before: take another cluster.name, which"
            " reads everything again"
        )


def _recent(before: Mapping[int, Stand], number: int) -> Times:
    return before[number].recent if number in before else NO_TIMES


def _cuts(polled: Polled) -> Sequence[tuple[int, int]]:
    """Cut a poll into pieces, each with at most 512 KiB or one record. Cost: O(records)."""
    sizes = np.cumsum(polled.values.text.lengths + _RECORD_BYTES)
    places = [0, *(np.flatnonzero(np.diff(sizes // _BLOCK_BYTES)) + 1).tolist(), len(polled.values)]
    return list(pairwise(places))

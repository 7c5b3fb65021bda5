"""What was read of a stream and not yet sent to a slice: decoded, counted and put in order of time; and the gaps in it.

The front end owns it. It reads no clock and sends no message. A checkpoint has its whole state.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from actors.collecting.tally import Tally
from actors.columns.snapshot import State
from actors.columns.times import INT64_MAX, INT64_MIN, Times
from actors.messages import Dead, Ingest, RecordsMissing
from actors.reading.apart import Apart
from actors.reading.cutting import Piece, cut, cut_exactly
from actors.reading.newest import Newest
from actors.reading.pace import Pace
from actors.reading.poison import Origin, Suspects
from actors.replies import Progress
from actors.sources.polled import Gap, Place, Polled
from actors.timeline.batch import Batch
from actors.timeline.horizon import Ahead, Horizon
from actors.timeline.order import OrderBuffer
from actors.timeline.refusals import Refusals
from actors.timeline.span import EVER, Span
from actors.timeline.unit import STRANGE, TimeUnit
from actors.timeline.watermark import Watermark
from actors.views.view import Decoded, Events, Silence, UnreadyError, View

_Refused = tuple[Polled, Iterable[tuple[int, str]]]
"""A poll, and for each refused record its index in the poll and the reason."""


class Taken(NamedTuple):
    """The consequences of one poll: the number of its records, and gaps whose end is now known.

    `dead` has the refused records if dead letters are kept. `decided`: the poll has decided the unit of the times.
    """

    records: int
    missing: list[RecordsMissing]
    dead: list[Dead]
    decided: bool = False


@dataclass(frozen=True, slots=True)
class _OpenGap:
    """A gap whose end is unknown, because no event of its partition has come since."""

    key: str
    reason: str
    start: int
    count: int


class Intake:
    """Takes in polls, and releases events in order of time. `idle_s` is in seconds.

    `lateness` and `horizon` are in the unit of the settings; if the events decide another `unit`, they are converted. Events
    beyond the `horizon` are kept apart, or move no watermark. If it `keeps_dead`, `take` returns the refused records.
    `unit`, `horizon`, `suspects` and `tally` outlive a round, see `anew`.
    """

    def __init__(
        self,
        *,
        view: View,
        lateness: int,
        idle_s: float,
        pace: Pace,
        keeps_dead: bool,
        unit: TimeUnit | None = None,
        horizon: Horizon | None = None,
        suspects: Suspects | None = None,
        tally: Tally | None = None,
    ) -> None:
        self._view = view
        self._unit = unit or TimeUnit()
        self._given_lateness, self._lateness = lateness, self._unit.scaled(lateness)
        self._idle_s = idle_s
        self._pace = pace
        self._keeps_dead = keeps_dead
        self._horizon = horizon or Horizon(Ahead())
        self._horizon.scale(self._unit)
        self._suspects = suspects or Suspects()
        self._tally = tally or Tally()
        self._order = OrderBuffer(categories=view.categories, limit=pace.buffer_events)
        self._watermark = Watermark(lateness=self._lateness, idle_s=idle_s)
        self._refusals = Refusals(max_count=100, max_bytes=256)
        self._newest = Newest(timed=view.timed)
        self._apart = Apart(pace.apart_bytes)
        self._place = Place()
        self._held: Mapping[int, int | None] = {}
        self._records = self._events = self._late = self._late_by_silence = self._ahead = self._other = 0
        self._released_until: int | None = None
        self._announced: int | None = None
        self._released_at = 0.0
        self._first_record_at: float | None = None
        self._last_record_at: float | None = None
        self._ready: list[Piece] = []
        self._open: dict[tuple[int, str], _OpenGap] = {}
        self._gaps = 0
        self.undecoded = False
        """Whether the decoder has failed for the first time at this place, since `prepare`: no record of the poll is in."""

    # Rounds and reports ----------------------------------------------------------------------------------------------

    def anew(self, state: State | None, now: float) -> "Intake":
        """Return the intake of the next round: with the `state` of a checkpoint, or empty. This one is not used any more.

        The suspects and the counts since the start of the process go on. Raises an error if `state` is damaged.
        """
        self._tally.note(self._counts())
        self._unit.begin(*(None, ()) if state is None else (state.get("unit"), _recent(state["watermark"])))
        fresh = Intake(
            view=self._view,
            lateness=self._given_lateness,
            idle_s=self._idle_s,
            pace=self._pace,
            keeps_dead=self._keeps_dead,
            unit=self._unit,
            horizon=self._horizon,
            suspects=self._suspects,
            tally=self._tally,
        )
        if state is not None:
            fresh._restore(state, now)  # same class
        self._tally.begin(fresh._counts())
        return fresh

    def state(self) -> State:
        """Return the state for `anew`."""
        return {
            "offsets": dict(self._place.offsets),
            "identity": self._place.identity,
            "epoch": self._place.epoch,
            **_carried(self._place),
            "unit": self._unit.state(),
            "order": self._order.state(),
            "watermark": self._watermark.state(),
            "refusals": self._refusals.state(),
            "counts": (self._records, self._events, self._late),
            "late_by_silence": self._late_by_silence,
            "ahead": self._ahead,
            "other": self._other,
            "apart": self._apart.state(),
            "poison": self._suspects.state(),
            "released_until": self._released_until,
            "announced": self._announced,
            "first_record_at": self._first_record_at,
            "last_record_at": self._last_record_at,
            "gaps": (self._gaps, [(number, *astuple(gap)) for (number, _), gap in self._open.items()]),
        }

    def _restore(self, state: State, now: float) -> None:
        offsets = {int(number): int(offset) for number, offset in state["offsets"].items()}
        self._place = Place(offsets, state["identity"], state["epoch"], _carrier_of(state))
        self._order.restore(state["order"])
        self._watermark.restore(state["watermark"], now)
        self._refusals.restore(state["refusals"])
        self._suspects.enter(self._place)
        self._suspects.restore(state["poison"])
        clean, poison = self._suspects.without_poison(self._order.flush())
        self._order.restore(clean.state())
        self._records, self._events, self._late = state["counts"]
        self._late_by_silence = state.get("late_by_silence", 0)  # earlier versions did not count them apart
        self._ahead = state.get("ahead", 0)  # earlier versions did not keep events apart
        self._other = state.get("other", 0)  # earlier versions refused every record that is no event
        self._apart.restore(state.get("apart"))
        self._events -= len(poison)
        for category, time in poison:  # it was decoded before the checkpoint, so its bytes are lost
            self._refusals.add(-1, -1, "poison", f"category {category} at {time}".encode())
        self._released_until, self._first_record_at = state["released_until"], state["first_record_at"]
        self._last_record_at, self._announced = state.get("last_record_at"), state.get("announced")  # not in earlier ones
        self._gaps, gaps = state["gaps"]
        if isinstance(gaps, dict):  # checkpoints of earlier versions have one gap a partition
            gaps = [(number, *gap) for number, gap in gaps.items()]
        self._open = {(number, opened.reason): opened for number, *gap in gaps for opened in [_OpenGap(*gap)]}

    def report(self, now: float) -> Progress:
        """Return the progress of the stream, as far as the intake knows it."""
        self._tally.note(self._counts())
        return Progress(
            records=self._records,
            events=self._events,
            other=self._other,
            rejects=self._refusals.counts(),
            refused=self._refusals.newest(),
            newest=self._newest.newest(),
            late=self._late,
            late_by_silence=self._late_by_silence,
            ahead=self._ahead,
            apart=len(self._apart),
            apart_from=self._apart.first,
            buffered=len(self._order),
            buffered_bytes=self._order.nbytes + self._apart.nbytes,
            watermark=self.watermark(now) if self._view.timed else None,
            silence=self.silence(now).time if self._view.timed and self.idle(now) else None,
            unit=self._unit.now if self._view.timed else None,
            held_back_by=self._watermark.holding(now),
            transactions=self._transactions(),
            offsets=self._place.offsets,
            epoch=self._place.epoch,
            first_record_at=self._first_record_at,
            last_record_at=self._last_record_at,
            since_start=dict(self._tally.total),
        )

    def _counts(self) -> dict[str, int]:
        refused = {f"rejects {reason}": count for reason, count in self._refusals.counts().items()}
        own = {"records": self._records, "events": self._events, "other": self._other, "late": self._late, "ahead": self._ahead}
        return {**own, **refused}

    @property
    def place(self) -> Place:
        """The place up to which every record is taken in."""
        return self._place

    @property
    def records(self) -> int:
        """The number of records that were read."""
        return self._records

    # Polls -----------------------------------------------------------------------------------------------------------

    def opened(self, place: Place, gaps: Sequence[Gap], now: float, *, unreadable: bool) -> list[RecordsMissing]:
        """Go on at the `place` where the source was opened, after these gaps. Returns the missing records.

        `unreadable`: the checkpoint could not be read, so an unknown number of records before `place` is missing.
        """
        missing = self.skip(gaps, place)
        for number, offset in place.offsets.items():
            self._watermark.expect(number, at_end=False, now=now)
            if unreadable and offset > 0:
                missing.append(self._gap(number, None, "unreadable"))
        return missing

    def skip(self, gaps: Sequence[Gap], place: Place) -> list[RecordsMissing]:
        """Go on at `place`, which lies after these gaps. Returns the missing records.

        Until the next event of its partition, the end of a gap is unknown: its span reaches to the end of time. If the view's
        axis is not time, the span is unknown for good.
        """
        missing = [self._gap(gap.partition, gap.count, gap.reason) for gap in gaps]
        self._watermark.keep(place.offsets)
        self._place = place
        return missing

    def prepare(self, unread_s: float, now: float, wall: float) -> None:
        """Prepare for a poll, after every batch was sent. The stream was not read for the last `unread_s` seconds.

        `now` and `wall` are the clocks: the monotonic one, and the seconds since 1970.
        """
        self._horizon.read(now, wall)
        if not self._matured and not self._holds_suspects:  # records that `mature` will take in may be suspected too
            self._suspects.clear(self._place, self._released_until)
        self.undecoded = False
        if unread_s > 0:
            self._watermark.postpone(unread_s)

    def take(self, polled: Polled, place: Place, now: float, wall: float) -> Taken:
        """Decode a poll that ends at `place`, and hold its events until `release`, or until their time comes.

        At the decoder's first failure at a place, raises its error and sets `undecoded`: no record of the poll is taken in, so
        the poll can be read again. At the second failure there, the records at fault are refused. After any other error a part
        of the poll may be taken in, so the stream must go back to its checkpoint.
        """
        refused: list[_Refused] = []
        self._suspects.enter(place)
        self._mark(polled, now)
        records, decoded = self._decoded(polled, refused)
        origin = Origin(self._place.offsets, place.offsets, polled.epoch)
        missing: list[RecordsMissing] = []
        decides = self._unit.deciding(decoded.times)
        if decides is not None:  # events before it count in the unit that was assumed, as if they had come in an earlier poll
            first = decides if decoded.accepted is None else int(np.flatnonzero(decoded.accepted)[decides])
            before, records = records.part(np.arange(first)), records.part(np.arange(first, len(records.values)))
            missing += self._enter(before, self._view.decode(before), origin, refused, now)
            self.decide(int(decoded.times[decides]), f"partition {records.partitions[0]}, offset {records.offsets()[0]}")
            records, decoded = self._without_strange(records, self._view.decode(records), refused)
        self._newest.take(records, decoded, now)
        missing += self._enter(records, decoded, origin, refused, now)
        self._place = place
        self._records += len(polled.values)
        self._last_record_at = wall
        if self._first_record_at is None:
            self._first_record_at = wall
        return Taken(len(polled.values), missing, self._refuse(refused), decides is not None)

    def decide(self, time: int, where: str) -> None:
        """Decide the unit by a `time` and where it was found, and convert what is in the unit of the settings."""
        self._unit.decide(time, where)
        self._lateness = self._unit.scaled(self._given_lateness)
        self._watermark.scale(self._lateness)
        self._horizon.scale(self._unit)

    def mature(self, now: float) -> Taken:
        """Take in the records that were kept apart and whose time has come. Fails as `take` does. Cost: O(1) without any."""
        count = 0
        missing: list[RecordsMissing] = []
        refused: list[_Refused] = []
        while self._matured:
            kept = self._apart.take(self._horizon.due)
            try:
                records, decoded = self._decoded(kept.polled, refused)
            except UnreadyError:  # the source has learnt what is missing, and gives no records before it is there
                self._apart.put_back(kept)
                self.undecoded = False
                break
            except Exception:  # whatever failed, the records wait for the next attempt
                self._apart.put_back(kept)
                raise
            self._events -= len(kept.polled.values)  # they were counted when they came
            count += len(kept.polled.values)
            at_end = self._watermark.at_end
            missing += self._enter(records, decoded, Origin.of(kept.polled), refused, now)
            self._watermark.keep(self._place.offsets)  # a partition that exists no more would hold the others back for ever
            for number in at_end:  # a source reports this only once after its own records
                self._watermark.expect(number, at_end=True, now=now)
        return Taken(count, missing, self._refuse(refused))

    @property
    def _holds_suspects(self) -> bool:
        """Whether suspected events wait to be put in order: if they are late, all up to later times may be released before."""
        if self._suspects.batch_size is None or not len(self._order):
            return False
        return self._suspects.split(Batch.of_state(self._order.state())) is not None

    @property
    def _matured(self) -> bool:
        """Whether the time of a record that is kept apart has come."""
        return self._apart.first is not None and self._apart.first <= self._horizon.due

    def ended(self, polled: Polled, now: float) -> None:
        """Note the partitions that a poll has read to their end, and those with records that cannot be read yet."""
        if not polled.values:
            self._mark(polled, now)
        for number in polled.ended:
            self._watermark.expect(number, at_end=True, now=now)
        for number in polled.held:
            self._watermark.expect(number, at_end=False, now=now)
        self._held = polled.held

    def _mark(self, polled: Polled, now: float) -> None:
        """Note how far the partitions of a poll are by its marks."""
        for number, mark in (polled.marks or {}).items():
            if mark.ahead:
                self._watermark.saw_ahead(np.array([number], np.uint32), now)
            if mark.recent.size:
                self._watermark.knows(number, mark.recent, now)

    def transaction(self, now: float) -> tuple[int, int] | None:
        """Return the partition and the first offset of an open transaction, if nothing else holds the stream back."""
        if not self._watermark.idle(now, but=self._held):
            return None
        return min(self._transactions().items(), default=None)

    def _transactions(self) -> dict[int, int]:
        return {number: offset for number, offset in self._held.items() if offset is not None}

    def _enter(
        self, polled: Polled, decoded: Decoded, origin: Origin, refused: list[_Refused], now: float
    ) -> list[RecordsMissing]:
        """Add the events of a poll without poison: to the order buffer, to a piece, or to the records kept apart.

        Returns the gaps whose end is now known. Adds records for which there is no room to `refused`.
        """
        times, partitions = decoded.times, _partitions(polled, decoded)
        self._events += times.size
        if self._horizon.passed_by(times):
            ahead = times > self._horizon.latest
            self._ahead += int(ahead.sum())
            self._watermark.saw_ahead(partitions[ahead], now)
            times, partitions = times[~ahead], partitions[~ahead]
            if self._horizon.waits:
                polled, decoded = self._without_ahead(polled, decoded, ahead, refused)
        released = INT64_MIN if self._released_until is None else self._released_until
        behind = int((times < released).sum())
        silent = 0 if self._announced is None else int((times < max(released, self._announced)).sum()) - behind
        self._late += behind + silent
        self._late_by_silence += silent
        if polled.marks is None:
            self._watermark.saw(partitions, times, now)
        if self._view.categories:
            self._order.add(decoded.batch)
        elif decoded.batch.count:
            self._pass_on(polled, decoded.batch, origin, now)
        return self._ended_gaps(partitions, times)

    def _without_ahead(
        self, polled: Polled, decoded: Decoded, ahead: NDArray[np.bool_], refused: list[_Refused]
    ) -> tuple[Polled, Decoded]:
        """Keep the events of the mask `ahead` apart, and return the others. Cost: the others are decoded again."""
        events = np.arange(len(polled.values)) if decoded.accepted is None else np.flatnonzero(decoded.accepted)
        early = polled.part(events[ahead])
        left = self._apart.keep(early, decoded.times[ahead])
        if left:
            self._events -= len(left)
            refused.append((early, [(index, "ahead") for index in left]))
        rest = polled.part(events[~ahead])
        return rest, self._view.decode(rest)

    def _decoded(self, polled: Polled, refused: list[_Refused]) -> tuple[Polled, Decoded]:
        """Return a poll without poison, and what the view decoded of it. Adds refused records to `refused`."""
        polled = _without(polled, self._suspects.poison_in(polled), refused)
        try:
            decoded = self._view.decode(polled)
        except UnreadyError:  # no record is at fault
            self.undecoded = True
            raise
        except Exception:  # a defect of the view: it is raised once, then the records at fault are searched
            if not self._suspects.fails_again(self._place):
                self.undecoded = True
                raise
            polled = _without(polled, self._suspects.search(self._view.decode, polled), refused)
            decoded = self._view.decode(polled)
        if self._view.categories:
            polled, decoded = self._without_poison(polled, decoded, refused)
        if decoded.accepted is not None:
            self._other += decoded.accepted.size - int(decoded.accepted.sum()) - len(decoded.refusals)
        if decoded.refusals:
            refused.append((polled, decoded.refusals))
        return self._without_strange(polled, decoded, refused)

    def _without_strange(self, polled: Polled, decoded: Decoded, refused: list[_Refused]) -> tuple[Polled, Decoded]:
        """Return the same without the events whose times are in another unit. Cost: if there are any, one more decoding."""
        strange = self._unit.strange(decoded.times)
        if strange is None:
            return polled, decoded
        events = np.arange(len(polled.values)) if decoded.accepted is None else np.flatnonzero(decoded.accepted)
        refused.append((polled, [(index, STRANGE) for index in events[strange].tolist()]))
        rest = polled.part(events[~strange])
        return rest, self._view.decode(rest)

    def _without_poison(self, polled: Polled, decoded: Decoded, refused: list[_Refused]) -> tuple[Polled, Decoded]:
        """Return the same without the events that are known to be poison."""
        events = np.arange(len(polled.values)) if decoded.accepted is None else np.flatnonzero(decoded.accepted)

        def category_of(event: int) -> int:
            alone: Batch = self._view.decode(polled.part(events[event : event + 1])).batch
            return next(number for number, column in enumerate(alone.times) if column.size)

        poison = self._suspects.poison_among(decoded.times, category_of)
        if not poison.size:
            return polled, decoded
        polled = _without(polled, events[poison], refused)
        return polled, self._view.decode(polled)

    def _refuse(self, refused: Iterable[_Refused]) -> list[Dead]:
        """Count and keep refused records. Returns them if dead letters are kept. Cost: O(refused records)."""
        dead: list[Dead] = []
        for polled, refusals in refused:
            offsets, written_at = polled.offsets(), polled.timestamps()
            found = list(refusals)
            shown = len(found) - self._refusals.room
            for place, (index, reason) in enumerate(found):
                value, partition, offset = polled.record_value(index), int(polled.partitions[index]), int(offsets[index])
                if place < shown and not self._keeps_dead:
                    self._refusals.add(partition, offset, reason, value or b"")
                    continue
                key, headers = polled.key_of(index), polled.headers_of(index)
                at = int(written_at[index])
                self._refusals.add(partition, offset, reason, value or b"", written_at=at, key=key, headers=headers)
                if self._keeps_dead:
                    dead.append(Dead(value, key, headers, partition, offset, reason))
        return dead

    def _pass_on(self, polled: Polled, batch: Events, origin: Origin, now: float) -> None:
        """Make a poll of a view that needs no order ready, in small pieces if records in it are suspected."""
        before, self._released_until = self._released_until, self.watermark(now)
        if not self._suspects.overlap(origin.starts, origin.ends):
            self._ready.append(Piece(batch, self._released_until, origin))
            return
        assert self._suspects.batch_size is not None, "suspected records are sent in small pieces"
        count = -(-len(polled.values) // self._suspects.batch_size)
        for indices in np.array_split(np.arange(len(polled.values)), count):
            part = polled.part(indices)
            decoded = self._view.decode(part)
            if decoded.batch.count:
                self._ready.append(Piece(decoded.batch, before, Origin.of(part)))
        if self._ready:  # the poll is complete with its last piece only
            self._ready[-1] = self._ready[-1]._replace(until=self._released_until)

    # Gaps ------------------------------------------------------------------------------------------------------------

    def _gap(self, partition: int, count: int | None, reason: str) -> RecordsMissing:
        """Open a gap. It joins a gap of the same reason if no event of the partition has come since that one."""
        frontier = self._watermark.frontier(partition) if self._view.timed else None
        start = EVER.start if frontier is None else max(EVER.start, frontier - self._lateness)
        known = self._open.get((partition, reason))
        if known is None:
            self._gaps += 1
            known = _OpenGap(f"gap {self._gaps}", reason, start, 0)
        opened = _OpenGap(known.key, reason, min(start, known.start), known.count + (count or 0))
        self._open[partition, reason] = opened
        return _missing(opened, EVER.end)

    def _ended_gaps(self, partitions: NDArray[np.unsignedinteger[Any]], times: Times) -> list[RecordsMissing]:
        """Close the gaps that have an event after them now."""
        ended = []
        for number, reason in list(self._open) if times.size and self._view.timed else ():
            # No record of a deleted partition will come. The events of the other partitions are later than its gap.
            own = times[partitions == number] if number in self._place.offsets else times
            if not own.size:
                continue
            gap, first = self._open.pop((number, reason)), int(own.min())
            ended.append(_missing(gap, min(max(gap.start, first + self._lateness), INT64_MAX) + 1))
        return ended

    # Order -----------------------------------------------------------------------------------------------------------

    def watermark(self, now: float) -> int | None:
        """Return the time before which no more events are expected, or None if it is unknown."""
        return self._watermark.at(now)

    def silence(self, now: float) -> Silence:
        """Describe the silence of a stream whose records are all read.

        The stream's time goes on with the clock from the latest event, but not beyond the clock itself. So the time of a stream
        whose events are old goes on too.
        """
        latest, clock = self._watermark.latest, self._horizon.time
        if latest is None or clock is None:
            return Silence(None)
        return Silence(min(clock, latest + self._horizon.span_of(self._watermark.silent_s(now))) - self._lateness)

    def announce(self, silence: Silence) -> None:
        """Note that slices get a silence. If the view needs no order, events before its time are late from now on."""
        if silence.time is not None and not self._view.categories:
            self._announced = silence.time if self._announced is None else max(self._announced, silence.time)

    def idle(self, now: float) -> bool:
        """Whether all records of every partition are read, and none came for `idle_s` seconds."""
        return self._watermark.idle(now)

    def partition_to_catch_up(self, now: float, alone: int | None) -> int | None:
        """Return the partition to read alone, because many events wait for it; None if all partitions are to be read.

        `alone` is the partition that is read alone at present. It stays alone until it has caught up.
        """
        slowest, waiting = self._watermark.holding(now), len(self._order)
        if alone is None:
            return slowest if waiting > self._pace.buffer_events // 4 else None
        return alone if slowest == alone and waiting >= self._pace.buffer_events // 16 else None

    def release(self, now: float, *, everything: bool) -> list[Piece]:
        """Return the events before the watermark, or `everything`, in pieces. Events that come for an earlier time are late.

        Without `everything`, it sorts only if many events are new, or if it has not sorted for `report_s` seconds.
        """
        pieces, self._ready = self._ready, []
        if len(self._order) and (everything or self._order.due or now - self._released_at >= self._pace.report_s):
            self._released_at = now
            until = self.watermark(now)
            pieces += self._cut(self._ordered(until, everything=everything), until)
        return pieces

    def flush(self) -> list[Piece]:
        """Return all events in pieces, at the end of the stream."""
        return self._cut(self._ordered(None, everything=True), self._released_until) if len(self._order) else []

    def _ordered(self, until: int | None, *, everything: bool) -> Batch:
        released = self._order.flush() if everything else self._order.release(until)
        last = released.last()  # it may be later than `until`: a full order buffer releases more
        times = [time for time in (self._released_until, until, last + 1 if last is not None else None) if time is not None]
        self._released_until = max(times, default=None)
        return released

    def _cut(self, batch: Batch, until: int | None) -> list[Piece]:
        """Cut a batch into pieces, small ones if events in it are suspected."""
        size, parts = self._pace.micro_batch, self._suspects.split(batch)
        if parts is None:
            return list(cut(batch, until, size))
        before, inside, after = parts
        suspected = cut_exactly(inside, after.first() if after.count else until, self._suspects.batch_size or 1)
        return [*cut(before, inside.first(), size), *suspected, *cut(after, until, size)]

    # Poison ----------------------------------------------------------------------------------------------------------

    @property
    def one_by_one(self) -> bool:
        """Whether batches must be sent one at a time, because records are suspected."""
        return self._suspects.batch_size is not None

    def suspect(self, failed: Ingest) -> bool:
        """Suspect the records of a batch at which a slice has failed. Returns whether this narrows the search."""
        return self._suspects.narrow(failed, self._place)


def _recent(watermark: State) -> list[Times]:
    """Return the newest times of each partition in the state of a watermark, by the number of the partition."""
    return [np.array(recent) for _, (recent, _) in sorted(watermark.items(), key=lambda each: int(each[0]))]


def _carried(place: Place) -> State:
    """Return what a checkpoint has of the place in another topic; nothing if the records are read from their own."""
    if place.carrier is None:
        return {}
    return {"carrier": (dict(place.carrier.offsets), place.carrier.identity, place.carrier.epoch)}


def _carrier_of(state: State) -> Place | None:
    if "carrier" not in state:
        return None
    offsets, identity, epoch = state["carrier"]
    return Place({int(number): int(offset) for number, offset in offsets.items()}, identity, epoch)


def _partitions(polled: Polled, decoded: Decoded) -> NDArray[np.unsignedinteger[Any]]:
    """Return the partition of each event."""
    return polled.partitions if decoded.accepted is None else polled.partitions[decoded.accepted]


def _without(polled: Polled, poison: NDArray[np.int64], refused: list[_Refused]) -> Polled:
    """Return a poll without the records at the indices `poison`, which are added to `refused`."""
    if not poison.size:
        return polled
    refused.append((polled, [(index, "poison") for index in poison.tolist()]))
    return polled.part(np.setdiff1d(np.arange(len(polled.values)), poison))


def _missing(gap: _OpenGap, end: int) -> RecordsMissing:
    return RecordsMissing(gap.key, gap.reason, Span(gap.start, max(gap.start, end)), gap.count)

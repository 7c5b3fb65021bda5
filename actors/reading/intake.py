"""What has been read of a stream and not been sent on: decoded, counted, put in order of time, and what never came.

The front end's memory, without its mailbox: it looks at no clock and sends nothing. Its whole state is in a checkpoint.
"""

from dataclasses import astuple, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from actors.columns.snapshot import State
from actors.columns.times import INT64_MAX, INT64_MIN, Times
from actors.messages import Dead, RecordsMissing
from actors.reading.poison import Origin, Places, Suspects
from actors.sources.polled import Polled
from actors.timeline.batch import Batch
from actors.timeline.order import OrderBuffer
from actors.timeline.refusals import Refusals
from actors.timeline.span import EVER, Span
from actors.timeline.watermark import Watermark
from actors.views.view import Decoded, Events, View


@dataclass(frozen=True, slots=True)
class _Open:
    """A gap whose end is not known yet: nothing has come of its partition since."""

    key: str
    reason: str
    start: int
    count: int


class Intake:
    """Takes polls in, gives ordered events out. `lateness` is in the stream's unit, `idle_s` in seconds.

    Where it `keeps_dead`, it keeps refused records whole until they are asked for.
    """

    def __init__(
        self,
        *,
        view: View,
        lateness: int,
        idle_s: float,
        buffer_events: int,
        keeps_dead: bool,
        suspects: Suspects | None = None,
    ) -> None:
        self._view = view
        self._lateness = lateness
        self._idle_s = idle_s
        self._buffer_events = buffer_events
        self.order = OrderBuffer(categories=view.categories, limit=buffer_events)
        self.watermark = Watermark(lateness=lateness, idle_s=idle_s)
        self.refusals = Refusals(max_count=100, max_bytes=256)
        self.offsets: dict[int, int] = {}
        self.identity: str | None = None
        self.epoch = 0
        self.records = self.events = self.late = 0
        self.released_until: int | None = None
        self.first_record_at: float | None = None
        self.suspects = suspects or Suspects()
        self._keeps_dead = keeps_dead
        self._dead: list[Dead] = []
        self._ready: list[tuple[Events, int | None, Origin]] = []
        self._open: dict[tuple[int, str], _Open] = {}
        self._gaps = 0

    def anew(self) -> "Intake":
        """Return one for the same stream that has taken in nothing, and suspects what this one does."""
        return Intake(
            view=self._view,
            lateness=self._lateness,
            idle_s=self._idle_s,
            buffer_events=self._buffer_events,
            keeps_dead=self._keeps_dead,
            suspects=self.suspects,
        )

    def state(self) -> State:
        """Return what `restore` takes."""
        return {
            "offsets": dict(self.offsets),
            "identity": self.identity,
            "epoch": self.epoch,
            "order": self.order.state(),
            "watermark": self.watermark.state(),
            "refusals": self.refusals.state(),
            "counts": (self.records, self.events, self.late),
            "poison": self.suspects.state(),
            "released_until": self.released_until,
            "first_record_at": self.first_record_at,
            "gaps": (self._gaps, [(number, *astuple(gap)) for (number, _), gap in self._open.items()]),
        }

    def restore(self, state: State, now: float) -> None:
        """Know what was known when `state` was taken, and nothing else. Raises as `View.revive` does."""
        self.offsets = {int(number): int(offset) for number, offset in state["offsets"].items()}
        self.identity, self.epoch = state["identity"], state["epoch"]
        self.order.restore(state["order"])
        self.watermark.restore(state["watermark"], now)
        self.refusals.restore(state["refusals"])
        self.suspects.restore(state["poison"])
        clean, poison = self.suspects.without_events(self.order.flush())
        self.order.restore(clean.state())
        self.records, self.events, self.late = state["counts"]
        self.events -= len(poison)
        for category, time in poison:  # it was decoded before the checkpoint, and nobody has its bytes any more
            self.refusals.add(-1, -1, "poison", f"category {category} at {time}".encode())
        self.released_until, self.first_record_at = state["released_until"], state["first_record_at"]
        self._gaps, gaps = state["gaps"]
        if isinstance(gaps, dict):  # earlier versions knew one a partition
            gaps = [(number, *gap) for number, gap in gaps.items()]
        self._open = {(number, opened.reason): opened for number, *gap in gaps for opened in [_Open(*gap)]}

    def counted(self) -> dict[str, int]:
        """Return what was read so far, by name, and what was refused by reason."""
        refused = {f"rejects {reason}": count for reason, count in self.refusals.counts().items()}
        return {"records": self.records, "events": self.events, "late": self.late, **refused}

    def take(self, polled: Polled, offsets: dict[int, int], now: float, wall: float) -> list[RecordsMissing]:
        """Decode a poll that ends at `offsets`, and hold its events for their turn; only then its records count as read.

        Returns what is known better of gaps. Raises what the decoder raises, the first time that it fails at a place.
        """
        whole, poison = polled, self.suspects.known(polled)
        if poison.size:
            polled = self._without(polled, poison)
        try:
            decoded = self._view.decode(polled)
        except Exception:  # a view's bug, whatever it is: the first time it is raised, then the records at fault are found
            if not self.suspects.fails_again(self.offsets):
                raise
            polled = self._without(polled, self.suspects.sift(self._view.decode, polled))
            decoded = self._view.decode(polled)
        if self._view.categories:
            polled, decoded = self._without_poison(polled, decoded)
        times, batch, accepted, refusals = decoded
        if refusals:
            places = polled.offsets()
            for place, reason in refusals:
                self._refuse(polled, place, int(places[place]), reason)
        if self.released_until is not None:
            self.late += int((times < self.released_until).sum())
        partitions = polled.partitions if accepted is None else polled.partitions[accepted]
        self.watermark.saw(partitions, times, now)
        if self._view.categories:
            self.order.add(batch)
        elif batch.count:
            self._hand_on(polled, batch, offsets, now)
        self.offsets = offsets
        self.records += len(whole.values)
        self.events += times.size
        if self.first_record_at is None:
            self.first_record_at = wall
        return self._narrower(partitions, times)

    def handed_on(self) -> list[tuple[Events, int | None, Origin]]:
        """Return the events that need no order and came since the last call.

        With each batch: up to where the stream is complete with it, and the place of its records.
        """
        ready, self._ready = self._ready, []
        return ready

    def refused(self) -> list[Dead]:
        """Return the records that were refused since the last call, whole."""
        dead, self._dead = self._dead, []
        return dead

    def _hand_on(self, polled: Polled, batch: Events, offsets: dict[int, int], now: float) -> None:
        """Put a poll of a view that needs no order among the ready; in small parts, where something in it is suspected."""
        before, self.released_until = self.released_until, self.watermark.at(now)
        if not self.suspects.suspected_records(self.offsets, offsets):
            self._ready.append((batch, self.released_until, Origin(self.offsets, offsets, polled.epoch)))
            return
        assert self.suspects.size is not None, "what is suspected comes in small parts"
        count = -(-len(polled.values) // self.suspects.size)
        for places in np.array_split(np.arange(len(polled.values)), count):
            part = polled.part(places)
            decoded = self._view.decode(part)
            if decoded.batch.count:
                self._ready.append((decoded.batch, before, Origin.of(part)))
        if self._ready:  # only with the last part all of the poll is there
            last, _, origin = self._ready[-1]
            self._ready[-1] = last, self.released_until, origin

    def _without(self, polled: Polled, poison: Places) -> Polled:
        """Return a poll without the records at the places `poison`, which are set aside."""
        offsets = polled.offsets()
        for place in poison.tolist():
            self._refuse(polled, place, int(offsets[place]), "poison")
        return polled.part(np.setdiff1d(np.arange(len(polled.values)), poison)) if poison.size else polled

    def _without_poison(self, polled: Polled, decoded: Decoded) -> tuple[Polled, Decoded]:
        """Return the same without the events that are known to be poison."""
        events = np.arange(len(polled.values)) if decoded.accepted is None else np.flatnonzero(decoded.accepted)

        def category_of(event: int) -> int:
            alone: Batch = self._view.decode(polled.part(events[event : event + 1])).batch
            return next(number for number, column in enumerate(alone.times) if column.size)

        poison = self.suspects.known_events(decoded.times, category_of)
        if not poison.size:
            return polled, decoded
        polled = self._without(polled, events[poison])
        return polled, self._view.decode(polled)

    def _refuse(self, polled: Polled, place: int, offset: int, reason: str) -> None:
        value, partition = polled.values[place], int(polled.partitions[place])
        self.refusals.add(partition, offset, reason, value or b"")
        if self._keeps_dead:
            self._dead.append(Dead(value, polled.key_of(place), polled.headers_of(place), partition, offset, reason))

    def _narrower(self, partitions: NDArray[np.unsignedinteger[Any]], times: Times) -> list[RecordsMissing]:
        """Return the gaps whose end is known now, as something has come after them."""
        narrower = []
        for number, reason in list(self._open) if times.size else ():
            # Of a partition that is no more nothing will come; what comes of the others is after it.
            own = times[partitions == number] if number in self.offsets else times
            if not own.size:
                continue
            gap, first = self._open.pop((number, reason)), int(own.min())
            narrower.append(self._missed(gap, min(max(gap.start, first + self._lateness), INT64_MAX) + 1))
        return narrower

    def gap(self, partition: int, count: int | None, reason: str) -> RecordsMissing:
        """Return what is missing where a partition has a gap: as long as nothing comes after it, all from the last one on.

        Where nothing has come since the last gap for this `reason`, the two are one.
        """
        frontier = self.watermark.frontier(partition)
        start = INT64_MIN if frontier is None else max(INT64_MIN, frontier - self._lateness)
        known = self._open.get((partition, reason))
        if known is None:
            self._gaps += 1
            known = _Open(f"gap {self._gaps}", reason, start, 0)
        opened = _Open(known.key, reason, min(start, known.start), known.count + (count or 0))
        self._open[partition, reason] = opened
        return self._missed(opened, EVER.end)

    def release(self, until: int | None, *, everything: bool) -> Batch:
        """Return, in order, what is before `until`, or everything; what comes later and is earlier than that is late."""
        released = self.order.flush() if everything else self.order.release(until)
        last = released.last()  # also where more was released than that, for want of room
        known = [time for time in (self.released_until, until, last + 1 if last is not None else None) if time is not None]
        self.released_until = max(known, default=None)
        return released

    @staticmethod
    def _missed(gap: _Open, end: int) -> RecordsMissing:
        return RecordsMissing(gap.key, gap.reason, Span(gap.start, max(gap.start, end)), gap.count)

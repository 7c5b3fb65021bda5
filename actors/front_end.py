"""The actor that reads a stream: poll, decode, put in order of time, send on in micro-batches as credits allow.

Without credits it does not poll, so a backlog waits in Kafka and not in memory. It never waits for another actor.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, assert_never

from actors.actor import Actor, System
from actors.messages import (
    Activate,
    Address,
    Attached,
    Drain,
    Drained,
    Farewell,
    Ingest,
    Ingested,
    Message,
    Poll,
    Progress,
    ReplyTo,
    Returned,
    Watch,
)
from actors.source import Polled, Source
from actors.timeline.batch import Batch
from actors.timeline.order import OrderBuffer
from actors.timeline.refusals import Refusals
from actors.timeline.watermark import Watermark
from actors.views.view import View

FrontEndMessage = Poll | Watch | Activate | Ingested | Returned | Drain


@dataclass(frozen=True, slots=True)
class Pace:
    """How a front end reads: sizes in events, times in seconds."""

    poll_records: int = 4_000
    poll_s: float = 0.005
    rest_s: float = 0.01
    micro_batch: int = 6_000
    credits: int = 4
    buffer_events: int = 1_000_000
    report_s: float = 0.1
    look_s: float = 30.0
    wait_for_topic_s: float = 1.0


class FrontEnd(Actor):
    """Reads `source` for one stream. `lateness` is in the stream's unit, `idle_s` in seconds of the wall clock.

    `on_wait` is told where there is nothing to read from yet, and `on_end` whenever all that there is has been taken in.
    """

    suspends: ClassVar[bool] = True
    turn: ClassVar[int] = 1

    def __init__(
        self,
        system: System,
        *,
        stream: str,
        view: View,
        source: Source,
        manager: Address,
        lateness: int,
        idle_s: float,
        on_wait: Callable[[str], None],
        on_end: Callable[[str], None],
        pace: Pace,
    ) -> None:
        super().__init__(system, stream=stream)
        self._view = view
        self._source = source
        self._manager = manager
        self._on_wait = on_wait
        self._on_end = on_end
        self._pace = pace
        self._order = OrderBuffer(categories=view.categories, limit=self._pace.buffer_events)
        self._watermark = Watermark(lateness=lateness, idle_s=idle_s)
        self._refusals = Refusals(max_count=100, max_bytes=256)
        self._offsets: dict[int, int] = {}
        self._outbox: deque[Ingest] = deque()
        self._returned: deque[Ingest] = deque()
        self._collector: Address | None = None
        self._successor: Address | None = None
        self._credits = self._pace.credits
        self._in_flight = 0
        self._queued = False
        self._loaded = True
        self._watching = False
        self._unclosed = True
        self._ended = False
        self._attached = False
        self._alone: int | None = None
        self._draining: ReplyTo | None = None
        self._released_until: int | None = None
        self._released_at = self._reported_at = self._looked_at = 0.0
        self._records = self._events = self._late = 0
        self._first_record_at: float | None = None

    @property
    def home(self) -> str:
        """Run where the active collector does: a poll, then what came of it."""
        return self.stream

    def on_start(self) -> None:
        """Make itself known, and begin to read."""
        self.send(self._manager, Attached(self.actor_ref))
        self._again()

    def on_stop(self) -> None:
        """Let go of the broker."""
        self._source.close()

    def receive(self, message: FrontEndMessage) -> None:
        """Handle one message."""
        match message:
            case Poll():
                self._queued = False
                self._poll()
            case Watch():
                self._watching = False
                self._watch()
            case Ingested(events):
                self._credits += 1
                self._in_flight -= events
                self._go_on()
            case Returned(returned):
                self._credits += 1
                self._in_flight -= returned.count
                self._returned.append(returned)
                self._go_on()
            case Activate(collector):
                self._farewell(self._successor)
                self._successor = collector
                self._go_on()
            case Drain(reply_to):
                self._draining = reply_to
                if len(self._order):
                    self._cut(self._order.flush(), self._released_until)
                self._go_on()
            case _:
                assert_never(message)

    def recover(self) -> None:
        """Read again from the first record that was not taken in."""
        self._source.close()
        self._attached = False
        self._again()

    def failed(self, message: Message, error: Exception) -> None:  # noqa: ARG002  # the guardian hears the rest
        """Tell the manager at once that reading has stopped."""
        self._report("failed")

    # Reading ---------------------------------------------------------------------------------------------------------

    def _again(self) -> None:
        """Come back for another poll, once."""
        if self._queued:
            return
        self._queued = True
        if self._loaded:
            self.send(self.actor_ref, Poll())
        else:
            self.later(self._pace.rest_s, self.actor_ref, Poll())

    def _poll(self) -> None:
        """Read one poll, where nothing waits to be sent, release what is in order, and come back."""
        if self._draining is not None or self._outbox or self._returned or self._collector is None:
            return
        if not self._attached and not self._attach():
            return
        # Under load wait for a full poll; else take what is there, and leave the thread to others.
        polled = self._source.poll(self._pace.poll_records, self._pace.poll_s if self._loaded else 0.0)
        self._loaded = len(polled.values) > self._pace.poll_records // 8
        now = self._now()
        self._take(polled, now)
        self._release(now)
        self._balance(now)
        if now - self._reported_at >= self._pace.report_s:
            self._report("at the end" if self._silent(now) else "reading")
            self._source.commit()
        if now - self._looked_at >= self._pace.look_s:
            self._looked_at = now
            self._source.extend()
        self._go_on()

    def _attach(self) -> bool:
        """Begin to read; where there is no topic yet, say so, and come back later."""
        now = self._looked_at = self._now()
        self._alone = None
        self._attached = self._source.open(self._offsets)
        if not self._attached:
            self._on_wait(self.stream)
            self._report("waiting for the topic")
            self._queued = True
            self.later(self._pace.wait_for_topic_s, self.actor_ref, Poll())
            return False
        self._offsets = self._source.offsets()
        for number in self._offsets:
            self._watermark.expect(number, at_end=False, now=now)
        return True

    def _take(self, polled: Polled, now: float) -> None:
        """Decode a poll and put it into the order buffer; only then its records count as read."""
        if polled.values:
            times, batch, accepted, refusals = self._view.decode(polled)
            offsets = self._source.offsets()
            if self._released_until is not None:
                self._late += int((times < self._released_until).sum())
            if refusals:
                places = polled.offsets()
                for place, reason in refusals:
                    self._refusals.add(int(polled.partitions[place]), int(places[place]), reason, polled.values[place] or b"")
            self._watermark.saw(polled.partitions if accepted is None else polled.partitions[accepted], times, now)
            if self._view.categories:
                self._order.add(batch)
            elif batch.count:
                self._released_until = self._watermark.at(now)
                self._outbox.append(Ingest(batch, self._released_until))
            self._unclosed, self._ended = True, False
            self._offsets = offsets
            self._records += len(polled.values)
            self._events += times.size
            if self._first_record_at is None:
                self._first_record_at = self.system.dispatcher.wall()
        for number in polled.ended:
            self._watermark.expect(number, at_end=True, now=now)

    def _balance(self, now: float) -> None:
        """Where one partition falls so far behind that much waits for it, read it alone until it has caught up.

        librdkafka has one queue for all partitions, and under load may fill it with those that are ahead already.
        """
        slowest = self._watermark.holding(now)
        waiting = len(self._order)
        if self._alone is None:
            if waiting > self._pace.buffer_events // 4 and slowest is not None:
                self._alone = slowest
                self._source.only(slowest)
        elif slowest != self._alone or waiting < self._pace.buffer_events // 16:
            self._alone = None
            self._source.only(None)

    # Sending ---------------------------------------------------------------------------------------------------------

    def _release(self, now: float) -> None:
        """Cut into micro-batches what is in order by now, or all of it when every partition is idle."""
        if self._silent(now):
            until = self._watermark.at(now)
            if len(self._order):
                self._cut(self._order.flush(), until)
            if self._unclosed:
                self._unclosed = False
                self._outbox.append(Ingest(None, until, idle=True))
            return
        if not len(self._order):
            return
        until = self._watermark.at(now)
        if self._order.due or now - self._released_at >= self._pace.report_s:
            self._released_at = now
            self._cut(self._order.release(until), until)

    def _silent(self, now: float) -> bool:
        """Whether nothing more is to be expected for now."""
        return self._source.finished or self._watermark.idle(now)

    def _cut(self, batch: Batch, until: int | None) -> None:
        """Cut an ordered batch by time; each piece says up to where the stream is complete with it."""
        if until is not None:
            self._released_until = until
        longest = max(batch.times, key=len)
        step = max(1, self._pace.micro_batch // self._view.categories)
        for bound in longest[step::step].tolist():
            piece, batch = batch.split(bound)
            if piece.count:
                self._outbox.append(Ingest(piece, None if until is None else min(bound, until)))
        if batch.count:
            self._outbox.append(Ingest(batch, until))

    def _go_on(self) -> None:
        """Send what credits allow; then read on, or finish a drain."""
        if self._successor is not None and self._credits == self._pace.credits:
            self._farewell(self._collector)
            self._collector, self._successor = self._successor, None
            self._outbox.extendleft(reversed(self._returned))
            self._returned.clear()
        # What came back from a collector that has retired goes to its successor first.
        open_to_send = self._collector is not None and self._successor is None and not self._returned
        while open_to_send and self._outbox and self._credits:
            message = self._outbox.popleft()
            self._credits -= 1
            self._in_flight += message.count
            self.send(self._collector, message)
        if self._draining is None:
            if not self._outbox and not self._returned:
                self._again()
            elif not self._watching:
                self._watching = True
                self.later(self._pace.report_s, self.actor_ref, Watch())
            at_end = self._source.finished or self._source.endless
            if at_end and not self._unclosed and not self._ended and self._all_taken_in:
                self._ended = True
                self._on_end(self.stream)
        elif self._all_taken_in:
            self._draining(Drained(self._report("drained")))

    def _watch(self) -> None:
        """Report while nothing can be sent, such as when a sink is down: lag grows, and people should see why."""
        if (self._outbox or self._returned) and self._draining is None:
            if self._now() - self._reported_at >= 2 * self._pace.report_s:
                self._report("waiting for what is under way")
            self._watching = True
            self.later(self._pace.report_s, self.actor_ref, Watch())

    @property
    def _all_taken_in(self) -> bool:
        """Whether every batch is in its slice, and what it made due is delivered."""
        return not self._outbox and not self._returned and self._credits == self._pace.credits

    def _farewell(self, collector: Address | None) -> None:
        """Tell a collector that it gets nothing from here any more."""
        if collector is not None:
            self.send(collector, Farewell())

    # Telling ---------------------------------------------------------------------------------------------------------

    def _now(self) -> float:
        return self.system.dispatcher.now()

    def _report(self, state: str) -> Progress:
        now = self._reported_at = self._now()
        waiting = [message.batch for message in (*self._returned, *self._outbox) if message.batch is not None]
        progress = Progress(
            state=state,
            records=self._records,
            events=self._events,
            rejects=self._refusals.counts(),
            refused=self._refusals.newest(),
            late=self._late,
            buffered=len(self._order),
            in_flight=self._in_flight + sum(batch.count for batch in waiting),
            buffered_bytes=self._order.nbytes + sum(batch.nbytes for batch in waiting),
            watermark=self._watermark.at(now),
            held_back_by=self._watermark.holding(now),
            lag=self._source.lag() if self._attached else {},
            epoch=self._source.epoch,
            first_record_at=self._first_record_at,
        )
        self.send(self._manager, progress)
        return progress

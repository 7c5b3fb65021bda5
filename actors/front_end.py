"""The actor that reads a stream: poll, decode, put in order of time, send on in micro-batches as credits allow.

Without credits it does not poll, so a backlog waits in Kafka and not in memory. It never waits for another actor. For a
checkpoint it pauses until all that it has sent is taken in: then its own state and the live slice's belong together.
"""

from collections.abc import Callable, Mapping
from typing import ClassVar, assert_never

from actors.collecting.tally import Tally
from actors.messages import (
    Activate,
    Attached,
    Begin,
    Checkpoint,
    DeadLetterWriterMessage,
    DeadSecured,
    DeadWritten,
    Drain,
    Drained,
    FailureNarrowed,
    FrontEndMessage,
    Ingested,
    IngestFailed,
    ManagerAddress,
    Poll,
    Proceed,
    Recover,
    Returned,
    Watch,
)
from actors.protocol import Address, Home, Message, ReplyTo
from actors.reading.dead_letters import DeadLetters
from actors.reading.intake import Intake
from actors.reading.outbox import Outbox
from actors.reading.pace import Pace
from actors.reading.pause import Pause
from actors.replies import Progress
from actors.runtime.actor import Actor, System
from actors.sources.polled import Polled
from actors.sources.source import Source
from actors.views.view import View

_ATTENTIVE = 5
"""Rests between two polls up to which silence is the partitions', and not ours."""


class FrontEnd(Actor[FrontEndMessage]):
    """Reads `source` for one stream. `lateness` is in the stream's unit, `idle_s` in seconds of the wall clock.

    `on_wait` is told where there is nothing to read from yet, and `on_end` whenever all that there is has been taken in;
    `dead_letters` is the writer of refused records, if the stream has one. Where it `saves_first`, nothing is read before there
    is a checkpoint to come back to.
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
        manager: ManagerAddress,
        lateness: int,
        idle_s: float,
        on_wait: Callable[[str], None],
        on_end: Callable[[str], None],
        dead_letters: Address[DeadLetterWriterMessage] | None,
        saves_first: bool,
        pace: Pace,
    ) -> None:
        super().__init__(system, stream=stream)
        self._source = source
        self._manager = manager
        self._on_wait = on_wait
        self._on_end = on_end
        self._dead = DeadLetters(self, dead_letters)
        self._pace = pace
        self._intake = Intake(
            view=view,
            lateness=lateness,
            idle_s=idle_s,
            buffer_events=pace.buffer_events,
            keeps_dead=dead_letters is not None,
        )
        self._out = Outbox(self, pace)
        self._queued = False
        self._loaded = True
        self._watching = False
        self._unclosed = True
        self._ended = False
        self._attached = False
        self._credited: Ingested | Returned | None = None
        self._taking = False
        self._lost = self._struck = False
        self._alone: int | None = None
        self._draining: ReplyTo[Drained] | None = None
        self._saves_first = saves_first
        self._pause = Pause(pace, 0.0, 0)
        self._tally = Tally()
        self._polled_at = self._released_at = self._reported_at = self._looked_at = 0.0

    @property
    def home(self) -> str:
        """Run on a thread of its own: a broker that is away delays no query, which the active collector's thread answers."""
        return Home.READING.of(self.stream)

    @property
    def counted(self) -> Mapping[str, int]:
        """How often reading had to stop because too many dead letters waited."""
        return {"dead letter stalls": self._dead.stalls}

    def on_start(self) -> None:
        """Make itself known; the manager says where to begin. Again, until it has."""
        self._polled_at = self._now()
        self._watch()

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
            case Ingested() | Returned():
                if self._credit(message):
                    self._go_on()
            case IngestFailed(struck):
                if struck.round == self._out.round:
                    self._struck = True  # what is read now would be read again
                    if self._intake.suspects.strike(struck, self._intake.offsets):
                        self.send(self.system.guardian, FailureNarrowed(self.stream))
            case Begin():
                self._begin_round(message)
            case Proceed(saved):
                self._proceed(saved)
            case DeadWritten() | DeadSecured():
                self._dead_letters_reported(message)
            case Activate(collector):
                self._out.follow(collector)
                self._go_on()
            case Drain(reply_to):
                self._draining = reply_to
                # What waits for its turn is in the checkpoint, and goes on waiting after it.
                if len(self._intake.order) and self._pace.checkpoint_s is None:
                    rest = self._intake.release(None, everything=True)
                    self._out.put_ordered(rest, self._intake.released_until, self._intake.suspects)
                self._go_on()
            case _:
                assert_never(message)

    @property
    def healer(self) -> Address[Recover]:
        """Itself, where only reading has failed; where a poll was half taken in, the manager: it goes back to a checkpoint."""
        return self._manager if self._taking and self._pace.checkpoint_s is not None else self.address

    def recover(self) -> None:
        """Read again from the first record that was not taken in."""
        self._attached = self._queued = False
        self._source.close()
        self._again()

    def must_wait(self, message: Message | None) -> bool:
        """Whether a failure leaves counts in doubt: at a credit that comes back as at a poll."""
        if self._pace.checkpoint_s is None:
            return super().must_wait(message)
        return not isinstance(message, Watch)

    def failed(self, message: Message, error: Exception) -> None:  # noqa: ARG002  # the guardian hears the rest
        """Note whether a poll was half taken in, or a credit was, and tell the manager at once that reading has stopped."""
        self._taking = self._taking or not isinstance(message, Poll | Watch)
        # With checkpoints the round begins anew; without them nobody would give this credit back, or say again where to begin.
        if self._pace.checkpoint_s is None and isinstance(message, Ingested | Returned) and self._credit(message):
            self._go_on()
        elif isinstance(message, DeadWritten):
            self._dead_letters_reported(message)
        elif self._pace.checkpoint_s is None and isinstance(message, Begin) and message.round != self._out.round:
            self.later(self._pace.rest_s, self.address, message)
        self._report("failed")

    def _credit(self, message: Ingested | Returned) -> bool:
        """Take a credit back, once a message, also of one that fails. Whether it is one of this round."""
        if message is self._credited:
            return False
        self._credited = message
        return self._out.ingested(message) if isinstance(message, Ingested) else self._out.returned(message)

    def _ask_for_checkpoint(self) -> None:
        """Ask for a checkpoint, once the dead letters are safe."""
        self._pause.ask(self._intake.records, self._out.puts)
        if not self._dead.secure():
            self.send(self._manager, Checkpoint(self._intake.state()))

    def _dead_letters_reported(self, message: DeadWritten | DeadSecured) -> None:
        """Read on if dead letters have room again; go on with the checkpoint if they are safe, or give it up."""
        if isinstance(message, DeadWritten):
            self._dead.written(message)
            self._go_on()
        elif self._dead.secured(message):
            if message.safe:
                self.send(self._manager, Checkpoint(self._intake.state()))
            else:
                self._proceed(saved=False)

    def _proceed(self, saved: bool | None) -> None:  # noqa: FBT001  # the message's own
        """Read on after a pause; or, when the checkpoint is written too, or not, allow the next one."""
        if saved is None:
            self._pause.proceed(self._now())
        else:
            self._pause.settle(self._now(), saved=saved)
            if self._saves_first and self._pause.first:
                self._pause.want(self._now())
                self.later(self._pace.wait_for_topic_s, self.address, Poll())
                return
        self._go_on()

    def _begin_round(self, message: Begin) -> None:
        """Start from what a checkpoint says, or anew: nothing of the round before counts."""
        self._attached = False  # also where the end of the old one fails
        self._source.close()
        self._queued = self._taking = self._struck = False
        self._tally.note(self._intake.counted())
        self._intake = self._intake.anew()
        self._lost = message.lost
        if message.state is not None:
            self._intake.restore(message.state, self._now())
        self._tally.begin(self._intake.counted())
        self._out.begin(message.round, message.collector)
        self._unclosed, self._ended = True, False
        self._pause = Pause(self._pace, self._now(), self._intake.records if message.state is not None else None)
        self._dead.forget_request()
        self._mailbox.release()
        if message.state is None and self._pace.checkpoint_s is not None:
            self._pause.want(self._now())  # so that there is a place to come back to before there are results
        self._report("reading")
        self._go_on()

    # Reading ---------------------------------------------------------------------------------------------------------

    def _again(self) -> None:
        """Come back for another poll, once."""
        if self._queued:
            return
        self._queued = True
        if self._loaded:
            self.send(self.address, Poll())
        else:
            self.later(self._pace.rest_s, self.address, Poll())

    def _poll(self) -> None:
        """Read one poll, where nothing waits to be sent, release what is in order, and come back."""
        if self._pause.wanted:
            self._go_on()
        too_early = self._saves_first and self._pause.first
        waiting = not self._out.empty or self._dead.full or self._pause.holds or self._struck or too_early
        if self._draining is not None or waiting or not self._out.ready:
            return
        if not self._attached and not self._attach():
            return
        self._intake.suspects.clear(self._intake.offsets, self._intake.released_until)
        deaf_s = self._now() - self._polled_at - _ATTENTIVE * self._pace.rest_s
        if deaf_s > 0:
            self._intake.watermark.postpone(deaf_s)
        # Under load wait for a full poll; else take what is there, and leave the thread to others.
        polled = self._source.poll(self._pace.poll_records, self._pace.poll_s if self._loaded else 0.0)
        self._loaded = len(polled.values) > self._pace.poll_records // 8
        now = self._polled_at = self._now()
        self._taking = True
        self._take(polled, now)
        self._release(now)
        self._taking = False
        self._balance(now)
        if now - self._reported_at >= self._pace.report_s:
            self._report("at the end" if self._silent(now) else "reading")
            self._source.commit()
        if now - self._looked_at >= self._pace.look_s:
            self._looked_at = now
            self._source.extend()
        if self._pause.due(now, self._intake.records, self._out.puts):
            self._pause.want(now)
        self._go_on()

    def _attach(self) -> bool:
        """Begin to read; where there is no topic yet, say so, and come back later."""
        now = self._looked_at = self._now()
        self._alone = None
        intake = self._intake
        self._attached = self._source.open(intake.offsets, intake.identity, intake.epoch)
        if not self._attached:
            self._on_wait(self.stream)
            self._report("waiting for the topic")
            self._queued = True
            self.later(self._pace.wait_for_topic_s, self.address, Poll())
            return False
        intake.watermark.keep(self._source.offsets())
        for number in self._source.offsets():
            intake.watermark.expect(number, at_end=False, now=now)
        self._tell_gaps()
        intake.offsets = self._source.offsets()
        if self._lost:  # what was read before is not known; where Kafka has not all of it, it never will be
            self._lost = False
            for number, offset in intake.offsets.items():
                if offset > 0:
                    self.send(self._manager, intake.gap(number, None, "unreadable"))
        return True

    def _take(self, polled: Polled, now: float) -> None:
        """Take a poll in, and tell what is known of records that never came."""
        if self._tell_gaps() and not polled.values:
            self._intake.offsets = self._source.offsets()
        if polled.values:
            intake = self._intake
            for missed in intake.take(polled, self._source.offsets(), now, self.system.dispatcher.wall()):
                self.send(self._manager, missed)
            for batch, until, origin in intake.handed_on():
                self._out.put(batch, until, origin=origin)
            self._dead.send(intake.refused())
            self._unclosed, self._ended = True, False
        for number in polled.ended:
            self._intake.watermark.expect(number, at_end=True, now=now)

    def _tell_gaps(self) -> bool:
        """Tell the manager of records that never came. Returns whether there are any."""
        gaps = self._source.gaps()
        for gap in gaps:
            self.send(self._manager, self._intake.gap(gap.partition, gap.count, gap.reason))
        if gaps:
            self._intake.watermark.keep(self._source.offsets())
        self._intake.identity, self._intake.epoch = self._source.identity, self._source.epoch
        return bool(gaps)

    def _balance(self, now: float) -> None:
        """Where one partition falls so far behind that much waits for it, read it alone until it has caught up.

        librdkafka has one queue for all partitions, and under load may fill it with those that are ahead already.
        """
        slowest = self._intake.watermark.holding(now)
        waiting = len(self._intake.order)
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
        intake = self._intake
        order, until = intake.order, intake.watermark.at(now)
        if self._silent(now):
            if len(order):
                self._out.put_ordered(intake.release(until, everything=True), until, intake.suspects)
            if self._unclosed:
                self._unclosed = False
                self._out.put(None, until, idle=True)
        elif len(order) and (order.due or now - self._released_at >= self._pace.report_s):
            self._released_at = now
            self._out.put_ordered(intake.release(until, everything=False), until, intake.suspects)

    def _silent(self, now: float) -> bool:
        """Whether nothing more is to be expected for now."""
        return self._source.finished or self._intake.watermark.idle(now)

    def _go_on(self) -> None:
        """Send what credits allow; then read on, or finish a drain."""
        self._out.send(one_by_one=self._intake.suspects.size is not None)
        if self._draining is not None and self._pause.last_due(self._intake.records, self._out.puts):
            self._pause.want(self._now(), last=True)
        if self._pause.wanted and self._out.settled:
            self._ask_for_checkpoint()
        if self._draining is None:
            if self._out.empty and not self._dead.full:
                self._again()
            elif not self._watching:
                self._watching = True
                self.later(self._pace.report_s, self.address, Watch())
            at_end = self._source.finished or self._source.endless
            if at_end and not self._unclosed and not self._ended and self._out.settled:
                self._ended = True
                self._on_end(self.stream)
        elif self._out.settled and not self._pause.saving:
            self._draining(Drained(self._report("drained")))

    def _watch(self) -> None:
        """Report while nothing can be sent, such as when a sink is down: lag grows, and people should see why."""
        if not self._out.ready:
            self.send(self._manager, Attached(self.address))
            self._watching = True
            self.later(self._pace.wait_for_topic_s, self.address, Watch())
        elif (not self._out.empty or self._dead.full) and self._draining is None:
            if self._now() - self._reported_at >= 2 * self._pace.report_s:
                self._report(
                    "waiting for what is under way" if not self._dead.full else "waiting for dead letters to be written"
                )
            self._watching = True
            self.later(self._pace.report_s, self.address, Watch())

    # Telling ---------------------------------------------------------------------------------------------------------

    def _now(self) -> float:
        return self.system.dispatcher.now()

    def _report(self, state: str) -> Progress:
        now, intake = self._now(), self._intake
        self._reported_at = now
        self._tally.note(intake.counted())
        progress = Progress(
            state=state,
            records=intake.records,
            events=intake.events,
            rejects=intake.refusals.counts(),
            refused=intake.refusals.newest(),
            late=intake.late,
            buffered=len(intake.order),
            in_flight=self._out.events,
            credits=self._pace.credits * self._pace.micro_batch,
            buffered_bytes=intake.order.nbytes + self._out.nbytes + self._dead.nbytes,
            watermark=intake.watermark.at(now),
            held_back_by=intake.watermark.holding(now),
            lag=self._source.lag() if self._attached else {},
            epoch=self._source.epoch,
            first_record_at=intake.first_record_at,
            since_start=dict(self._tally.total),
        )
        self.send(self._manager, progress)
        return progress

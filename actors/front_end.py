"""The actor that reads a stream: it polls, decodes, puts events in order of time, and sends one batch at most for each credit.

Without credits it does not poll, so a backlog waits in Kafka and not in memory. It never waits for another actor. For a
checkpoint it stops polling until the live slice has every event that was sent, so that both states belong together.

It is a state machine: `Phase` has its phases, and `receive` calls the method of the present one.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import ClassVar, assert_never

from msgspec.structs import replace

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
    Ingest,
    Ingested,
    IngestFailed,
    ManagerAddress,
    Poll,
    Proceed,
    RecordsMissing,
    Recover,
    Returned,
    Unfinished,
    Watch,
)
from actors.protocol import Address, Home, Message, ReplyTo
from actors.reading.alarm import Alarm
from actors.reading.dead_letters import DeadLetters
from actors.reading.first_polls import FirstPolls
from actors.reading.intake import Intake, Taken
from actors.reading.outbox import Outbox
from actors.reading.pace import Pace
from actors.reading.pause import Pause
from actors.reading.states import IN_TROUBLE, NO_TOPIC, End, Phase, Status
from actors.replies import NEXT, Progress, open_transaction
from actors.runtime.actor import Actor, System
from actors.sources.polled import Place, Polled
from actors.sources.source import Source
from actors.timeline.horizon import Ahead, Horizon
from actors.timeline.unit import TimeUnit
from actors.views.view import Silence, View

_MAX_RESTS_BETWEEN_POLLS = 5
_MAX_LONG_RESTS = 2
"""If the time between two polls is longer than this many rests, it does not count as silence of the partitions."""


class FrontEnd(Actor[FrontEndMessage]):
    """Reads `source` for one stream. `idle_s` is in seconds of the wall clock.

    `ahead` is the policy for events whose times cannot be yet. `ahead` and `lateness` are in the unit of the settings; the
    events may decide another `unit`.

    `on_wait` is called with the reason and what to do, again and again, while records cannot be read yet; `on_end` each time
    that all existing records are in their slices. `dead_letters` writes refused records, if the stream has a topic for them. If
    it `saves_first`, nothing is read before the first checkpoint is saved. If checkpoints are `lasting`, a later process reads
    the last one.
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
        unit: TimeUnit,
        ahead: Ahead,
        on_wait: Callable[[str, str, str | None], None],
        on_end: Callable[[str], None],
        dead_letters: Address[DeadLetterWriterMessage] | None,
        saves_first: bool,
        lasting: bool,
        pace: Pace,
    ) -> None:
        super().__init__(system, stream=stream)
        self._source = source
        self._manager = manager
        self._on_wait = on_wait
        self._on_end = on_end
        self._dead = DeadLetters(self.send, self.address, dead_letters)
        self._pace = pace
        self._intake = Intake(
            view=view,
            lateness=lateness,
            idle_s=idle_s,
            pace=pace,
            keeps_dead=dead_letters is not None,
            unit=unit,
            horizon=Horizon(ahead),
        )
        self._view, self._unit = view, unit
        self._first = self._first_polls(fresh=False)
        self._out = Outbox(self.send, pace)
        self._alarm = Alarm(self)
        self._pause = Pause(pace, 0.0, 0)
        self._saves_first = saves_first
        self._lasting = lasting
        self._phase = Phase.DETACHED
        self._drain: ReplyTo[Drained] | None = None
        self._end = End.OPEN
        self._due_at: int | None = None
        self._opened = False
        self._lost = False
        self._busy = True
        self._alone: int | None = None
        self._polled_at = self._got_at = self._reported_at = self._looked_at = self._taken_at = 0.0

    @property
    def home(self) -> str:
        """A thread of its own, because a source may wait for its broker, and the two threads of collectors answer queries."""
        return Home.READING.of(self.stream)

    @property
    def counted(self) -> Mapping[str, int]:
        """How often reading stopped because too many dead letters waited."""
        return {"dead letter stalls": self._dead.stalls}

    @property
    def phase(self) -> Phase:
        """The present phase. Any thread may read it."""
        return self._phase

    def on_start(self) -> None:
        """Send `Attached` to the manager, again and again until it sends `Begin`."""
        self._polled_at = self._got_at = self._now()
        self._attach()

    def on_stop(self) -> None:
        """Close the source."""
        self._source.close()

    def receive(self, message: FrontEndMessage) -> None:
        """Handle one message, as the present phase does."""
        match message:
            case Poll() | Watch():
                if not self._alarm.arrived(message):
                    return
            case IngestFailed(failed) if failed.round == self._out.round:
                self._narrow(failed)
        match self._phase:
            case Phase.DETACHED:
                self._when_detached(message)
            case Phase.READING:
                self._when_reading(message)
            case Phase.PAUSING:
                self._when_pausing(message)
            case Phase.FAILED:
                self._when_failed(message)
            case Phase.DRAINING:
                self._when_draining(message)
            case Phase.DRAINED:
                self._when_drained(message)
            case _:
                assert_never(self._phase)

    # Phases ----------------------------------------------------------------------------------------------------------

    def _when_detached(self, message: FrontEndMessage) -> None:
        """There is no collector to send to. No batch is on its way, so a drain ends at once."""
        match message:
            case Begin():
                self._begin_round(message)
            case Watch():
                self._attach()
            case Drain():
                self._begin_drain(message)
            case _:
                self._ignore(message)

    def _when_reading(self, message: FrontEndMessage) -> None:
        match message:
            case Poll():
                self._poll()
            case Watch():
                self._watch()
            case Proceed(bool() as saved):  # `Proceed(None)` has ended the pause; now the checkpoint is saved, or has failed
                self._pause.settle(self._now(), saved=saved)
                self._go_on()
            case _:
                self._within_round(message)

    def _when_pausing(self, message: FrontEndMessage) -> None:
        match message:
            case Poll():  # a retry: the first checkpoint could not be saved, and nothing is read before it is
                self._go_on()
            case Watch():
                self._watch()
            case Proceed(saved):
                self._proceed(saved)
            case _:
                self._within_round(message)

    def _when_draining(self, message: FrontEndMessage) -> None:
        match message:
            case Proceed(saved):
                self._proceed(saved)
            case _:
                self._within_round(message)

    def _within_round(self, message: FrontEndMessage) -> None:
        """Handle a message that means the same while reading, pausing and draining."""
        match message:
            case Ingested() | Returned():
                if self._out.credited(message):
                    self._go_on()
            case Activate(collector):
                self._out.follow(collector)
                self._go_on()
            case DeadWritten():
                self._dead_written(message)
            case DeadSecured():
                self._dead_secured(message)
            case Unfinished(due_at, number):
                if number == self._out.round:
                    self._due_at = due_at
            case IngestFailed():
                self._fail_round(message)
            case Begin():  # a drain goes on in the next round
                self._begin_round(message)
            case Drain():
                self._begin_drain(message)
            case _:
                self._ignore(message)

    def _when_failed(self, message: FrontEndMessage) -> None:
        """Credits and collectors of this round do not count any more; `Begin` replaces them all."""
        match message:
            case Begin():
                self._begin_round(message)
            case DeadWritten():  # dead letters outlive a round
                self._dead_written(message)
            case DeadSecured():
                self._dead.secured(message)
            case Watch() if self._out.ready:
                self._watch()
            case Watch():
                self._attach()
            case Drain(reply_to):
                self._drain = reply_to
            case _:
                self._ignore(message)

    def _when_drained(self, message: FrontEndMessage) -> None:
        """All is done. The stream's actors are stopped soon, so nothing that happens to them matters any more."""
        match message:
            case Drain(reply_to):
                reply_to(Drained(self._report(Status.DRAINED)))
            case _:
                self._ignore(message)

    def _ignore(self, message: FrontEndMessage) -> None:
        """Drop a message that the phase does not accept: it was sent before the phase began, and has no effect any more."""

    # Failures --------------------------------------------------------------------------------------------------------

    @property
    def healer(self) -> Address[Recover]:
        """The manager, if it must go back to a checkpoint; the front end itself, if only reading has failed."""
        return self._manager if self._phase is Phase.FAILED else self.address

    def recover(self) -> None:
        """Read again from the first record that was not taken in."""
        self._opened = False
        self._source.close()
        self._alarm.forget_poll()
        self._alarm.set(Poll(), in_s=self._rest_s)

    def must_wait(self, message: Message | None) -> bool:
        """Whether a failure at `message` may leave counts wrong, and so holds data back. `Watch` changes nothing."""
        return not isinstance(message, Watch)

    def failed(self, message: Message, error: Exception) -> None:
        """Report the failure to the manager. Unless only reading has failed, end the round."""
        super().failed(message, error)
        if isinstance(message, Watch):  # no other actor repeats what it does, such as to attach
            self._alarm.arrived(message)
            self._alarm.set(Watch(), in_s=self._pace.wait_for_topic_s)
        if not isinstance(message, Poll | Watch) and self._phase is not Phase.DRAINED:
            self._phase = Phase.FAILED
        if isinstance(message, DeadWritten):
            self._dead_written(message)
        self._report(Status.FAILED)

    def _narrow(self, failed: Ingest) -> None:
        """Suspect the records of a batch at which a slice has failed."""
        if self._intake.suspect(failed):
            self.send(self.system.guardian, FailureNarrowed(self.stream))

    def _fail_round(self, message: IngestFailed) -> None:
        """End the round of a slice that has failed: what is read from now on would be read again."""
        if message.message.round == self._out.round:
            self._phase = Phase.FAILED

    # Rounds and checkpoints ------------------------------------------------------------------------------------------

    def _attach(self) -> None:
        self.send(self._manager, Attached(self.address))
        self._alarm.set(Watch(), in_s=self._pace.wait_for_topic_s)

    def _begin_round(self, message: Begin) -> None:
        """Start from the state of a checkpoint, or from nothing. Whatever belongs to an earlier round does not count."""
        self._opened = False  # even if `close` raises
        self._source.close()
        self._alarm.forget_poll()
        self._intake = self._intake.anew(message.state, self._now())
        self._lost = message.lost
        self._out.begin(message.round, message.collector)
        self._end, self._due_at, self._taken_at = End.OPEN, None, 0.0
        self._pause = Pause(self._pace, self._now(), self._intake.records if message.state is not None else None)
        self._dead.forget_request()
        self._phase = Phase.READING if self._drain is None else Phase.DRAINING
        self._mailbox.release()
        if self._phase is Phase.DRAINING:
            self._release_rest()
        if self._pause.first:  # a later failure needs a checkpoint to go back to, before there are results
            self._begin_pause()
        self._report(Status.READING)
        self._go_on()

    def _begin_pause(self, *, last: bool = False) -> None:
        """Read nothing until a checkpoint has the state of the live slice. `last`: nothing is read after that either."""
        self._pause.want(self._now(), last=last)
        if self._phase is Phase.READING:
            self._phase = Phase.PAUSING

    def _ask_for_checkpoint(self) -> None:
        """Ask the manager for a checkpoint, as soon as Kafka has acknowledged all dead letters."""
        self._pause.ask(self._intake.records, self._out.puts)
        if not self._dead.secure():
            self.send(self._manager, Checkpoint(self._intake.state()))

    def _proceed(self, saved: bool | None) -> None:  # noqa: FBT001  # the message's own
        """End the pause (`saved` is None), or note how the checkpoint ended, and read on."""
        if saved is None:
            self._pause.proceed(self._now())
        else:
            self._pause.settle(self._now(), saved=saved)
        if self._phase is Phase.PAUSING:
            if not self._saves_first or not self._pause.first:
                self._phase = Phase.READING
            elif saved is not None:
                self._begin_pause()
                self._alarm.set(Poll(), in_s=self._pace.wait_for_topic_s)
                return
        self._go_on()

    def _begin_drain(self, message: Drain) -> None:
        """Stop reading."""
        self._drain, self._phase = message.reply_to, Phase.DRAINING
        self._release_rest()
        self._go_on()

    def _release_rest(self) -> None:
        """Send the events that wait for their order, unless the last checkpoint keeps them for a later process."""
        if not self._lasting:
            for piece in self._intake.flush():
                self._out.put(piece)

    def _dead_written(self, message: DeadWritten) -> None:
        self._dead.written(message)
        if self._phase is not Phase.FAILED:
            self._go_on()

    def _dead_secured(self, message: DeadSecured) -> None:
        """Send the checkpoint that waited for the dead letters, or give it up."""
        if self._dead.secured(message):
            if message.safe:
                self.send(self._manager, Checkpoint(self._intake.state()))
            else:
                self._proceed(saved=False)

    # Reading ---------------------------------------------------------------------------------------------------------

    @property
    def _rest_s(self) -> float:
        """Seconds until the next poll: none under load, and more the longer no record has come."""
        return 0.0 if self._busy else self._pace.rest_after(self._polled_at - self._got_at)

    def _poll(self) -> None:
        """Read one poll if nothing waits to be sent, and release the events that are in order by now."""
        if not self._out.empty or self._dead.full or (not self._opened and not self._open()):
            return
        wait_s = 0.0 if self._busy else self._pace.wait_after(self._polled_at - self._got_at)
        if wait_s:
            self._source.rest(wait_s)
        now, wall = self._now(), self.system.dispatcher.wall()
        expected_s = max(_MAX_RESTS_BETWEEN_POLLS * self._pace.rest_s, _MAX_LONG_RESTS * (self._rest_s + wait_s))
        self._intake.prepare(now - self._polled_at - expected_s, now, wall)
        # Under load wait for a full poll; else take what is there, and leave the thread to others.
        polled = self._source.poll(self._pace.poll_records, self._pace.poll_s if self._busy else 0.0)
        self._busy = self._pace.shows_load(polled.values)
        now = self._polled_at = self._now()
        if len(polled.values):
            self._got_at = now
        try:
            self._take(polled, now)
            self._release(now)
        except Exception:  # whatever failed; the base class handles it
            if not self._intake.undecoded:  # after the first decoding, a part of the poll may be taken in
                self._phase = Phase.FAILED
            raise
        if self._first.empty:
            self._taken_at = now
        self._balance(now)
        if now - self._reported_at >= self._pace.report_after(now - self._got_at):
            self._report(self._reading(now))
            self._source.commit()
        if now - self._looked_at >= self._pace.look_s:
            self._looked_at = now
            self._source.extend()
        if self._pause.due(now, self._intake.records, self._out.puts):
            self._begin_pause()
        self._go_on()

    def _reading(self, now: float) -> Status:
        """Return the status of a stream that reads. Calls `on_wait` if only an open transaction holds it back."""
        if (trouble := self._source.trouble()) is not None:
            self._on_wait(self.stream, "; ".join(trouble.reasons), NEXT[trouble.state])
            return IN_TROUBLE[trouble.state]
        if self._silent(now):
            return Status.AT_THE_END
        if (held := self._intake.transaction(now)) is None:
            return Status.READING
        self._on_wait(self.stream, f"partition {held[0]}: {open_transaction(held[1])}", None)
        return Status.TRANSACTION

    def _open(self) -> bool:
        """Open the source. Returns False if the topic does not exist yet; another `Poll` comes later then."""
        now = self._looked_at = self._now()
        self._alone = None
        self._opened = self._source.open(self._intake.place)
        if not self._opened:
            trouble = self._source.trouble()
            reason = NO_TOPIC if trouble is None else "; ".join(trouble.reasons)
            self._on_wait(self.stream, reason, NEXT["absent" if trouble is None else trouble.state])
            self._report(Status.NO_TOPIC)
            self._alarm.set(Poll(), in_s=self._pace.wait_for_topic_s)
            return False
        self._first = self._first_polls(fresh=not self._intake.records)
        self._send_missing(self._intake.opened(self._source.place(), self._source.gaps(), now, unreadable=self._lost))
        self._lost = False
        return True

    def _take(self, polled: Polled, now: float) -> None:
        """Take a poll in, and send the manager the gaps that were found or have ended."""
        gaps = self._source.gaps()
        place = self._source.place() if gaps or polled.values else self._intake.place
        if gaps:  # if decoding fails, the poll is read again after the gaps, and they are not found again
            self._take_all(self._first.end(), now)  # polls that wait lie before the gaps
            self._send_missing(self._intake.skip(gaps, place.before(polled)))
        self._send_taken(self._intake.mature(now))
        in_trouble = self._first.open and self._source.trouble() is not None
        self._take_all(self._first.offer(polled, place, self._intake.place.offsets, at_once=in_trouble), now)

    def _first_polls(self, *, fresh: bool) -> FirstPolls:
        return FirstPolls(self._view, self._unit, self._decide, fresh=fresh)

    def _decide(self, time: int, where: str) -> None:
        """Decide the unit by a time, before any event is taken in."""
        self._intake.decide(time, where)
        self._report(Status.READING)

    def _take_all(self, polls: Iterable[tuple[Polled, Place]], now: float) -> None:
        """Take polls in, each of which ends at its place."""
        for polled, place in polls:
            if polled.values:
                self._send_taken(self._intake.take(polled, place, now, self.system.dispatcher.wall()))
            self._intake.ended(polled, now)

    def _send_taken(self, taken: Taken) -> None:
        """Send the gaps and dead letters on. The stream is no longer at its end if there was a record."""
        self._send_missing(taken.missing)
        self._dead.send(taken.dead)
        if taken.decided:  # the manager must have the unit before any event in it
            self._report(Status.READING)
        if taken.records:
            self._end, self._due_at = End.OPEN, None

    def _send_missing(self, missing: Iterable[RecordsMissing]) -> None:
        for each in missing:
            self.send(self._manager, each)

    def _balance(self, now: float) -> None:
        """Read one partition alone while many events wait for it.

        librdkafka has one queue for all partitions. Under load the partitions that are ahead may fill it.
        """
        alone = self._intake.partition_to_catch_up(now, self._alone)
        if alone != self._alone:
            self._alone = alone
            self._source.only(alone)

    # Sending ---------------------------------------------------------------------------------------------------------

    def _release(self, now: float) -> None:
        """Put the events that are in order by now into the outbox, or all events if every partition is idle."""
        silent = self._silent(now)
        for piece in self._intake.release(now, everything=silent):
            self._out.put(piece)
        if not silent:
            return
        silence = Silence(None, ended=True) if self._source.finished else self._intake.silence(now)
        if self._end is End.OPEN:
            self._end = End.CLOSED
        elif self._due_at is None or silence.time is None or silence.time < self._due_at or self._source.trouble() is not None:
            return  # nothing is due, or the silence has another cause than that no records come
        self._due_at = None
        self._intake.announce(silence)
        self._out.put_silence(self._intake.watermark(now), silence)

    def _silent(self, now: float) -> bool:
        """Whether nothing more is to be expected for now."""
        return self._source.finished or self._intake.idle(now)

    def _go_on(self) -> None:
        """Send at most one batch for each credit, and take the next step of the present phase."""
        self._out.send(one_by_one=self._intake.one_by_one)
        draining = self._phase is Phase.DRAINING
        if draining and self._lasting and self._pause.last_due(self._intake.records, self._out.puts):
            self._begin_pause(last=True)
        if self._pause.wanted and self._out.settled:
            self._ask_for_checkpoint()
        if draining:
            if self._out.settled and not self._pause.saving and self._drain is not None:
                self._phase = Phase.DRAINED
                self._drain(Drained(self._report(Status.DRAINED)))
            return
        if self._held_up:
            self._alarm.set(Watch(), in_s=self._pace.report_s)
        elif self._phase is Phase.READING:
            self._alarm.set(Poll(), in_s=self._rest_s)
        at_end = self._source.finished or self._source.endless
        if at_end and self._end is End.CLOSED and self._out.settled:
            self._end = End.REPORTED
            self._on_end(self.stream)

    @property
    def _held_up(self) -> bool:
        """Whether nothing can be read until a slice or a sink takes what was sent, or Kafka takes dead letters."""
        pausing = self._phase is Phase.PAUSING and not self._out.settled
        return pausing or not self._out.empty or self._dead.full

    def _watch(self) -> None:
        """Report while nothing can be sent or read, such as when a sink is down: the lag grows, and users must see why."""
        if not self._held_up:
            return
        if self._now() - self._reported_at >= 2 * self._pace.report_s:
            self._report(Status.DEAD_LETTERS if self._dead.full else Status.NO_CREDIT)
        self._alarm.set(Watch(), in_s=self._pace.report_s)

    # Reports ---------------------------------------------------------------------------------------------------------

    def _now(self) -> float:
        return self.system.dispatcher.now()

    def _report(self, status: Status) -> Progress:
        now = self._reported_at = self._now()
        read = self._intake.report(now)
        trouble = self._source.trouble() if status not in {Status.FAILED, Status.DRAINED} else None
        progress = replace(
            read,
            state=(status if trouble is None else IN_TROUBLE[trouble.state]).value,
            trouble=trouble,
            in_flight=self._out.events,
            credits=self._pace.credits * self._pace.micro_batch,
            buffered_bytes=read.buffered_bytes + self._out.nbytes + self._dead.nbytes,
            lag=self._source.lag() if self._opened else {},
            taken_at=self._taken_at,
        )
        self.send(self._manager, progress)
        return progress

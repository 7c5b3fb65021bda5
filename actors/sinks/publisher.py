"""The actor that writes a stream's due results to its sinks, in order, and returns each credit once its result is delivered.

A sink that is down therefore stops consumption: the backlog waits in Kafka, a few results wait here, and none is lost.
"""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, assert_never

from actors.messages import (
    Commit,
    Committed,
    Delayed,
    Emit,
    GetCommitted,
    Halt,
    Ingested,
    Look,
    ManagerAddress,
    Prepare,
    Prepared,
    PublisherMessage,
    Recover,
    Restore,
    Restored,
)
from actors.protocol import Address, AttemptId, CheckpointId, Home, Message, PublicationId, Round
from actors.replies import GetPlace
from actors.runtime.actor import Actor, System
from actors.sinks.file.sink import file_among
from actors.sinks.sink import Fenced, Refused, Sink, Superseded
from actors.standing import Standing

_LOOK_S = 0.005
_AGAIN_S = 0.5
_LONGEST_AGAIN_S = 10.0
_REFUSED_S = 1.0


@dataclass(slots=True)
class _Publication:
    """One result that is not yet delivered: the sinks that lack it, and the count that each other sink must have delivered."""

    message: Emit
    missing: list[Sink]
    marks: list[tuple[Sink, int]] = field(default_factory=list)
    records: int = 0

    @property
    def delivered(self) -> bool:
        return not self.missing and all(sink.delivered >= mark for sink, mark in self.marks)


class Publisher(Actor[PublisherMessage]):
    """Publishes one stream's results to `sinks`. `on_trouble` gets the reason why a sink does not take them.

    `on_superseded` gets the reason why this process must end: another one writes to the same place. Nothing is written then.
    """

    def __init__(
        self,
        system: System,
        *,
        stream: str,
        sinks: Sequence[Sink],
        on_trouble: Callable[[str], None],
        on_superseded: Callable[[str], None],
    ) -> None:
        super().__init__(system, stream=stream)
        self._sinks = sinks
        self._on_trouble = on_trouble
        self._on_superseded = on_superseded
        self._round = Round(1)
        self._restored = Round(0)
        self._early: dict[PublicationId, Emit] = {}
        self._next = PublicationId(1)
        self._under_way: deque[_Publication] = deque()
        self._looking = False
        self._again_s = _AGAIN_S
        self._held = self._failed = self._halted = False
        self._standing: Standing | None = None
        self._uncommitted: CheckpointId | None = None
        self._manager: ManagerAddress | None = None
        self._problem: str | None = None
        self._published = self._records = 0

    @property
    def counted(self) -> Mapping[str, int]:
        """Results that every sink has, and their records in all sinks together."""
        return {"published": self._published, "records": self._records}

    @property
    def home(self) -> str:
        """Run on a thread of its own: a slow disk or a broker that is away delays no other actor."""
        return Home.OUTPUT.of(self.stream)

    def on_stop(self) -> None:
        """Close the sinks."""
        for sink in self._sinks:
            sink.close()

    def receive(self, message: PublisherMessage) -> None:
        """Handle one message. If another process has begun to write to the same place, write nothing more."""
        try:
            self._handle_one(message)
        except Refused as error:
            self._give_round_up(error)
        except Superseded as error:
            self._halt(str(error))

    def _handle_one(self, message: PublisherMessage) -> None:
        match message:
            case Emit(publication_id):
                if message.round == self._round and publication_id >= self._next:
                    self._early[publication_id] = message
                while (following := self._early.pop(self._next, None)) is not None:
                    self._next = PublicationId(self._next + 1)
                    self._under_way.append(_Publication(following, list(self._sinks)))
                self._go_on()
            case Look():
                self._looking = False
                self._go_on()
            case GetPlace(order, reply_to):
                file = file_among(self._sinks)
                reply_to(file.place(order) if file is not None else None)
            case GetCommitted(manager, beginning):
                self._manager = manager
                self._until_done(message, lambda: self._report(manager, beginning))
            case Restore():
                self._until_done(message, lambda: self._restore(message))
            case Halt(reason):
                self._halt(reason)
            case Prepare(attempt_id, manager):
                self._held = True
                self.send(manager, self._prepared(attempt_id))
            case Commit(checkpoint_id):
                if self._uncommitted is None:
                    self._uncommitted, self._held = checkpoint_id, checkpoint_id is not None
                self._go_on()
            case _:
                assert_never(message)

    def _go_on(self) -> None:
        """Commit, write, return the credits of delivered results, and check again until all results are delivered."""
        if self._failed:
            return
        wait_s = _LOOK_S
        try:
            self._commit()
            if not self._held:
                self._write()
            self._again_s = _AGAIN_S
            self._have(None)
        except Refused:
            raise
        except OSError as error:
            self._have(str(error))
            wait_s = self._again_s
            self._again_s = min(2 * self._again_s, _LONGEST_AGAIN_S)
        for sink in self._sinks:
            sink.poll()
        while self._under_way and self._under_way[0].delivered:
            publication = self._under_way.popleft()
            message = publication.message
            self._published += 1
            self._records += publication.records
            self.send(message.front_end, Ingested(message.events, message.round))
        if (self._under_way or self._uncommitted is not None) and not self._looking:
            self._looking = True
            self.later(wait_s, self.address, Look())

    def _have(self, problem: str | None) -> None:
        """Report a problem with a sink, or its end (None)."""
        if problem is not None:
            self._on_trouble(problem)
        if problem != self._problem:
            self._problem = problem
            self.send(self._manager, Delayed(problem))

    def _give_round_up(self, problem: Refused) -> None:
        """Have the manager return to its checkpoint: what was written since is lost. The next round waits for the right.

        The guardian does not count this: it would give the stream up, and the right may be granted later.
        """
        self._have(str(problem))
        self._failed = True
        if self._manager is not None:
            self.later(_REFUSED_S, self._manager, Recover())

    def _halt(self, reason: str) -> None:
        """Write nothing more."""
        self._halted = self._failed = True
        self._have(reason)
        self._on_superseded(reason)

    @property
    def healer(self) -> Address[Recover]:
        """The manager, because it goes back to a checkpoint. Each message by which a round begins has its address."""
        return self._manager or self.address

    def must_wait(self, message: Message | None) -> bool:
        """Whether a failure at `message` leaves results in doubt, such as a sink that was fenced off."""
        return not isinstance(message, GetPlace)

    def failed(self, message: Message, error: Exception) -> None:
        """Write nothing more until the manager restarts the round."""
        super().failed(message, error)
        if self.must_wait(message):
            self._failed = True
        if isinstance(message, Look):
            self._looking = False
        if isinstance(message, GetCommitted | Restore | Prepare):
            self._manager = message.manager

    # Checkpoints -----------------------------------------------------------------------------------------------------

    def _until_done(self, message: GetCommitted | Restore, action: Callable[[], None]) -> None:
        """Run `action`. If a sink raises OSError, report it, and handle `message` again later."""
        if self._halted:
            return
        try:
            action()
        except OSError as error:
            self._have(str(error))
            self.later(_REFUSED_S if isinstance(error, Refused) else _AGAIN_S, self.address, message)

    def _look(self) -> Standing | None:
        """Return the results that readers see; None if no sink tracks checkpoints. At most one does."""
        return next((found for found in (sink.look() for sink in self._sinks) if found is not None), None)

    def _report(self, manager: ManagerAddress, beginning: Round) -> None:
        """Send the manager the results that readers see."""
        self._standing = self._look()
        self.send(manager, Committed(self._standing, beginning))

    def _restore(self, message: Restore) -> None:
        """Fence off earlier processes, and restore each sink to its place in the checkpoint.

        If an earlier process has committed since the checkpoint was chosen, the manager has to choose again.
        """
        if message.round <= self._restored:
            return  # a retry that another request has overtaken: the results since then would be lost
        chosen_for = self._standing
        for sink in self._sinks:
            sink.committed()
        self._standing = self._look()
        if self._standing != chosen_for:
            self.send(message.manager, Committed(self._standing, message.round))
            return
        for sink, place in zip(self._sinks, self._places(message.places), strict=True):
            sink.restore(place)
        self._early, self._next = {}, PublicationId(1)
        self._under_way.clear()
        self._held = self._failed = False
        self._uncommitted = None
        self._round = self._restored = message.round
        self._mailbox.release()
        self._have(None)
        self.send(message.manager, Restored(message.round))

    def _places(self, places: Sequence[Any] | None) -> Sequence[Any]:
        """Return the place of each sink. If the number of sinks has changed, only a sink that owns a place has one."""
        if places is not None and len(places) == len(self._sinks):
            return places
        return [next((place for place in places or () if sink.owns(place)), None) for sink in self._sinks]

    def _prepared(self, attempt_id: AttemptId) -> Prepared:
        """Make all results outlast a crash. All due results are delivered, because all credits were returned before."""
        if self._failed:
            return Prepared(attempt_id, None, "results cannot be written")
        if self._uncommitted is not None:
            # Two checkpoints are kept: with one more, the last one whose results are committed would be deleted.
            return Prepared(attempt_id, None, f"the results of checkpoint {self._uncommitted} are not committed yet")
        try:
            return Prepared(attempt_id, tuple(sink.prepare() for sink in self._sinks))
        except OSError as error:
            if isinstance(error, Refused):
                self._give_round_up(error)
            self._have(str(error))
            return Prepared(attempt_id, None, f"results cannot be made safe: {error}")

    def _commit(self) -> None:
        """Commit the results of the checkpoint that is on disk, and allow writing."""
        if self._uncommitted is not None:
            for sink in self._sinks:
                sink.commit(self._uncommitted)
            self._uncommitted, self._held = None, False

    def _write(self) -> None:
        """Write each publication to the sinks that lack it, one after the other."""
        for publication in self._under_way:
            message = publication.message
            while publication.missing:
                sink = publication.missing[0]
                before = sink.written
                try:
                    sink.write(message.view.publish(message.partial, message.due))
                except (OSError, Fenced):
                    raise
                except Exception as error:  # noqa: BLE001  # a result that cannot be rendered must not hold back the others
                    self._on_trouble(f"a result is given up: {type(error).__name__}: {error}")
                publication.marks.append((sink, sink.written))
                publication.records += sink.written - before
                publication.missing.pop(0)

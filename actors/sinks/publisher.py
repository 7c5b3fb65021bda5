"""The actor that writes a stream's due results to its sinks, in order, and returns each credit once its result is delivered.

A sink that is down therefore stops consumption: the backlog waits in Kafka, a few results wait here, and none is lost.
"""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import assert_never

from actors.messages import (
    Commit,
    Committed,
    Emit,
    GetCommitted,
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
from actors.sinks.file import file_among
from actors.sinks.sink import Fenced, Sink

_LOOK_S = 0.005
_AGAIN_S = 0.5
_LONGEST_AGAIN_S = 10.0


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
    """Publishes one stream's results to `sinks`. `on_trouble` gets the reason why a sink does not take them."""

    def __init__(self, system: System, *, stream: str, sinks: Sequence[Sink], on_trouble: Callable[[str], None]) -> None:
        super().__init__(system, stream=stream)
        self._sinks = sinks
        self._on_trouble = on_trouble
        self._round = Round(1)
        self._early: dict[PublicationId, Emit] = {}
        self._next = PublicationId(1)
        self._under_way: deque[_Publication] = deque()
        self._looking = False
        self._again_s = _AGAIN_S
        self._held = self._failed = False
        self._uncommitted: CheckpointId | None = None
        self._manager: ManagerAddress | None = None
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
        """Handle one message."""
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
                self._until_done(message, lambda: self.send(manager, Committed(self._committed(), beginning)))
            case Restore():
                self._until_done(message, lambda: self._restore(message))
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
        except OSError as error:
            self._on_trouble(str(error))
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

    @property
    def healer(self) -> Address[Recover]:
        """The manager, because it goes back to a checkpoint. Each message by which a round begins has its address."""
        return self._manager or self.address

    def must_wait(self, message: Message | None) -> bool:
        """Whether a failure at `message` leaves results in doubt, such as a sink that was fenced off."""
        return not isinstance(message, GetPlace)

    def failed(self, message: Message, error: Exception) -> None:  # noqa: ARG002  # the guardian reports it
        """Write nothing more until the manager restarts the round."""
        if self.must_wait(message):
            self._failed = True
        if isinstance(message, Look):
            self._looking = False
        if isinstance(message, GetCommitted | Restore | Prepare):
            self._manager = message.manager

    # Checkpoints -----------------------------------------------------------------------------------------------------

    def _until_done(self, message: GetCommitted | Restore, action: Callable[[], None]) -> None:
        """Run `action`. If a sink raises OSError, report it, and handle `message` again later."""
        try:
            action()
        except OSError as error:
            self._on_trouble(str(error))
            self.later(_AGAIN_S, self.address, message)

    def _committed(self) -> CheckpointId | None:
        """Return the newest checkpoint whose results are committed in every sink; None if no sink tracks checkpoints."""
        known = [committed for committed in (sink.committed() for sink in self._sinks) if committed is not None]
        return CheckpointId(min(known)) if known else None

    def _restore(self, message: Restore) -> None:
        """Restore each sink to its place. If the number of sinks has changed, no place fits, and each begins at its start."""
        if message.round < self._round:
            return  # a retry that a later request has overtaken
        places = message.places
        known = list(places) if places is not None and len(places) == len(self._sinks) else [None] * len(self._sinks)
        for sink, place in zip(self._sinks, known, strict=True):
            sink.restore(place)
        self._early, self._next = {}, PublicationId(1)
        self._under_way.clear()
        self._held = self._failed = False
        self._uncommitted = None
        self._round = message.round
        self._mailbox.release()
        self.send(message.manager, Restored(message.round))

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
            self._on_trouble(str(error))
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

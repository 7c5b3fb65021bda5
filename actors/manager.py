"""The actor that knows a stream's collectors: the active one, and the aged ones, oldest first.

It starts the successor of a collector that retires, drops what retention says must go, and scatters a query to the slices
that can answer it. It sees metas and partials, never an event, and never waits.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, assert_never

from actors.collecting.brake import Brake
from actors.collecting.checkpointer import Assembler
from actors.collecting.collector import Collector
from actors.collecting.ledger import Ledger
from actors.collecting.questions import Questions
from actors.collecting.shelf import Shelf
from actors.collecting.tally import Tally
from actors.columns.snapshot import State
from actors.messages import (
    Activate,
    Attached,
    Begin,
    Checkpoint,
    Committed,
    Emit,
    EventsLost,
    FrontEndMessage,
    GetCommitted,
    Grown,
    Ingested,
    KeeperMessage,
    Kept,
    Load,
    Loaded,
    Loading,
    ManagerMessage,
    Mapped,
    Overdue,
    Partial,
    Prepared,
    Publish,
    PublisherMessage,
    Reconfigure,
    Reconfigured,
    RecordsMissing,
    Reform,
    Restore,
    Restored,
    Retired,
    Saved,
    Snapped,
    StartMessage,
    Unread,
)
from actors.protocol import Address, CheckpointId, CollectorId, Lane, Message, PublicationId, Round
from actors.replies import Answer, Busy, Coverage, GetStats, Memory, Progress, Query, Stats
from actors.runtime.actor import Actor, System, start
from actors.set_collector import SetCollector
from actors.timeline.retention import Meter
from actors.views.view import Frozen, Live, Meta, View

_METER_S = 1.0
_NOTHING_LOADED = Loaded(CheckpointId(0), None, None, (), (), Round(0))


class Manager(Actor[ManagerMessage]):
    """Manages one stream's collectors within what `meter` allows; `brake` decides where the accounts are not all.

    `baseline_bytes` of the budget are what the process needs before any event. What is due to be published goes to
    `publisher`; without one it is not looked at.
    """

    capacity: ClassVar[dict[Lane, int]] = {Lane.CONTROL: 65_536, Lane.DATA: 256}

    def __init__(
        self,
        system: System,
        *,
        stream: str,
        view: View,
        meter: Meter,
        brake: Brake,
        baseline_bytes: int,
        publisher: Address[PublisherMessage] | None,
        keeper: Address[KeeperMessage] | None,
    ) -> None:
        super().__init__(system, stream=stream)
        self._view = view
        self._meter = meter
        self._brake = brake
        self._limits = meter.limits()
        self._baseline_bytes = baseline_bytes
        self._publisher = publisher
        self._keeper = keeper
        self._publications = PublicationId(0)
        self._rss_bytes = meter.resident_bytes()
        self._metered_at = system.dispatcher.now()
        self._front_end: Address[FrontEndMessage] | None = None
        self._round = Round(0)
        self._starting = self._doubtful = False
        self._loaded = _NOTHING_LOADED
        self._ids = itertools.count(1)
        self._shelf = Shelf(self)
        self._nothing = Meta(None, 0, 0, 0, None, view.nothing())
        self._ledger = Ledger(view)
        self._tally = Tally()
        self._done: ManagerMessage | None = None
        self._undone: list[ManagerMessage] = []
        self._retired_count = 0
        self._watermark: int | None = None
        self._last_batch_at: float | None = None
        self._progress = Progress()
        self._questions = Questions(self, view)
        self._assembler = Assembler(self, keeper=keeper, publisher=publisher, frame=self._frame)

    def on_stop(self) -> None:
        """Stop every collector."""
        self._shelf.stop()

    def receive(self, message: ManagerMessage) -> None:
        """Handle one message."""
        match message:
            case Attached(front_end):
                if self._front_end is None:
                    self._front_end = self._assembler.front_end = front_end
                    self._start_round()
            case Committed() | Loading() | Loaded() | Restored():
                self._go_on_starting(message)
            case Progress():
                self._progress = message
                self._measure()
                self._prune()
            case Grown():
                self._grown(message)
            case Retired():
                self._retired(message)
            case EventsLost():
                self._forgotten(message)
            case RecordsMissing():
                self._ledger.miss(message)
            case Publish():
                self._publish(message)
            case Checkpoint() | Snapped() | Prepared() | Kept() | Saved():
                # While it is settled which checkpoint to begin with, and while the books are in doubt, none is added to those.
                if not self._starting and not self._doubtful:
                    self._assembler.take(message, self._shelf)
            case Query():
                self._ask(message)
            case Partial():
                self._questions.gather(message)
            case Unread():
                self._questions.miss(message, whole=self._keeper is not None)
            case Overdue(number):
                self._questions.answer(number)
            case GetStats(reply_to):
                reply_to(self._stats())
            case Reconfigure():
                self._reconfigure(message)
            case _:
                assert_never(message)
        self._done = message if not isinstance(message, Partial) else None  # which may be large, and may come twice

    def failed(self, message: Message, error: Exception) -> None:
        """Answer a request that failed; the guardian has the reason. Without checkpoints, what is not done is done later."""
        if isinstance(message, Query | GetStats | Reconfigure):
            message.reply_to(Busy(f"the request failed: {type(error).__name__}"))
        elif self._keeper is not None:
            self._doubtful = self._doubtful or self.must_wait(message)
        elif isinstance(message, ManagerMessage) and message is not self._done:
            self._undone.append(message)

    def must_wait(self, message: Message | None) -> bool:
        """Whether a failure leaves the books in doubt. Questions change nothing."""
        return not isinstance(message, Query | GetStats | Overdue | Progress)

    def recover(self) -> None:
        """Go back to the last checkpoint, with all actors of the stream; without any, take what failed once more."""
        if self._keeper is not None and self._front_end is not None:
            self._start_round()
        while self._undone:  # one that fails again stays
            message = self._undone[0]
            self.receive(message)
            self._undone = [each for each in self._undone if each is not message]

    # Rounds ----------------------------------------------------------------------------------------------------------

    def _start_round(self) -> None:
        """Find out where to begin. What is there goes on answering until that is known."""
        self._round = Round(self._round + 1)
        self._starting = True
        if self._keeper is None:
            self._begin_round(_NOTHING_LOADED)
        elif self._publisher is not None:
            self.send(self._publisher, GetCommitted(self.address, self._round))
        else:
            self.send(self._keeper, Load(None, self.address, self._round))

    def _go_on_starting(self, message: StartMessage) -> None:
        """Take the next step: which results are out; the checkpoint that goes with them; the sinks put back to it."""
        if not self._starting or (not isinstance(message, Loading) and message.round != self._round):
            return  # of a start that was given up for this one
        match message:
            case Committed(checkpoint_id):
                self.send(self._keeper, Load(checkpoint_id, self.address, self._round))
            case Loading(done, total):
                self._assembler.loading(done, total)
            case Loaded():
                self._loaded = message
                self._assembler.loaded(message)
                if self._publisher is None:
                    self._begin_round(message)
                else:
                    places = message.state["places"] if message.state is not None else None
                    self.send(self._publisher, Restore(self._round, places, self.address))
            case Restored():
                self._begin_round(self._loaded)

    def _begin_round(self, loaded: Loaded) -> None:
        """Put collectors over the slices that were found, and have the front end begin where they end."""
        assert self._front_end is not None, "a front end attaches before a round begins"
        self._end_round()
        state = loaded.state
        if state is not None:
            self._ledger.restore(state["ledger"])
            self._tally.begin(self._ledger.counted())
            self._watermark, self._last_batch_at = state["watermark"], state["last_batch_at"]
            for each in loaded.aged:
                if each.frozen is None:
                    self._ledger.lose(each.collector_id, each.span, each.events, self.system.dispatcher.wall())
                else:
                    aged = self._collector(found=each.frozen, aged=True, mapped=each.mapped)
                    aged.meta, aged.name, aged.file_bytes = each.frozen.meta(), each.name, each.file_bytes
                    aged.coming = False
                    if each.mapped is not None:
                        own = each.mapped
                        aged.meta = replace(aged.meta, nbytes=own.nbytes, coarse_bytes=0, file_bytes=own.file_bytes)
                    self._shelf.put(aged)
        active = self._shelf.active = self._collector(found=loaded.live)
        self._loaded = _NOTHING_LOADED
        self._progress = Progress(since_start=self._progress.since_start)  # the rest counts what is to be read again
        self._starting = self._doubtful = False
        self.send(
            self._front_end,
            Begin(self._round, active.address, state and state["front_end"], state is None and bool(loaded.lost)),
        )
        self._prune()

    def _end_round(self) -> None:
        """Let go of all that belongs to the round before; questions under way get what there is."""
        self._questions.end()
        self._shelf.stop()
        self._shelf = Shelf(self)
        self._tally.note(self._ledger.counted())
        self._ledger = Ledger(self._view)
        self._tally.begin({})
        self._publications = PublicationId(0)
        self._watermark = self._last_batch_at = None

    # Collectors ------------------------------------------------------------------------------------------------------

    def _collector(
        self, *, carry: Any | None = None, found: Live | Frozen | None = None, aged: bool = False, mapped: Mapped | None = None
    ) -> Collector:
        """Start a collector, over what was found or with what its predecessor left."""
        assert self._front_end is not None, "a front end attaches before there are collectors"
        collector_id = CollectorId(next(self._ids))
        address = start(
            SetCollector,
            self.system,
            stream=self.stream,
            view=self._view,
            collector_id=collector_id,
            carry=carry,
            found=found,
            aged=aged,
            mapped=mapped,
            watermark=self._watermark,
            manager=self.address,
            front_end=self._front_end,
            keeper=self._keeper,
        )
        return Collector(collector_id, address, self._nothing)

    def _grown(self, message: Grown) -> None:
        active = self._shelf.active
        if active is not None and message.collector_id == active.collector_id:
            active.meta = message.meta
            self._watermark = message.watermark
            self._last_batch_at = message.at
        else:
            self._shelf.grown(message)
        self._prune()
        # One that failed before this one is out of date.
        self._undone = [
            each for each in self._undone if not (isinstance(each, Grown) and each.collector_id == message.collector_id)
        ]

    def _retired(self, message: Retired) -> None:
        """List the collector as aged, start its successor, and point the front end to that."""
        active = self._shelf.active
        if active is not None and active.collector_id == message.collector_id:  # not of the round before
            successor = self._collector(carry=message.carry)
            self._shelf.retire(message.meta, successor)
            self._retired_count += 1
            self.send(self._front_end, Activate(successor.address))
            self._prune()

    # Memory ----------------------------------------------------------------------------------------------------------

    @property
    def _other_bytes(self) -> int:
        """What is accounted beside the slices."""
        return self._baseline_bytes + self._progress.buffered_bytes

    def _prune(self) -> None:
        """Carry out what retention decides, and write down what went."""
        for dropped, reason in self._shelf.prune(self._limits, self._other_bytes, self._watermark):
            self._note_dropped(dropped, reason)

    def _reconfigure(self, message: Reconfigure) -> None:
        """Take other limits, and prune by them at once. What is told to the keeper comes before all that it is asked later."""
        self._meter, self._baseline_bytes, self._view = message.meter, message.baseline_bytes, message.view
        self._limits = self._meter.limits()
        self.send(self._keeper, Reform(message.view))
        before = len(self._shelf.aged)
        self._prune()
        message.reply_to(Reconfigured(before - len(self._shelf.aged)))

    def _note_dropped(self, dropped: Collector, reason: str) -> None:
        self._ledger.drop(dropped.collector_id, dropped.meta, reason, self.system.dispatcher.wall())
        self._assembler.dropped(dropped)

    def _forgotten(self, message: EventsLost) -> None:
        if self._shelf.knows(message.collector_id):
            if message.shed:
                self._shelf.shed()
            self._ledger.forget(message)

    def _measure(self) -> None:
        """Measure now and then what may be used, and what is; far above the budget, drop whatever the accounts say."""
        now = self.system.dispatcher.now()
        if now - self._metered_at < _METER_S:
            return
        self._metered_at = now
        self._limits, budget = self._meter.limits(), self._meter.budget_bytes()
        self._rss_bytes = self._meter.resident_bytes()
        if self._brake.worried(self._rss_bytes, budget):
            self._meter.trim()
            self._rss_bytes = self._meter.resident_bytes()
        for _ in range(self._brake.pull(self._rss_bytes, budget, [aged.meta.nbytes for aged in self._shelf.aged], now)):
            self._note_dropped(self._shelf.drop_oldest(), "emergency")

    def _frame(self) -> State:
        """Return the manager's part of a checkpoint."""
        return {
            "ledger": self._ledger.state(),
            "watermark": self._watermark,
            "last_batch_at": self._last_batch_at,
            "saved_at": self.system.dispatcher.wall(),
        }

    # Questions -------------------------------------------------------------------------------------------------------

    def _coverage(self) -> Coverage:
        active, aged = self._shelf.active, self._shelf.aged
        final = active.meta.final_until if active is not None else None
        if final is None and aged:
            final = aged[-1].meta.final_until
        return Coverage(self._ledger.complete_from, self._watermark, final, self._ledger.missing)

    def _publish(self, message: Publish) -> None:
        """Find the answer to what is due, as a query's, and hand it to the publisher, numbered."""
        if message.round != self._round or self._starting:
            return
        due, publisher, front_end = message.due, self._publisher, self._front_end
        assert front_end is not None, "what is due came through a front end"
        if publisher is None:
            self.send(front_end, Ingested(message.events, message.round))
            return
        publication_id = PublicationId(self._publications + 1)

        def emit(answer: Answer | Busy) -> None:
            assert isinstance(answer, Answer), "a round has an active collector"
            partial = answer.partial
            self.send(publisher, Emit(publication_id, front_end, self._view, partial, due, message.events, message.round))

        query = Query(due.span, due.arguments, math.inf, emit)  # no half answer will do, however long it takes
        if due.arguments is None:
            emit(Answer(self._view, due.partial, due.span, None, self._coverage()))
        else:
            self._ask(query, [due.partial], publishes=True)
        self._publications = publication_id  # one that failed before comes again, by the same number

    def _ask(self, query: Query, partials: Sequence[Any] = (), *, publishes: bool = False) -> None:
        """Put a query to the collectors that the view selects; what dropped ones left joins `partials`.

        The active one is asked too, unless it `publishes`: then it has said already what it knows.
        """
        active = self._shelf.active
        if active is None:
            query.reply_to(Busy("the stream is reading its checkpoint"))
            return
        aged = self._shelf.aged
        chosen = [aged[index] for index in self._view.select([each.meta for each in aged], query.span, query.arguments)]
        known = [*partials, self._view.recall(self._ledger.gone, query.span, query.arguments)]
        if not publishes:
            chosen.append(active)
        self._questions.put(query, chosen, known, self._coverage(), publishes=publishes)

    @property
    def counted(self) -> Mapping[str, int]:
        """Generations that were retired, and queries: answered whole, and without what was too late."""
        return {"retired": self._retired_count, "answered": self._questions.answered, "late": self._questions.late}

    def _stats(self) -> Stats:
        active, aged = self._shelf.active, self._shelf.aged
        self._tally.note(self._ledger.counted())
        return Stats(
            view=self._view,
            gone=self._ledger.gone,
            aged=tuple(each.meta for each in aged),
            active=active.meta if active is not None else self._nothing,
            memory=Memory(
                self._limits.budget_bytes,
                self._other_bytes + self._shelf.nbytes,
                self._baseline_bytes,
                self._rss_bytes,
                self._brake.pulls,
            ),
            coverage=self._coverage(),
            progress=self._progress,
            dropped=dict(self._ledger.dropped),
            dropped_generations=dict(self._ledger.generations),
            missed=dict(self._ledger.missed),
            missing=self._ledger.reasons(),
            last_batch_at=self._last_batch_at,
            durability=self._assembler.durability if self._keeper is not None else None,
            starting=self._starting or active is None,
            numbers=tuple(each.collector_id for each in (*aged, *([active] if active is not None else []))),
            pruned=self._ledger.pruned,
            since_start={**self._progress.since_start, **self._tally.total},
        )

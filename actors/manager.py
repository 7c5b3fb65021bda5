"""The actor that manages a stream's collectors: the active one, and the aged ones, oldest first.

It starts the successor of a collector that retires, drops the generations that retention selects, and scatters each query to
the slices that can answer it. It handles descriptions of slices and partials, never events, and never waits.

It is a state machine: `Phase` lists the messages that each phase accepts, and docs/states.md has the diagram.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, assert_never

from actors.collecting.brake import Brake
from actors.collecting.checkpointer import Assembler
from actors.collecting.collector import Collector
from actors.collecting.ledger import Ledger
from actors.collecting.memory import Accountant
from actors.collecting.phase import Phase
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
    Delayed,
    Emit,
    EventsLost,
    FrontEndMessage,
    GetCommitted,
    Grown,
    Halt,
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
from actors.replies import Answer, Busy, Coverage, GetStats, Progress, Query, Stats
from actors.runtime.actor import Actor, System, start
from actors.set_collector import SetCollector
from actors.timeline.retention import Meter
from actors.views.view import Frozen, Live, Meta, View

_NOTHING_LOADED = Loaded(CheckpointId(0), None, None, (), (), Round(0))


class Manager(Actor[ManagerMessage]):
    """Manages one stream's collectors within the limits of `meter` and `brake` (see `Accountant`).

    Results that are due go to `publisher`; without one they are not computed. After a failure the whole stream goes back to its
    last checkpoint. Statistics report checkpoints only if they are `lasting`, so that a later process reads them.
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
        keeper: Address[KeeperMessage],
        lasting: bool,
    ) -> None:
        super().__init__(system, stream=stream)
        self._view = view
        self._memory = Accountant(meter, brake, baseline_bytes, system.dispatcher.now())
        self._publisher = publisher
        self._keeper = keeper
        self._publications = PublicationId(0)
        self._front_end: Address[FrontEndMessage] | None = None
        self._round = Round(0)
        self._phase = Phase.WAITING
        self._lasting = lasting
        self._loaded = _NOTHING_LOADED
        self._ids = itertools.count(1)
        self._shelf = Shelf(self)
        self._nothing = Meta(None, 0, 0, 0, None, view.nothing())
        self._ledger = Ledger(view)
        self._tally = Tally()
        self._retired_count = 0
        self._watermark: int | None = None
        self._last_batch_at: float | None = None
        self._output_problem: str | None = None
        self._progress = Progress()
        self._questions = Questions(self, view)
        self._assembler = Assembler(self, keeper=keeper, publisher=publisher, part=self._checkpoint_part)

    @property
    def phase(self) -> Phase:
        """The present phase. Any thread may read it."""
        return self._phase

    def on_stop(self) -> None:
        """Reply to the clients that wait, and stop every collector."""
        self._questions.end()
        self._shelf.stop()

    def receive(self, message: ManagerMessage) -> None:
        """Handle one message if the present phase accepts it."""
        if not self._phase.accepts(message):
            return
        match message:
            case Attached(front_end):
                self._front_end = self._assembler.front_end = front_end
                self._start_round()
            case Committed() | Loading() | Loaded() | Restored():
                self._go_on_starting(message)
            case Progress():
                self._take_progress(message)
                self._measure()
                self._prune()
            case Delayed(problem):
                self._output_problem = problem
            case Grown():
                self._grown(message)
            case Retired():
                self._retired(message)
            case EventsLost():
                self._note_lost(message)
            case RecordsMissing():
                self._ledger.miss(message)
            case Publish():
                self._publish(message)
            case Checkpoint() | Snapped() | Prepared() | Kept() | Saved():
                self._assembler.take(message, self._shelf)
            case Query():
                self._ask(message)
            case Partial():
                self._questions.gather(message)
            case Unread():
                self._questions.miss(message)
            case Overdue(query_id):
                self._questions.answer(query_id)
            case GetStats(reply_to):
                reply_to(self._stats())
            case Reconfigure():
                self._reconfigure(message)
            case _:
                assert_never(message)

    def failed(self, message: Message, error: Exception) -> None:
        """Reply `Busy` to a failed request. A failure at another message is for `recover`."""
        super().failed(message, error)
        if not isinstance(message, Reconfigure) and self.must_wait(message) and self._phase is Phase.RUNNING:
            self._phase = Phase.DOUBTFUL

    def must_wait(self, message: Message | None) -> bool:
        """Return whether a failure at `message` may leave the state wrong. Requests do not change the state."""
        return not isinstance(message, Query | GetStats | Overdue | Progress)

    def recover(self) -> None:
        """Return to the last checkpoint, with all actors of the stream."""
        if self._phase is not Phase.WAITING:
            self._start_round()

    # Rounds ----------------------------------------------------------------------------------------------------------

    def _start_round(self) -> None:
        """Ask the publisher for the results that readers see, or without a publisher the keeper for the newest checkpoint.

        Until it is loaded, the present collectors answer queries.
        """
        self._round = Round(self._round + 1)
        self._phase = Phase.STARTING
        if self._publisher is not None:
            self.send(self._publisher, GetCommitted(self.address, self._round))
        else:
            self.send(self._keeper, Load(None, self.address, self._round))

    def _go_on_starting(self, message: StartMessage) -> None:
        """Take the next step: look at the results that readers see, load their checkpoint, move the sinks back to it."""
        if not isinstance(message, Loading) and message.round != self._round:
            return  # a step of an earlier start, which was given up
        match message:
            case Committed(standing):
                self.send(self._keeper, Load(standing, self.address, self._round))
            case Loading(done, total):
                self._assembler.loading(done, total)
            case Loaded(refused=str() as reason):
                self._assembler.loaded(message)
                self.send(self._publisher, Halt(reason))
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
        """Start collectors for the loaded slices, and have the front end read from their end."""
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
                        aged.meta = aged.meta.on_disk(each.mapped.nbytes, each.mapped.file_bytes)
                    self._shelf.put(aged)
        active = self._shelf.active = self._collector(found=loaded.live)
        self._loaded = _NOTHING_LOADED
        # The other counters include records that are read again.
        self._progress, self._memory.buffered_bytes = Progress(since_start=self._progress.since_start), 0
        self._phase = Phase.RUNNING
        self.send(
            self._front_end,
            Begin(self._round, active.address, state and state["front_end"], state is None and bool(loaded.lost)),
        )
        self._prune()

    def _end_round(self) -> None:
        """Drop all state of the previous round. Unfinished queries get the partials so far."""
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
        """Start a collector with a found slice, or with the `carry` of its predecessor."""
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

    def _retired(self, message: Retired) -> None:
        """Add the collector to the aged ones, start its successor, and have the front end send batches to this one."""
        active = self._shelf.active
        if active is not None and active.collector_id == message.collector_id:  # else it belongs to an earlier round
            successor = self._collector(carry=message.carry)
            self._shelf.retire(message.meta, successor)
            self._retired_count += 1
            self.send(self._front_end, Activate(successor.address))
            self._prune()

    # Memory ----------------------------------------------------------------------------------------------------------

    def _prune(self) -> None:
        """Apply the limits, and count the dropped generations."""
        for dropped, reason in self._shelf.prune(self._memory.limits, self._memory.other_bytes, self._watermark):
            self._note_dropped(dropped, reason)

    def _reconfigure(self, message: Reconfigure) -> None:
        """Apply new limits at once. The keeper gets the new view before any later request of this actor."""
        self._view = message.view
        self._memory.reconfigure(message.meter, message.baseline_bytes)
        self.send(self._keeper, Reform(message.view))
        before = len(self._shelf.aged)
        self._prune()
        message.reply_to(Reconfigured(before - len(self._shelf.aged)))

    def _note_dropped(self, dropped: Collector, reason: str) -> None:
        self._ledger.drop(dropped.collector_id, dropped.meta, reason, self.system.dispatcher.wall())
        self._assembler.dropped(dropped)

    def _note_lost(self, message: EventsLost) -> None:
        if self._shelf.knows(message.collector_id):
            if message.shed:
                self._shelf.shed()
            self._ledger.forget(message)

    def _measure(self) -> None:
        """Measure the process now and then; if it is far above its budget, drop generations.

        This happens even if the accounted bytes are within the budget.
        """
        now = self.system.dispatcher.now()
        slices = self._shelf
        for _ in range(self._memory.measure(now, slices.nbytes, lambda: [aged.meta.nbytes for aged in slices.aged])):
            self._note_dropped(self._shelf.drop_oldest(), "emergency")

    def _take_progress(self, message: Progress) -> None:
        """Keep the front end's report. If it has another unit of the times, the limit of age is another number."""
        before, self._progress, self._memory.buffered_bytes = self._progress, message, message.buffered_bytes
        if message.unit != before.unit:
            self._memory.refresh()

    def _checkpoint_part(self) -> State:
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
        complete_to = self._watermark if self._view.timed else None
        return Coverage(self._ledger.complete_from, complete_to, final, self._ledger.missing)

    def _publish(self, message: Publish) -> None:
        """Compute the result that is due, and send it to the publisher with the next publication id."""
        if message.round != self._round:
            return
        due, publisher, front_end = message.due, self._publisher, self._front_end
        assert front_end is not None, "a result is due only after a front end has attached"
        if publisher is None:
            self.send(front_end, Ingested(message.events, message.round))
            return
        publication_id = PublicationId(self._publications + 1)

        def emit(answer: Answer | Busy) -> None:
            assert isinstance(answer, Answer), "a round has an active collector"
            partial = answer.partial
            self.send(publisher, Emit(publication_id, front_end, self._view, partial, due, message.events, message.round))

        query = Query(due.span, due.arguments, math.inf, emit)  # no deadline: the result must be complete
        if due.arguments is None:
            emit(Answer(self._view, due.partial, due.span, None, self._coverage()))
        else:
            self._ask(query, [due.partial], publishes=True)
        self._publications = publication_id  # last, so that a result that fails before is sent again with the same id

    def _ask(self, query: Query, partials: Sequence[Any] = (), *, publishes: bool = False) -> None:
        """Send a query to the collectors that the view selects. The summary of dropped slices is added to `partials`.

        The active collector gets it too, unless the answer `publishes`: its part is in `partials` then.
        """
        active = self._shelf.active
        if active is None:
            query.reply_to(Busy("the stream is reading its checkpoint"))
            return
        if query.admit is not None:
            refused = query.admit(self._weight(query, active), self._memory.unused_bytes(self._shelf.nbytes))
            if refused is not None:
                query.reply_to(refused)
                return
        aged = self._shelf.aged
        chosen = [aged[index] for index in self._view.select([each.meta for each in aged], query.span, query.arguments)]
        initial = [*partials, self._view.recall(self._ledger.gone, query.span, query.arguments)]
        if not publishes:
            chosen.append(active)
        self._questions.put(query, chosen, initial, self._coverage(), publishes=publishes)

    def _weight(self, query: Query, active: Collector) -> int:
        """Return the bytes of an answer from all slices that overlap the query's span, at most."""
        metas = [each.meta for each in (*self._shelf.aged, active)]
        inside = [meta for meta in metas if meta.span is not None and meta.span.overlaps(query.span)]
        return self._view.weigh(inside, query.arguments)

    @property
    def counted(self) -> Mapping[str, int]:
        """The numbers of retired generations, of answered queries, and of queries with a collector that was too late."""
        return {"retired": self._retired_count, "answered": self._questions.answered, "late": self._questions.late}

    def _stats(self) -> Stats:
        active, aged = self._shelf.active, self._shelf.aged
        self._tally.note(self._ledger.counted())
        return Stats(
            view=self._view,
            gone=self._ledger.gone,
            aged=tuple(each.meta for each in aged),
            active=active.meta if active is not None else self._nothing,
            memory=self._memory.report(self._shelf.nbytes),
            coverage=self._coverage(),
            progress=self._progress,
            dropped=dict(self._ledger.dropped),
            dropped_generations=dict(self._ledger.generations),
            missed=dict(self._ledger.missed),
            missing=self._ledger.reasons(),
            last_batch_at=self._last_batch_at,
            durability=self._assembler.durability if self._lasting else None,
            output_problem=self._output_problem,
            starting=self._phase is Phase.STARTING or active is None,
            numbers=tuple(each.collector_id for each in (*aged, *([active] if active is not None else []))),
            pruned=self._ledger.pruned,
            since_start={**self._progress.since_start, **self._tally.total},
        )

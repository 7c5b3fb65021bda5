"""The actor that knows a stream's collectors: the active one, and the aged ones, oldest first.

It starts the successor of a collector that retires, drops what retention says must go, and scatters a query to the slices
that can answer it. It sees metas and partials, never an event, and never waits.
"""

import itertools
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, assert_never

from sortedcontainers import SortedDict

from actors.actor import Actor, System
from actors.mailbox import Lane
from actors.messages import (
    Activate,
    Address,
    Answer,
    Attached,
    Busy,
    Coarsen,
    Coverage,
    Discard,
    Emit,
    Forgotten,
    GetStats,
    Grown,
    Ingested,
    Memory,
    Message,
    Overdue,
    Partial,
    Progress,
    Publish,
    Query,
    Read,
    Retired,
    Shed,
    Stats,
)
from actors.set_collector import SetCollector
from actors.timeline.retention import Holding, Limits, decide
from actors.timeline.span import INT64_MAX, Span
from actors.views.view import Meta, View

ManagerMessage = Attached | Progress | Grown | Retired | Forgotten | Publish | Partial | Overdue | Query | GetStats

_METER_S = 1.0
_PUBLISH_DEADLINE_S = 60.0
_EMERGENCY = 1.1
"""The brake is pulled where the resident set is this much above the budget."""


@dataclass(slots=True)
class _Collector:
    """One collector as the manager knows it."""

    number: int
    address: Address
    meta: Meta


@dataclass(slots=True)
class _Asked:
    """A query under way: who has still to answer, and what came so far."""

    query: Query
    waiting: dict[int, Meta]
    coverage: Coverage
    partials: list[Any] = field(default_factory=list)


class Manager(Actor):
    """Manages one stream's collectors within `limits`; `rss` measures the resident set of the process, in bytes.

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
        limits: Limits,
        baseline_bytes: int,
        rss: Callable[[], int],
        publisher: Address | None,
    ) -> None:
        super().__init__(system, stream=stream)
        self._view = view
        self._limits = limits
        self._baseline_bytes = baseline_bytes
        self._rss = rss
        self._publisher = publisher
        self._publications = itertools.count(1)
        self._rss_bytes = rss()
        self._metered_at = system.dispatcher.now()
        self._emergencies = 0
        self._front_end: Address | None = None
        self._numbers = itertools.count(1)
        self._active: _Collector | None = None
        self._aged: SortedDict = SortedDict()
        self._aged_bytes = 0
        self._nothing = Meta(None, 0, 0, 0, None, view.nothing())
        self._gone: Any = view.nothing()
        self._dropped: Counter[str] = Counter()
        self._dropped_generations: Counter[str] = Counter()
        self._complete_from: int | None = None
        self._lost: Span | None = None
        self._shedding = False
        self._watermark: int | None = None
        self._last_batch_at: float | None = None
        self._progress = Progress()
        self._asked: dict[int, _Asked] = {}
        self._questions = itertools.count(1)

    def on_stop(self) -> None:
        """Stop every collector."""
        collectors = [*self._aged.values(), *([self._active] if self._active else [])]
        for collector in collectors:
            collector.address.stop(block=False)

    def receive(self, message: ManagerMessage) -> None:
        """Handle one message."""
        match message:
            case Attached(front_end):
                self._front_end = front_end
                self._activate(None)
            case Progress():
                self._progress = message
                self._meter()
                self._prune()
            case Grown():
                self._grown(message)
            case Retired():
                self._retired(message)
            case Forgotten():
                self._forgotten(message)
            case Publish():
                self._publish(message)
            case Query():
                self._scatter(message)
            case Partial():
                self._gather(message)
            case Overdue(number):
                if number in self._asked:
                    self._answer(number)
            case GetStats(reply_to):
                reply_to(self._stats())
            case _:
                assert_never(message)

    def failed(self, message: Message, error: Exception) -> None:
        """Answer a request that failed; the guardian has the reason."""
        if isinstance(message, Query | GetStats):
            message.reply_to(Busy(f"the request failed: {type(error).__name__}"))

    # Collectors ------------------------------------------------------------------------------------------------------

    def _activate(self, carry: Any | None) -> None:
        """Start the next collector with what the last one left, and point the front end to it."""
        assert self._front_end is not None, "a front end attaches before there are collectors"
        number = next(self._numbers)
        address = SetCollector.start(
            self.system,
            stream=self.stream,
            view=self._view,
            number=number,
            carry=carry,
            watermark=self._watermark,
            manager=self.actor_ref,
            front_end=self._front_end,
        )
        self._active = _Collector(number, address, self._nothing)
        self._shedding = False
        self.send(self._front_end, Activate(address))

    def _grown(self, message: Grown) -> None:
        if self._active is not None and message.number == self._active.number:
            self._active.meta = message.meta
            self._watermark = message.watermark
            self._last_batch_at = message.at
        elif message.number in self._aged:
            aged = self._aged[message.number]
            self._aged_bytes += message.meta.nbytes - aged.meta.nbytes
            aged.meta = message.meta
        self._prune()

    def _retired(self, message: Retired) -> None:
        """List the collector as aged, and start its successor."""
        retired = self._active
        assert retired is not None, "only an active collector retires"
        assert retired.number == message.number, "collectors retire in order"
        retired.meta = message.meta
        self._aged[retired.number] = retired
        self._aged_bytes += message.meta.nbytes
        self._activate(message.carry)
        self._prune()

    # Memory ----------------------------------------------------------------------------------------------------------

    def _accounted(self) -> int:
        active = self._active.meta.nbytes if self._active else 0
        return self._baseline_bytes + self._progress.buffered_bytes + active + self._aged_bytes

    def _prune(self) -> None:
        """Carry out what retention decides."""
        over = self._accounted() > self._limits.budget_bytes
        if not over and self._limits.max_aged is None and self._limits.max_age is None:
            return
        active = self._active.meta if self._active else None
        verdict = decide(
            self._limits,
            [
                Holding(aged.meta.nbytes, aged.meta.span.end if aged.meta.span else INT64_MAX, aged.meta.coarse_bytes)
                for aged in self._aged.values()
            ],
            active_bytes=active.nbytes if active else 0,
            dead_bytes=active.dead_bytes if active else 0,
            other_bytes=self._baseline_bytes + self._progress.buffered_bytes,
            watermark=self._watermark,
        )
        for aged in self._aged.values()[: verdict.coarsen]:
            if aged.meta.coarse_bytes:
                # Accounted as done, so that nothing is dropped while it is under way; the collector then says what it is.
                self._aged_bytes -= aged.meta.coarse_bytes
                aged.meta = replace(aged.meta, nbytes=aged.meta.nbytes - aged.meta.coarse_bytes, coarse_bytes=0)
                self.send(aged.address, Coarsen())
        for reason in verdict.drop:
            self._drop_oldest(reason)
        if verdict.shed_bytes and self._active is not None and not self._shedding:
            self._shedding = True
            self.send(self._active.address, Shed(verdict.shed_bytes))

    def _forgotten(self, message: Forgotten) -> None:
        if message.shed:
            self._shedding = False
        self._dropped.update(message.events)
        self._complete_from = _latest(self._complete_from, message.complete_from)
        if message.missing is not None:
            self._lost = message.missing.hull(self._lost or message.missing)

    def _drop_oldest(self, reason: str) -> None:
        _, oldest = self._aged.popitem(index=0)
        self._aged_bytes -= oldest.meta.nbytes
        self._gone = self._gone.then(oldest.meta.summary)
        self._dropped[reason] += oldest.meta.events
        self._dropped_generations[reason] += 1
        self._complete_from = _latest(self._complete_from, oldest.meta.span.end if oldest.meta.span else None)
        self.send(oldest.address, Discard())

    def _meter(self) -> None:
        """Measure the resident set now and then; far above the budget, drop a generation whatever the accounts say."""
        now = self.system.dispatcher.now()
        if now - self._metered_at < _METER_S:
            return
        self._metered_at = now
        self._rss_bytes = self._rss()
        if self._rss_bytes > _EMERGENCY * self._limits.budget_bytes and self._aged:
            self._emergencies += 1
            self._drop_oldest("emergency")

    # Questions -------------------------------------------------------------------------------------------------------

    def _coverage(self) -> Coverage:
        active = self._active.meta.final_until if self._active else None
        finals = [active] if active is not None else [aged.meta.final_until for aged in self._aged.values()[-1:]]
        lost = (self._lost,) if self._lost is not None else ()
        return Coverage(self._complete_from, self._watermark, finals[0] if finals else None, lost)

    def _publish(self, message: Publish) -> None:
        """Find the answer to what is due, as a query's, and hand it to the publisher, numbered."""
        due, publisher, front_end = message.due, self._publisher, self._front_end
        assert front_end is not None, "what is due came through a front end"
        if publisher is None:
            self.send(front_end, Ingested(message.events))
            return
        number = next(self._publications)

        def emit(answer: Answer) -> None:
            self.send(publisher, Emit(number, front_end, self._view, answer.partial, due, message.events))

        query = Query(due.span, due.arguments, _PUBLISH_DEADLINE_S, emit)
        if due.arguments is None:
            emit(Answer(self._view, due.partial, due.span, None, self._coverage()))
        else:
            self._scatter(query, [due.partial])

    def _scatter(self, query: Query, partials: Sequence[Any] = ()) -> None:
        """Ask the collectors that the view selects, and the active one; what dropped ones left joins `partials`."""
        aged = self._aged.values()
        chosen = [aged[index] for index in self._view.select([each.meta for each in aged], query.span, query.arguments)]
        if self._active is not None:
            chosen.append(self._active)
        number = next(self._questions)
        waiting = {collector.number: collector.meta for collector in chosen}
        known = [*partials, self._view.recall(self._gone, query.span, query.arguments)]
        self._asked[number] = _Asked(query, waiting, self._coverage(), known)
        for collector in chosen:
            self.send(collector.address, Read(number, query.span, query.arguments))
        self.later(query.deadline_s, self.actor_ref, Overdue(number))
        if not waiting:
            self._answer(number)

    def _gather(self, message: Partial) -> None:
        asked = self._asked.get(message.number)
        if asked is None:
            return
        asked.waiting.pop(message.collector, None)
        asked.partials.append(message.partial)
        if not asked.waiting:
            self._answer(message.number)

    def _answer(self, number: int) -> None:
        """Reply with what there is; the span of each collector that did not answer is missing."""
        asked = self._asked.pop(number)
        query, coverage = asked.query, asked.coverage
        silent = tuple(meta.span for meta in asked.waiting.values() if meta.span is not None)
        coverage = replace(coverage, missing=(*coverage.missing, *silent))
        merged = self._view.merge(asked.partials)
        query.reply_to(Answer(self._view, merged, query.span, query.arguments, coverage))

    def _stats(self) -> Stats:
        return Stats(
            view=self._view,
            gone=self._gone,
            aged=tuple(aged.meta for aged in self._aged.values()),
            active=self._active.meta if self._active else self._nothing,
            memory=Memory(
                self._limits.budget_bytes, self._accounted(), self._baseline_bytes, self._rss_bytes, self._emergencies
            ),
            coverage=self._coverage(),
            progress=self._progress,
            dropped=dict(self._dropped),
            dropped_generations=dict(self._dropped_generations),
            last_batch_at=self._last_batch_at,
        )


def _latest(one: int | None, other: int | None) -> int | None:
    """Return the later of two times, of which either may be unknown."""
    known = [time for time in (one, other) if time is not None]
    return max(known, default=None)

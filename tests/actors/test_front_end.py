"""The front end's phases: which messages each one accepts, and what follows. One thread, a clock that the test moves, no broker."""

import heapq
import math
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pykka
import pytest

from actors.front_end import FrontEnd
from actors.messages import (
    Activate,
    Attached,
    Begin,
    Checkpoint,
    DeadSecured,
    DeadWritten,
    Drain,
    Drained,
    Ingest,
    Ingested,
    IngestFailed,
    InputEnded,
    Poll,
    Proceed,
    RecordsMissing,
    Recover,
    Returned,
    Watch,
)
from actors.reading.pace import Pace
from actors.reading.states import Phase
from actors.replies import Progress
from actors.runtime.actor import System
from actors.sources.polled import Gap, Place, Polled
from actors.timeline.horizon import Ahead
from actors.timeline.unit import TimeUnit
from actors.views.kinds import VIEWS
from tests.support.listed import ListedSource

PACE = Pace(checkpoint_s=5.0, credits=2)


class Stepper:
    """A dispatcher on the test's own thread: `run` does what is due, `advance` moves the clock."""

    def __init__(self) -> None:
        self.time = 0.0
        self._tasks: deque[Callable[[], None]] = deque()
        self._later: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0

    def now(self) -> float:
        return self.time

    wall = now

    def submit(self, task: Callable[[], None], home: str) -> None:
        self._tasks.append(task)

    def later(self, seconds: float, task: Callable[[], None], home: str) -> None:
        self._count += 1
        heapq.heappush(self._later, (self.time + seconds, self._count, task))

    def run(self) -> None:
        for _ in range(10_000):
            if not self._tasks:
                return
            self._tasks.popleft()()
        raise AssertionError("the front end wakes itself up without end")

    def advance(self, seconds: float) -> None:
        until = self.time + seconds
        while self._later and self._later[0][0] <= until:
            self.time, _, task = heapq.heappop(self._later)
            task()
            self.run()
        self.time = until


class Inbox:
    """Stands for another actor: keeps what it gets."""

    actor_class = object

    def __init__(self) -> None:
        self.messages: list[Any] = []

    def tell(self, message: Any) -> None:
        self.messages.append(message)

    def of(self, kind: type[Any]) -> list[Any]:
        return [message for message in self.messages if isinstance(message, kind)]


class CountedSource(ListedSource):
    """Counts its polls, and raises an error at each poll while it is `broken`."""

    polls = 0
    broken = False

    def poll(self, count: int, timeout_s: float) -> Polled:
        self.polls += 1
        if self.broken:
            raise OSError("the broker is away")
        return super().poll(count, timeout_s)


class ChangingSource(ListedSource):
    """Its topic may be `recreated`, or lose the records before `first`. Both are found by the next `open` or `poll`."""

    def __init__(self, values: list[bytes]) -> None:
        super().__init__(values)
        self.first = 0
        self.recreated = 0
        self._epoch = 0
        self._topic = 0
        self._found: list[Gap] = []

    def open(self, place: Place) -> bool:
        self._next, self._epoch = place.offsets.get(0, 0), place.epoch
        self._topic = int(place.identity or self.recreated)
        self._look()
        return True

    def poll(self, count: int, timeout_s: float) -> Polled:
        self._look()
        return replace(super().poll(count, timeout_s), epoch=self._epoch)

    def place(self) -> Place:
        return Place({0: self._next}, str(self._topic), self._epoch)

    def gaps(self) -> list[Gap]:
        found, self._found = self._found, []
        return found

    def _look(self) -> None:
        if self._topic != self.recreated:
            self._topic, self._epoch, self._next = self.recreated, self._epoch + 1, 0
            self._found.append(Gap(0, None, "recreated"))
        if self._next < self.first:
            self._found.append(Gap(0, self.first - self._next, "deleted"))
            self._next = self.first


class FailingOnce:
    """A view whose decoder fails at the first poll after each `fail`."""

    def __init__(self) -> None:
        self._inner = VIEWS["sets"](steps="RGB", max_sets=100)
        self._fails = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def fail(self) -> None:
        self._fails = True

    def decode(self, poll: Any) -> Any:
        fails, self._fails = self._fails, False
        return self._inner.decode(poll) if not fails else 1 / 0


class Bench:
    """One front end between inboxes."""

    def __init__(
        self,
        pace: Pace = PACE,
        *,
        saves_first: bool = False,
        lasting: bool = True,
        view: Any = None,
        source: Any = CountedSource,
        unit: TimeUnit | None = None,
    ) -> None:
        self.clock, self.manager, self.collector, self.drained = Stepper(), Inbox(), Inbox(), Inbox()
        self.values: list[bytes] = []
        self.source = source(self.values)
        self.front_end = FrontEnd(
            System(self.clock),  # type: ignore[arg-type]  # it keeps a dispatcher's promises
            stream="events",
            view=view or VIEWS["sets"](steps="RGB", max_sets=100),
            source=self.source,
            manager=self.manager,  # type: ignore[arg-type]
            lateness=10,
            unit=unit or TimeUnit(),
            idle_s=0.2,
            ahead=Ahead(),
            on_wait=lambda *_: None,
            on_end=lambda _: None,
            dead_letters=None,
            saves_first=saves_first,
            lasting=lasting,
            pace=pace,
        )
        pykka.ActorRegistry.register(self.front_end.actor_ref)
        self.front_end._start_actor_loop()
        self.clock.run()

    @property
    def phase(self) -> Phase:
        return self.front_end.phase

    def tell(self, message: Any) -> None:
        """Have the front end handle one message, and what it sends itself at once."""
        if isinstance(message, Poll | Watch):
            self.front_end._alarm._next[type(message)] = message
        self.front_end.actor_ref.tell(message)
        self.clock.run()

    def begin(self, number: int = 1) -> None:
        self.tell(Begin(number, self.collector, None, False))

    def read(self) -> None:
        """Reach READING with one batch on its way, which has no credit back yet."""
        self.begin()
        self.saved()
        self.values += [b"R_1", b"G_2"]
        self.clock.advance(1.0)
        assert self.collector.of(Ingest)

    def saved(self) -> None:
        """Have the checkpoint saved that the front end waits for."""
        self.tell(Proceed(None))
        self.tell(Proceed(True))

    def credit(self) -> None:
        """Return the credit of every batch."""
        for batch in self.collector.of(Ingest):
            self.tell(Ingested(batch.count, 1))

    def effects(self) -> tuple[Any, ...]:
        """Return what a message could change, but for the reports."""
        sent = [message for message in self.manager.messages if not isinstance(message, Progress)]
        state = (self.phase, self.source.polls, self.front_end._out.settled, self.front_end._pause.__dict__.copy())
        return *state, len(sent), len(self.collector.messages), len(self.drained.messages)


def reach(phase: Phase) -> Bench:
    """Return a front end in `phase`."""
    bench = Bench()
    if phase is Phase.PAUSING:
        bench.begin()
    elif phase is not Phase.DETACHED:
        bench.read()
    if phase is Phase.FAILED:
        bench.tell(IngestFailed(bench.collector.of(Ingest)[0]))
    elif phase in (Phase.DRAINING, Phase.DRAINED):
        bench.tell(Drain(bench.drained.tell))
    if phase is Phase.DRAINED:
        bench.credit()
        bench.saved()
    assert bench.phase is phase
    return bench


@pytest.fixture(autouse=True)
def _no_actor_left() -> Iterator[None]:
    yield
    for actor in pykka.ActorRegistry.get_all():
        pykka.ActorRegistry.unregister(actor)


EMPTY = Ingest(None, None, 1)
MESSAGES: dict[type[Any], Callable[[Bench], Any]] = {
    Poll: lambda _: Poll(),
    Watch: lambda _: Watch(),
    Ingested: lambda _: Ingested(0, 1),
    Returned: lambda _: Returned(EMPTY),
    Activate: lambda bench: Activate(bench.collector),
    Proceed: lambda _: Proceed(False),
    DeadWritten: lambda _: DeadWritten(1),
    DeadSecured: lambda _: DeadSecured(1, False),
    IngestFailed: lambda _: IngestFailed(EMPTY),
    Begin: lambda bench: Begin(2, bench.collector, None, False),
    Drain: lambda bench: Drain(bench.drained.tell),
}
ACCEPTED = {
    Phase.DETACHED: {Begin, Watch, Drain},
    Phase.READING: set(MESSAGES),
    Phase.PAUSING: set(MESSAGES),
    Phase.FAILED: {Begin, DeadWritten, DeadSecured, Watch, Drain},
    Phase.DRAINING: set(MESSAGES) - {Poll, Watch},
    Phase.DRAINED: {Drain},
}


@pytest.mark.parametrize("kind", MESSAGES, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("phase", Phase, ids=lambda phase: phase.name)
def test_a_phase_accepts_its_messages_and_ignores_the_others(phase: Phase, kind: type[Any], monkeypatch: pytest.MonkeyPatch):
    bench, ignored = reach(phase), []
    monkeypatch.setattr(bench.front_end, "_ignore", ignored.append)
    before = bench.effects()
    bench.tell(MESSAGES[kind](bench))
    assert (not ignored) == (kind in ACCEPTED[phase])
    if ignored:
        assert bench.effects() == before


@pytest.mark.parametrize(
    ("phase", "kind", "after"),
    [
        (Phase.DETACHED, Begin, Phase.PAUSING),
        (Phase.DETACHED, Drain, Phase.DRAINED),
        (Phase.READING, IngestFailed, Phase.FAILED),
        (Phase.READING, Drain, Phase.DRAINING),
        (Phase.READING, Begin, Phase.PAUSING),
        (Phase.PAUSING, Proceed, Phase.READING),
        (Phase.PAUSING, IngestFailed, Phase.FAILED),
        (Phase.PAUSING, Drain, Phase.DRAINING),
        (Phase.FAILED, Begin, Phase.PAUSING),
        (Phase.FAILED, Drain, Phase.FAILED),
        (Phase.DRAINING, Begin, Phase.DRAINING),
        (Phase.DRAINING, IngestFailed, Phase.FAILED),
    ],
)
def test_a_message_leads_from_one_phase_to_the_next(phase: Phase, kind: type[Any], after: Phase):
    bench = reach(phase)
    bench.tell(MESSAGES[kind](bench))
    assert bench.phase is after


@pytest.mark.parametrize("phase", [phase for phase in Phase if phase is not Phase.READING], ids=lambda phase: phase.name)
def test_only_the_reading_phase_reads(phase: Phase):
    bench = reach(phase)
    bench.values += [b"R_3", b"G_4"]
    polls = bench.source.polls
    bench.tell(Poll())
    bench.clock.advance(60.0)
    assert bench.source.polls == polls


def test_a_detached_front_end_attaches_again_until_a_round_begins():
    bench = Bench()
    assert len(bench.manager.of(Attached)) == 1
    bench.clock.advance(2.5)
    assert len(bench.manager.of(Attached)) == 3
    bench.begin()
    bench.clock.advance(10.0)
    assert len(bench.manager.of(Attached)) == 3


def test_a_front_end_that_fails_before_its_first_round_attaches_again(monkeypatch: pytest.MonkeyPatch):
    bench = Bench()
    with monkeypatch.context() as failing:
        failing.setattr(bench.front_end, "_begin_round", lambda _: 1 / 0)
        bench.begin()
    assert bench.phase is Phase.FAILED
    attached = len(bench.manager.of(Attached))
    bench.clock.advance(2.5)
    assert len(bench.manager.of(Attached)) == attached + 2
    bench.begin()
    assert bench.phase is Phase.PAUSING


def test_a_front_end_whose_attempt_to_attach_fails_tries_again(monkeypatch: pytest.MonkeyPatch):
    """The manager may have failed at `Attached` before: then no other message would ever start the stream."""
    bench = Bench()
    attached = len(bench.manager.of(Attached))
    with monkeypatch.context() as failing:
        failing.setattr(bench.front_end, "_attach", lambda: 1 / 0)
        bench.clock.advance(1.5)
    assert len(bench.manager.of(Attached)) == attached
    bench.clock.advance(2.0)
    assert len(bench.manager.of(Attached)) == attached + 2


def test_the_first_plausible_time_decides_the_unit_before_any_event_is_sent():
    bench = Bench(unit=TimeUnit(None))
    bench.begin()
    bench.saved()
    bench.values += [b"R_1685695916", b"G_1685695917", b"B_1685696000"]
    bench.clock.advance(1.0)
    assert bench.collector.of(Ingest)
    assert {report.unit.name for report in bench.manager.of(Progress) if report.records} == {"s"}


def test_no_poll_is_read_while_a_batch_waits_for_a_credit():
    bench = Bench(Pace(credits=1))
    bench.read()
    bench.values += [b"R_20", b"G_21"]
    bench.clock.advance(1.0)
    polls = bench.source.polls
    bench.clock.advance(5.0)
    assert bench.source.polls == polls
    assert bench.manager.of(Progress)[-1].state == "waiting for what is under way"
    bench.tell(Ingested(bench.collector.of(Ingest)[0].count, 1))
    bench.clock.advance(0.1)
    assert len(bench.collector.of(Ingest)) == 2


def test_a_credit_of_an_earlier_round_has_no_effect():
    bench = reach(Phase.READING)
    bench.begin(2)
    before = bench.effects()
    bench.tell(Ingested(2, 1))
    bench.tell(IngestFailed(Ingest(None, None, 1)))
    assert bench.effects() == before


def test_a_checkpoint_waits_for_every_credit():
    bench = reach(Phase.READING)
    asked = len(bench.manager.of(Checkpoint))
    for batch in bench.collector.of(Ingest):
        bench.tell(Ingested(batch.count, 1))
    bench.values += [b"R_50", b"G_51"]
    bench.clock.advance(6.0)
    assert (bench.phase, len(bench.manager.of(Checkpoint))) == (Phase.PAUSING, asked)
    assert bench.manager.of(Progress)[-1].state == "waiting for what is under way"
    for batch in bench.collector.of(Ingest)[2:]:
        bench.tell(Ingested(batch.count, 1))
    assert (bench.phase, len(bench.manager.of(Checkpoint))) == (Phase.PAUSING, asked + 1)


def test_nothing_is_read_before_the_first_checkpoint_of_a_stream_with_sinks():
    bench = Bench(saves_first=True)
    bench.begin()
    bench.tell(Proceed(None))
    assert bench.phase is Phase.PAUSING
    bench.tell(Proceed(False))
    bench.clock.advance(1.5)
    assert (bench.phase, bench.source.polls) == (Phase.PAUSING, 0)
    assert len(bench.manager.of(Checkpoint)) == 2, "it is tried again"
    bench.tell(Proceed(True))
    assert (bench.phase, bench.source.polls > 0) == (Phase.READING, True)


def test_a_drain_ends_once_every_credit_is_back_if_no_checkpoint_lasts():
    bench = Bench(lasting=False)
    bench.read()
    bench.tell(Drain(bench.drained.tell))
    assert not bench.drained.messages
    bench.credit()
    assert [type(reply) for reply in bench.drained.messages] == [Drained]
    assert bench.drained.messages[0].progress.state == "drained"


def test_a_drain_waits_for_the_last_checkpoint():
    bench = reach(Phase.DRAINING)
    bench.credit()
    bench.tell(Proceed(None))
    assert not bench.drained.messages
    bench.tell(Proceed(True))
    assert [type(reply) for reply in bench.drained.messages] == [Drained]


@pytest.mark.parametrize("lasting", [True, False])
def test_events_that_wait_for_their_order_are_sent_at_a_drain_unless_a_checkpoint_keeps_them(*, lasting: bool):
    bench = Bench(lasting=lasting)
    bench.read()
    bench.credit()
    bench.values += [b"R_1000"]
    bench.clock.advance(0.05)
    sent = sum(batch.count for batch in bench.collector.of(Ingest))
    bench.tell(Drain(bench.drained.tell))
    assert sum(batch.count for batch in bench.collector.of(Ingest)) - sent == (0 if lasting else 1)


def test_a_drain_is_reported_once_whatever_comes_after_it():
    bench = reach(Phase.DRAINED)
    for late in (Ingested(2, 1), DeadWritten(1), Proceed(True), Begin(2, bench.collector, None, False)):
        bench.tell(late)
    assert [type(reply) for reply in bench.drained.messages] == [Drained]


def test_a_drain_that_meets_a_failure_ends_in_the_next_round():
    bench = reach(Phase.FAILED)
    bench.tell(Drain(bench.drained.tell))
    assert not bench.drained.messages
    bench.begin(2)
    assert bench.phase is Phase.DRAINING
    bench.saved()
    assert [type(reply) for reply in bench.drained.messages] == [Drained]


def test_a_successor_gets_batches_once_every_credit_of_its_predecessor_is_back():
    bench, successor = reach(Phase.READING), Inbox()
    bench.tell(Activate(successor))
    batches = bench.collector.of(Ingest)
    bench.tell(Ingested(batches[0].count, 1))
    bench.tell(Returned(batches[1]))
    assert successor.messages == batches[1:]
    assert bench.collector.of(InputEnded)


def test_a_failed_poll_is_read_again_and_starts_no_second_chain_of_polls():
    bench = Bench()
    bench.begin()
    bench.saved()
    bench.source.broken = True
    bench.clock.advance(0.05)
    assert bench.front_end.mailbox.held
    assert bench.front_end.healer == bench.front_end.address
    bench.source.broken = False
    for _ in range(5):
        bench.tell(Recover())
    polls = bench.source.polls
    bench.clock.advance(1.0)
    assert bench.source.polls - polls <= 1.0 / PACE.rest_s + 6


def test_a_silent_stream_is_polled_twenty_times_a_second_and_its_next_record_is_read_in_time():
    bench = Bench(replace(PACE, checkpoint_s=math.inf))
    bench.read()
    bench.credit()
    bench.clock.advance(60.0)
    polls = bench.source.polls
    bench.clock.advance(10.0)
    assert 10.0 / PACE.longest_rest_s - 2 <= bench.source.polls - polls <= 10.0 / PACE.longest_rest_s + 2
    bench.values += [b"R_1000", b"G_2000"]
    bench.clock.advance(PACE.longest_rest_s)
    assert bench.source.lag() == {0: 0}
    polls = bench.source.polls
    bench.clock.advance(0.5)
    assert bench.source.polls - polls >= 0.5 / PACE.rest_s - 2, "after a record it is polled as often as before"


def test_a_silent_stream_waits_for_records_after_its_rest_if_its_source_knows_of_them_at_once():
    bench = Bench(replace(PACE, checkpoint_s=math.inf))
    bench.read()
    bench.credit()

    def rest(timeout_s: float) -> None:
        waits.append(timeout_s)
        if not bench.source.lag()[0]:
            bench.clock.time += timeout_s

    waits: list[float] = []
    bench.source.rest = rest  # type: ignore[method-assign]
    bench.clock.advance(40 * PACE.longest_rest_s)
    assert not waits, "not before its rests are at their longest"
    bench.clock.advance(60.0)
    polls = bench.source.polls
    bench.clock.advance(10.0)
    period_s = PACE.longest_rest_s + PACE.longest_wait_s
    assert 10.0 / period_s - 2 <= bench.source.polls - polls <= 10.0 / period_s + 2
    assert max(waits) == PACE.longest_wait_s
    count = len(waits)
    bench.values += [b"R_1000", b"G_2000"]
    bench.clock.advance(period_s)
    assert (bench.source.lag(), len(waits)) == ({0: 0}, count + 1)
    bench.clock.advance(0.5)
    assert len(waits) == count + 1, "after a record it is polled as often as before"


def read_again_after_a_failure(values: list[bytes], **changes: int) -> Bench:
    """Return a front end whose decoder failed once, after its source had got `values` and these `changes`."""
    view = FailingOnce()
    bench = Bench(view=view, source=ChangingSource)
    bench.read()
    bench.tell(Ingested(2, 1))
    for name, value in changes.items():
        setattr(bench.source, name, value)
    view.fail()
    bench.values[:] = values
    bench.clock.advance(0.1)
    assert bench.front_end.mailbox.held
    bench.tell(Recover())
    bench.clock.advance(0.1)
    return bench


def test_a_gap_is_reported_once_if_the_records_after_it_cannot_be_decoded_at_first():
    bench = read_again_after_a_failure([b"R_1", b"G_2", b"lost", b"lost", b"lost", b"R_5", b"G_6"], first=5)
    newest = {message.key: message for message in bench.manager.of(RecordsMissing)}
    assert [(missing.reason, missing.count) for missing in newest.values()] == [("deleted", 3)]
    assert [missing.span.end for missing in newest.values()] == [5 + 10 + 1], "the record after the gap bounds its times"
    assert bench.manager.of(Progress)[-1].records == 4


def test_a_recreated_topic_is_read_from_its_beginning_if_its_first_records_cannot_be_decoded_at_first():
    bench = read_again_after_a_failure([b"R_5", b"G_6", b"B_7"], recreated=1)
    assert len({message.key for message in bench.manager.of(RecordsMissing)}) == 1
    assert (bench.manager.of(Progress)[-1].records, bench.manager.of(Progress)[-1].epoch) == (5, 1)


def test_a_failed_credit_ends_the_round(monkeypatch: pytest.MonkeyPatch):
    bench = reach(Phase.READING)
    monkeypatch.setattr(bench.front_end, "receive", lambda _: 1 / 0)
    bench.tell(Ingested(2, 1))
    assert bench.phase is Phase.FAILED
    assert bench.front_end.healer == bench.manager
    assert bench.manager.of(Progress)[-1].state == "failed"

"""The manager alone, message by message: its phases, the start of a round, a checkpoint, and a recovery."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from actors.collecting.brake import Brake
from actors.collecting.ledger import Ledger
from actors.collecting.phase import Phase
from actors.collecting.questions import Questions
from actors.manager import Manager
from actors.messages import (
    Activate,
    Attached,
    Begin,
    Checkpoint,
    Commit,
    Committed,
    Failed,
    GetCommitted,
    Grown,
    Ingested,
    Load,
    Loaded,
    Loading,
    Partial,
    Prepare,
    Prepared,
    Proceed,
    Publish,
    Reconfigure,
    Reconfigured,
    RecordsMissing,
    Recover,
    Reform,
    Restore,
    Restored,
    Retired,
    Save,
    Saved,
)
from actors.protocol import CheckpointId, CollectorId, QueryId, Round
from actors.replies import Answer, Busy, GetStats, Progress, Query, Stats, TooMuch
from actors.runtime.actor import System, start
from actors.standing import Standing
from actors.timeline.retention import Limits
from actors.timeline.span import Span
from actors.timeline.unit import Unit
from actors.views.kinds import VIEWS
from actors.views.sets.arguments import Page
from actors.views.view import Due, Meta
from tests.support.keeping import Inbox, Unthreaded
from tests.support.running import FixedMeter

VIEW = VIEWS["sets"](steps="RGB", max_sets=100)
MISSING = RecordsMissing("0", "deleted", Span(0, 10), 3)


@dataclass
class Bench:
    """A manager whose neighbours only store their messages."""

    lasting: bool = True
    results: bool = True
    front_end: Any = field(default_factory=Inbox)
    keeper: Any = field(default_factory=Inbox)
    publisher: Any = field(default_factory=Inbox)
    guardian: Any = field(default_factory=Inbox)

    def __post_init__(self) -> None:
        dispatcher: Any = Unthreaded()
        self.system = System(dispatcher, self.guardian)
        self.address = start(
            Manager,
            self.system,
            stream="events",
            view=VIEW,
            meter=FixedMeter(Limits(10**9), lambda: 0),
            brake=Brake(),
            baseline_bytes=0,
            publisher=self.publisher if self.results else None,
            keeper=self.keeper,
            lasting=self.lasting,
        )

    @property
    def manager(self) -> Manager:
        return next(actor for actor in self.system.actors if isinstance(actor, Manager))

    def tell(self, *messages: Any) -> None:
        for message in messages:
            self.address.tell(message)

    def ask(self, request: Any) -> Any:
        replies: list[Any] = []
        self.tell(request(replies.append))
        (reply,) = replies
        return reply

    def started(self) -> "Bench":
        """Take all steps of a start without a checkpoint, and forget the messages so far."""
        self.tell(Attached(self.front_end), Committed(None, Round(1)), loaded(1), Restored(Round(1)))
        assert self.manager.phase is Phase.RUNNING
        for inbox in (self.front_end, self.keeper, self.publisher, self.guardian):
            inbox.messages.clear()
        return self


def loaded(round_: int) -> Loaded:
    return Loaded(CheckpointId(0), None, None, (), (), Round(round_))


def kinds(inbox: Any) -> list[type]:
    return [type(message) for message in inbox.messages]


def query(reply_to: Any) -> Query:
    return Query(Span(0, 10), Page(), 1.0, reply_to)


@pytest.mark.parametrize(
    ("message", "accepting"),
    [
        (Attached(Inbox()), {Phase.WAITING}),
        (Committed(None, Round(1)), {Phase.STARTING}),
        (Loading(1, 2), {Phase.STARTING}),
        (loaded(0), {Phase.STARTING}),
        (Restored(Round(1)), {Phase.STARTING}),
        (Publish(Due(Span(0, 1), None, ()), 1, Round(1)), {Phase.RUNNING, Phase.DOUBTFUL}),
        (Checkpoint(None), {Phase.RUNNING}),
        (MISSING, set(Phase)),
        (Partial(QueryId(1), CollectorId(1), ()), set(Phase)),
        (GetStats(print), set(Phase)),
        (query(print), set(Phase)),
    ],
    ids=lambda each: type(each).__name__ if not isinstance(each, set) else "",
)
def test_a_phase_accepts_exactly_its_messages(message: Any, accepting: set[Phase]):
    assert {phase for phase in Phase if phase.accepts(message)} == accepting


def test_a_manager_without_a_front_end_refuses_queries_and_reports_that_it_starts():
    bench = Bench()
    assert bench.manager.phase is Phase.WAITING
    assert isinstance(bench.ask(query), Busy)
    stats: Stats = bench.ask(GetStats)
    assert stats.starting
    bench.tell(Committed(None, Round(0)), Checkpoint(None))
    assert bench.keeper.messages == bench.publisher.messages == []


def test_a_start_asks_for_the_committed_checkpoint_loads_it_and_moves_the_sinks_back():
    bench = Bench()
    bench.tell(Attached(bench.front_end))
    assert bench.manager.phase is Phase.STARTING
    assert bench.publisher.messages == [GetCommitted(bench.manager.address, Round(1))]
    standing = Standing("out", 7, "mark")
    bench.tell(Committed(standing, Round(1)))
    assert bench.keeper.messages == [Load(standing, bench.manager.address, Round(1))]
    bench.tell(Loading(1, 2))
    assert bench.ask(GetStats).durability.loading == (1, 2)
    bench.tell(loaded(1))
    assert kinds(bench.publisher) == [GetCommitted, Restore]
    assert bench.front_end.messages == []
    bench.tell(Restored(Round(1)))
    assert kinds(bench.front_end) == [Begin]
    assert bench.manager.phase is Phase.RUNNING
    assert isinstance(bench.ask(query), Answer)


def test_a_start_without_results_loads_the_newest_checkpoint():
    bench = Bench(results=False)
    bench.tell(Attached(bench.front_end))
    assert bench.keeper.messages == [Load(None, bench.manager.address, Round(1))]
    bench.tell(loaded(1))
    assert kinds(bench.front_end) == [Begin]


def test_checkpoints_that_end_with_the_process_are_not_reported():
    assert Bench().started().ask(GetStats).durability is not None
    assert Bench(lasting=False).started().ask(GetStats).durability is None


def test_a_step_of_an_earlier_round_is_ignored():
    bench = Bench()
    bench.tell(Attached(bench.front_end), Recover())
    assert bench.publisher.messages[-1] == GetCommitted(bench.manager.address, Round(2))
    bench.tell(Committed(None, Round(1)), loaded(1), Restored(Round(1)))
    assert bench.keeper.messages == bench.front_end.messages == []


def test_a_checkpoint_lets_the_front_end_read_on_before_it_is_written():
    bench = Bench().started()
    bench.tell(Checkpoint({"place": 1}))
    (prepare,) = bench.publisher.messages
    assert isinstance(prepare, Prepare)
    assert bench.front_end.messages == [Proceed(None)]
    bench.tell(Prepared(prepare.attempt_id, ("place",)))
    (save,) = bench.keeper.messages
    assert isinstance(save, Save)
    assert save.state["front_end"] == {"place": 1}
    assert save.state["places"] == ("place",)
    bench.tell(Saved(save.attempt_id, CheckpointId(1), 100, 0.5, None))
    assert bench.publisher.messages[-1] == Commit(CheckpointId(1))
    assert bench.front_end.messages[-1] == Proceed(saved=True)


def test_a_checkpoint_that_cannot_be_saved_is_given_up():
    bench = Bench().started()
    bench.tell(Checkpoint(None))
    attempt_id = bench.publisher.messages[0].attempt_id
    bench.tell(Prepared(attempt_id, None, "the sink is away"))
    assert bench.publisher.messages[-1] == Commit(None)
    assert bench.front_end.messages[-1] == Proceed(saved=False)
    assert bench.ask(GetStats).durability.problem == "the sink is away"


def failing(monkeypatch: pytest.MonkeyPatch, method: str, errors: Sequence[Exception]) -> None:
    """Let the calls of a ledger's method raise the errors, one each, before calls succeed again."""
    left, original = list(errors), getattr(Ledger, method)

    def called(self: Ledger, *arguments: Any) -> Any:
        if left:
            raise left.pop()
        return original(self, *arguments)

    monkeypatch.setattr(Ledger, method, called)


def test_after_a_failure_there_is_no_checkpoint_until_a_new_round_has_begun(monkeypatch: pytest.MonkeyPatch):
    bench = Bench().started()
    failing(monkeypatch, "miss", [ValueError("once")])
    bench.tell(MISSING)
    assert bench.manager.phase is Phase.DOUBTFUL
    assert [message.held for message in bench.guardian.messages if isinstance(message, Failed)] == [True]
    bench.tell(Checkpoint(None))
    assert bench.publisher.messages == bench.front_end.messages == []
    bench.tell(Recover())
    assert bench.manager.phase is Phase.STARTING
    assert bench.publisher.messages == [GetCommitted(bench.manager.address, Round(2))]
    bench.tell(Committed(None, Round(2)), loaded(2), Restored(Round(2)))
    assert bench.manager.phase is Phase.RUNNING


def test_what_was_missed_since_the_start_still_counts_in_a_new_round():
    bench = Bench().started()
    bench.tell(MISSING)
    bench.tell(Recover(), Committed(None, Round(2)), loaded(2), Restored(Round(2)))
    stats: Stats = bench.ask(GetStats)
    assert (dict(stats.missed), stats.since_start) == ({}, {"missed deleted": 3})
    bench.tell(MISSING, Recover(), Committed(None, Round(3)), loaded(3), Restored(Round(3)), MISSING)
    assert bench.ask(GetStats).since_start == {"missed deleted": 9}, "what is missed again counts again"


def test_stats_have_the_watermark_and_the_time_of_the_last_batch():
    bench = Bench().started()
    active: Stats = bench.ask(GetStats)
    bench.tell(Grown(CollectorId(active.numbers[0]), active.active, 10, 7.5))
    grown: Stats = bench.ask(GetStats)
    assert (grown.coverage.complete_to, grown.last_batch_at) == (10, 7.5)
    assert not grown.starting
    bench.tell(Recover())
    assert bench.ask(GetStats).starting


def test_a_failed_request_is_answered_and_leaves_no_doubt(monkeypatch: pytest.MonkeyPatch):
    bench = Bench().started()
    failing(monkeypatch, "reasons", [ValueError("once")])
    assert bench.ask(GetStats) == Busy("the request failed: ValueError")
    assert bench.manager.phase is Phase.RUNNING


def test_a_query_is_weighed_before_any_slice_is_read_and_refused_without_memory(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(type(VIEW), "weigh", lambda _, metas, arguments: 100 * len(metas) + arguments.limit)
    bench = Bench().started()
    active = bench.ask(GetStats)
    meta = Meta(Span(0, 10), 3, 1_000, 0, None, active.active.summary)
    asked: list[tuple[int, int]] = []
    refused = TooMuch("no memory", 8, 7)

    def admit(nbytes: int, spare_bytes: int) -> TooMuch:
        asked.append((nbytes, spare_bytes))
        return refused

    assert bench.ask(lambda reply_to: Query(Span(0, 10), Page(1), 1.0, reply_to, admit)) == refused
    bench.tell(Grown(CollectorId(active.numbers[0]), meta, 10, 1.0))
    assert bench.ask(lambda reply_to: Query(Span(0, 10), Page(1), 1.0, reply_to, admit)) == refused
    assert bench.ask(lambda reply_to: Query(Span(10, 20), Page(1), 1.0, reply_to, admit)) == refused
    assert [nbytes for nbytes, _ in asked] == [1, 101, 1], "only slices with events in the query's span are weighed"
    assert asked[-1] == (1, 10**9 - 1_000)
    assert bench.manager.counted["answered"] == 0


def test_a_query_that_waits_when_the_manager_stops_is_answered_with_what_is_there(monkeypatch: pytest.MonkeyPatch):
    bench = Bench().started()
    monkeypatch.setattr(Questions, "gather", lambda *_: None)  # the partials come too late
    replies: list[Any] = []
    bench.tell(query(replies.append))
    assert not replies
    bench.address.stop(block=False)
    (answer,) = replies
    assert isinstance(answer, Answer)


def test_batches_go_to_the_successor_of_a_retired_collector_and_only_once():
    bench = Bench().started()
    active: Stats = bench.ask(GetStats)
    retired = Retired(CollectorId(active.numbers[0]), Meta(Span(0, 10), 3, 1_000, 0, None, active.active.summary), None)
    bench.tell(retired, retired)
    assert kinds(bench.front_end) == [Activate]
    after: Stats = bench.ask(GetStats)
    assert (len(after.aged), bench.manager.counted["retired"]) == (1, 1)
    assert after.numbers[0] == active.numbers[0] != after.numbers[1]


def test_an_aged_collector_changes_its_own_description_and_the_active_one_has_the_final_time():
    bench = Bench().started()
    active: Stats = bench.ask(GetStats)

    def meta(final_until: int | None) -> Meta:
        return Meta(Span(0, 10), 3, 1_000, 0, final_until, active.active.summary)

    bench.tell(Retired(CollectorId(active.numbers[0]), meta(5), None))
    assert bench.ask(GetStats).coverage.final_until == 5, "the active slice has no final time yet"
    after: Stats = bench.ask(GetStats)
    bench.tell(Grown(CollectorId(after.numbers[1]), meta(8), 20, 1.0))
    bench.tell(Grown(CollectorId(after.numbers[0]), meta(6), 10, 2.0))
    grown: Stats = bench.ask(GetStats)
    assert [each.final_until for each in (*grown.aged, grown.active)] == [6, 8]
    assert (grown.coverage.final_until, grown.coverage.complete_to, grown.last_batch_at) == (8, 20, 1.0)


def test_results_without_arguments_are_sent_at_once_and_numbered_from_one_in_each_round():
    bench = Bench().started()
    due = Due(Span(0, 1), None, ("row",))
    bench.tell(Publish(due, 5, Round(1)), Publish(due, 6, Round(1)))
    emitted = [(each.publication_id, each.partial, each.events) for each in bench.publisher.messages]
    assert emitted == [(1, ("row",), 5), (2, ("row",), 6)]
    bench.tell(Recover(), Committed(None, Round(2)), loaded(2), Restored(Round(2)), Publish(due, 7, Round(2)))
    assert bench.publisher.messages[-1].publication_id == 1


def test_a_checkpoint_is_given_up_if_a_slice_that_it_needs_is_dropped_before_it_is_written():
    bench = Bench().started()
    active: Stats = bench.ask(GetStats)
    meta = Meta(Span(0, 10), 3, 1_000, 0, None, active.active.summary)
    bench.tell(Retired(CollectorId(active.numbers[0]), meta, None), Checkpoint(None))
    assert bench.front_end.messages[-1] == Proceed(None)
    tight = FixedMeter(Limits(1), lambda: 0)
    assert bench.ask(lambda reply_to: Reconfigure(tight, 0, VIEW, reply_to)) == Reconfigured(1)
    assert bench.front_end.messages[-1] == Proceed(saved=False)
    assert bench.publisher.messages[-1] == Commit(None)


def test_new_limits_reach_the_keeper_and_are_confirmed():
    bench = Bench().started()
    view = VIEWS["sets"](steps="RGB", max_sets=7)
    meter = FixedMeter(Limits(10**8), lambda: 0)
    assert bench.ask(lambda reply_to: Reconfigure(meter, 0, view, reply_to)) == Reconfigured(0)
    assert bench.keeper.messages == [Reform(view)]
    stats: Stats = bench.ask(GetStats)
    assert (stats.view, stats.memory.budget_bytes) == (view, 10**8)


def test_the_limits_are_read_again_as_soon_as_the_unit_of_the_times_changes(monkeypatch: pytest.MonkeyPatch):
    bench, asked, limits = Bench().started(), [], FixedMeter.limits
    monkeypatch.setattr(FixedMeter, "limits", lambda meter: (asked.append(meter), limits(meter))[1])
    bench.tell(Progress())
    assert not asked
    bench.tell(Progress(unit=Unit("s", "decided")))
    assert len(asked) == 1


def test_without_a_publisher_a_due_result_only_returns_its_credit():
    bench = Bench(results=False).started()
    due = Due(Span(0, 1), None, ())
    bench.tell(Publish(due, 5, Round(1)), Publish(due, 6, Round(0)))
    assert bench.front_end.messages == [Ingested(5, Round(1))]

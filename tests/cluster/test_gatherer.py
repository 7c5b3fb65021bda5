"""The gatherer of a process: one real actor, whose shards are all at other processes."""

import dataclasses
import math
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec
import pytest

from actors.cluster.figures import figures_bytes, figures_from, figures_of
from actors.cluster.gatherer import Gatherer, Told
from actors.cluster.messages import Ask, Hold, Known, Locate, Moved, Part, Place
from actors.cluster.parcels import busy_bytes, part_bytes, question_bytes, question_of, reply_bytes
from actors.cluster.summing import stats_of, summed
from actors.manager import Manager
from actors.messages import Delayed
from actors.replies import (
    Answer,
    Busy,
    Coverage,
    Durability,
    GetStats,
    Progress,
    Query,
    ShardState,
    Stats,
    Trouble,
    Unanswerable,
)
from actors.runtime.actor import System, start
from actors.timeline.span import EVER
from actors.views.kinds import VIEWS
from actors.views.words.arguments import Counting
from tests.simulation.clock import SimulatedClock
from tests.simulation.dispatcher import SimulatedDispatcher
from tests.simulation.faults import Faults
from tests.simulation.trace import Trace

VIEW = VIEWS["words"]()
COUNTING = Counting("types", None)


class Recorder:
    """Peers that note each question, and reply what the test wants."""

    def __init__(self) -> None:
        self.asked: list[tuple[list[tuple[int, int]], Callable[[Told], None]]] = []

    def ask(self, place: Place, bodies: Sequence[bytes], timeout_s: float, done: Callable[[Told], None]) -> None:
        self.asked.append(([(question.shard, question.epoch) for question in map(question_of, bodies)], done))

    def probe(self, place: Place, timeout_s: float, done: Callable[[bool], None]) -> None:
        done(True)


class Scene:
    """A gatherer of `shards` shards, and the replies to questions."""

    def __init__(self, shards: int) -> None:
        self.clock, chance, trace = SimulatedClock(), random.Random(1), Trace()
        self.peers = Recorder()
        self.dispatcher = SimulatedDispatcher(self.clock, chance, Faults(chance, {}, trace), trace)
        system = System(self.dispatcher)  # type: ignore[arg-type]  # it keeps the promises of a dispatcher
        self.gatherer = start(
            Gatherer,
            system,
            stream="events",
            name="words",
            view=VIEW,
            shards=shards,
            peers=self.peers,
            doubtful=lambda: False,
            budget_bytes=1 << 20,
        )
        self.replies: list[Any] = []

    def tell(self, *messages: Any) -> None:
        """Send messages, and let the gatherer handle them."""
        for message in messages:
            self.gatherer.tell(message)
        self.settle()

    def settle(self) -> None:
        while self.dispatcher.ready():
            self.dispatcher.step()

    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.settle()

    def ask(self, deadline_s: float = 10.0) -> None:
        self.tell(Query(EVER, COUNTING, deadline_s, self.replies.append))

    def reply(self, place: int, *data: bytes) -> None:
        """Reply to the request number `place`."""
        self.peers.asked[place][1](data)
        self.settle()

    def fail(self, place: int, error: OSError) -> None:
        """Let the request number `place` fail."""
        self.peers.asked[place][1](error)
        self.settle()

    @property
    def waiting(self) -> int:
        return len(self.dispatcher.actors[0]._asked)


class Shard:
    """A shard here, at the addresses of its manager and its source: how far the source, the front end and the slices are."""

    actor_class = Manager

    def __init__(self, nothing: Stats) -> None:
        self._nothing = nothing
        self.source_at: float | None = None
        self.news_at = -math.inf
        self.taken_at, self.read, self.apart, self.sliced, self.dropped = 0.0, 0, 0, 0, 0

    def caught_up_at(self) -> float | None:
        return self.source_at

    def whole_at(self, taken_at: float) -> float | None:
        return None

    def tell(self, message: Any) -> None:
        replace = msgspec.structs.replace
        progress = replace(self._nothing.progress, taken_at=self.taken_at, events=self.read, apart=self.apart)
        if isinstance(message, GetStats):
            active = dataclasses.replace(self._nothing.active, events=self.sliced)
            message.reply_to(replace(self._nothing, progress=progress, active=active, dropped={"memory": self.dropped}))
        else:
            message.known(Known(progress, 0, ()))
            message.reply_to(Answer(VIEW, (), message.span, message.arguments, Coverage(None, 5, None)))


@pytest.fixture
def scene() -> Iterator[Callable[[int], Scene]]:
    made: list[Scene] = []

    def make(shards: int) -> Scene:
        made.append(Scene(shards))
        return made[-1]

    yield make
    for each in made:
        each.dispatcher.close()


def part(epoch: int, complete_to: int = 5) -> bytes:
    found = Part((), Coverage(None, complete_to, None), None, idle=False, epoch=epoch)
    return part_bytes("words", VIEW, found, COUNTING)


def test_a_question_under_way_goes_to_the_new_holder_of_a_shard_that_moves(scene: Any):
    one = scene(1)
    one.tell(Locate(0, Place("a", 1, 3, 1)))
    one.ask()
    one.tell(Locate(0, Place("b", 2, 7, 2)))
    assert [asked for asked, _ in one.peers.asked] == [[(0, 3)], [(0, 7)]]
    one.reply(0, part(3, complete_to=99))  # the earlier holder, which may have missed records
    assert not one.replies
    one.reply(1, part(7))
    (answer,) = one.replies
    assert (answer.coverage.absent, answer.coverage.complete_to) == ((), 5)


def test_a_question_to_a_holder_that_is_gone_and_replaced_does_not_wait_for_its_deadline(scene: Any):
    one = scene(2)
    one.tell(Locate(0, Place("a", 1, 3, 1)), Locate(1, Place("b", 2, 3, 2)))
    one.ask()
    one.reply(1, part(3))
    one.tell(Locate(0, Place("b", 2, 7, 2)))
    one.fail(0, ConnectionRefusedError("refused"))
    one.reply(2, busy_bytes("the shard reads what came before"))
    (answer,) = one.replies
    assert answer.coverage.absent == ("events 0",)
    assert not one.waiting


def test_each_process_is_asked_once_for_all_of_its_shards_and_each_shard_has_a_part_or_is_named(scene: Any):
    one = scene(5)
    one.tell(*(Locate(shard, Place("a", shard % 2, 10 + shard, 7)) for shard in range(5)))
    one.ask()
    assert [asked for asked, _ in one.peers.asked] == [[(0, 10), (2, 12), (4, 14)], [(1, 11), (3, 13)]]
    one.reply(0, part(10), busy_bytes("the lease is in doubt"), b"damaged")
    assert not one.replies
    one.reply(1, part(11), part(13))
    assert [each.coverage.absent for each in one.replies] == [("events 2", "events 4")]
    one.ask()
    one.fail(2, ConnectionRefusedError("refused"))
    one.reply(3, part(11), part(13))
    assert one.replies[1].coverage.absent == ("events 0", "events 2", "events 4")
    one.ask()
    assert [asked for asked, _ in one.peers.asked[4:]] == [[(1, 11), (3, 13)]], "a process that does not answer is not asked"


def test_a_shard_that_moves_is_asked_anew_alone_and_the_others_of_its_request_count(scene: Any):
    one = scene(2)
    one.tell(*(Locate(shard, Place("a", 1, 3, 1)) for shard in range(2)))
    one.ask()
    one.tell(Locate(1, Place("b", 2, 7, 2)))
    assert [asked for asked, _ in one.peers.asked] == [[(0, 3), (1, 3)], [(1, 7)]]
    one.reply(0, part(3, complete_to=5), part(3, complete_to=1))
    assert not one.replies
    one.reply(1, part(7, complete_to=9))
    (answer,) = one.replies
    assert (answer.coverage.absent, answer.coverage.complete_to) == ((), 5)


def test_a_shard_that_comes_is_asked_where_it_was_until_it_answers_here(scene: Any):
    one, ready = scene(1), list[int]()
    shard: Any = Shard(of_no_shard(one))
    one.tell(Locate(0, Place("a", 1, 3, 1)), Hold(0, 7, shard, shard, lambda: ready.append(7)))
    one.ask()
    one.reply(0, part(3, complete_to=1))
    one.ask()
    assert [asked for asked, _ in one.peers.asked] == [[(0, 3)], [(0, 3)]]
    assert not ready
    shard.source_at = shard.taken_at = 10.0
    one.wait(0.2)
    assert ready == [7]
    one.reply(1, part(3, complete_to=1))
    one.ask()
    assert [(each.coverage.absent, each.coverage.complete_to) for each in one.replies] == [((), 1), ((), 5), ((), 5)]
    assert len(one.peers.asked) == 2, "it is asked here"


def test_a_process_that_had_a_shard_tells_where_it_is_and_the_question_goes_there(scene: Any):
    one = scene(2)
    one.tell(*(Locate(shard, Place("a", 1, 3, 1)) for shard in range(2)))
    one.ask()
    one.reply(0, busy_bytes("another process has the shard", Place("b", 2, 9, 2)), part(3))
    assert [asked for asked, _ in one.peers.asked] == [[(0, 3), (1, 3)], [(0, 9)]]
    one.reply(1, part(9))
    assert [each.coverage.absent for each in one.replies] == [()]
    one.tell(Locate(0, Place("a", 1, 3, 1)))  # an announcement that was read late
    one.ask()
    assert [asked for asked, _ in one.peers.asked[2:]] == [[(0, 9)], [(1, 3)]]
    told: list[Any] = []
    for epoch in (3, 8, 9):
        one.tell(Ask(0, epoch, EVER, COUNTING, 1.0, told.append))
    reason = "another process has the shard"
    moved = Moved(reason, Place("b", 2, 9, 2))
    assert told == [moved, moved, Busy(reason)]


def joint(epochs: dict[int, int], complete_to: dict[int, int]) -> list[bytes]:
    """Return a reply in which the parts of several shards are one."""
    data = [
        question_bytes("events", shard, epoch, span=EVER, arguments=COUNTING, deadline_s=1.0, joint=True)
        for shard, epoch in epochs.items()
    ]
    parts = [
        Part((), Coverage(None, complete_to[shard], None), None, idle=False, epoch=epoch) for shard, epoch in epochs.items()
    ]
    return reply_bytes("words", VIEW, [(question_of(each), COUNTING) for each in data], parts)


def test_of_a_joint_reply_all_parts_count_or_none(scene: Any):
    one = scene(4)
    one.tell(*(Locate(shard, Place("a", 1, 3, 1)) for shard in range(3)), Locate(3, Place("b", 2, 3, 2)))
    one.ask()
    one.reply(0, *joint({0: 3, 1: 3, 2: 3}, {0: 5, 1: 6, 2: 7}))
    one.reply(1, part(3, complete_to=9))
    assert [(each.coverage.absent, each.coverage.complete_to) for each in one.replies] == [((), 5)]
    one.ask()
    one.tell(Locate(1, Place("b", 2, 7, 2)))
    one.reply(2, *joint({0: 3, 1: 3, 2: 3}, {0: 5, 1: 1, 2: 7}))
    assert [asked for asked, _ in one.peers.asked[2:]] == [[(0, 3), (1, 3), (2, 3)], [(3, 3)], [(1, 7)], [(0, 3), (2, 3)]]
    one.reply(3, part(3, complete_to=9))
    one.reply(4, part(7, complete_to=8))
    assert len(one.replies) == 1, "two shards are asked again: what the third one had cannot be taken out"
    one.reply(5, *joint({0: 3, 2: 3}, {0: 6, 2: 7}))
    assert [(each.coverage.absent, each.coverage.complete_to) for each in one.replies[1:]] == [((), 6)]
    assert not one.waiting


def test_a_query_whose_parts_cannot_be_joined_is_refused_at_once(scene: Any, monkeypatch: pytest.MonkeyPatch):
    one = scene(1)
    one.tell(Locate(0, Place("a", 1, 3, 1)))
    actor = one.dispatcher.actors[0]
    monkeypatch.setattr(actor._parcel, "joined", lambda *_, **__: 1 // 0)
    one.ask()
    one.reply(0, part(3))
    assert one.replies == [Busy("the request failed: ZeroDivisionError")]
    assert not one.waiting


def test_an_answer_that_no_repetition_gives_is_refused_as_such(scene: Any, monkeypatch: pytest.MonkeyPatch):
    one = scene(1)
    one.tell(Locate(0, Place("a", 1, 3, 1)))
    monkeypatch.setattr(one.dispatcher.actors[0]._parcel, "refusal", lambda _: "not by key")
    one.ask()
    one.reply(0, part(3))
    assert one.replies == [Unanswerable("not by key")]
    assert not one.waiting


def test_a_shard_that_goes_back_to_its_checkpoint_holds_back_what_is_complete(scene: Any):
    stats = of_no_shard(scene(1))

    def shard(to: int, progress: Progress) -> Stats:
        return msgspec.structs.replace(stats, coverage=Coverage(None, to, None), progress=progress)

    idle = Progress(state="at the end", lag={0: 0})
    assert summed([shard(9, idle), shard(5, Progress(state="reading"))]).coverage.complete_to == 9, "without a partition"
    assert summed([shard(9, idle), shard(5, Progress())]).coverage.complete_to == 5
    parts = [Progress(lag={0: 1}, offsets={0: 4}, transactions={0: 3}), Progress(lag={1: 0}, offsets={1: 7})]
    whole = summed([shard(5, each) for each in parts]).progress
    assert (whole.lag, whole.offsets, whole.transactions) == ({0: 1, 1: 0}, {0: 4, 1: 7}, {0: 3}), "partitions of all shards"


def test_a_shard_that_has_moved_is_absent_until_its_slices_have_what_was_there(scene: Any):
    one = scene(1)
    shard: Any = Shard(of_no_shard(one))
    one.tell(Hold(0, 3, shard, shard))

    def absent() -> bool:
        one.wait(0.06)
        one.ask()
        return bool(one.replies.pop().coverage.absent)

    assert absent()
    shard.source_at, shard.taken_at, shard.read, shard.sliced = 10.0, 9.0, 8, 8
    assert absent(), "the last poll of the source is not taken in"
    shard.taken_at, shard.read, shard.apart = 10.0, 12, 1
    assert absent(), "the slices lack events"
    shard.taken_at, shard.read, shard.sliced, shard.dropped = 11.0, 30, 9, 1
    assert absent()
    shard.sliced = 10
    assert not absent(), "what has come since then does not count, nor what is kept apart or was dropped"
    one.tell(Hold(0, 5, shard, shard))
    one.ask()
    assert not one.replies.pop().coverage.absent, "a newer lease of the same actors"
    shard.source_at = None
    assert absent(), "the source has gone back to a checkpoint"
    shard.source_at, shard.taken_at, shard.read = 20.0, 20.0, 14
    assert absent()
    shard.sliced = 13
    assert not absent()


def test_the_problems_of_each_shard_are_told_and_none_of_them_once_all_go_well(scene: Any):
    stats, replace = of_no_shard(scene(1)), msgspec.structs.replace
    told = {"trouble": Trouble("refused", 1.0, ("no right",))}
    shards = {
        0: replace(stats, durability=Durability(4, 90.0, copy_problem="no copy")),
        1: replace(stats, durability=Durability(7, 80.0, problem="full", failed=2), progress=Progress(**told)),
        2: replace(stats, durability=Durability(5, 95.0)),
    }
    states = tuple(ShardState(shard, "here", epoch=3) for shard in shards)
    whole = stats_of(shards, VIEW, 1, "no topic")
    figures = figures_of(states, whole)
    assert figures_from(figures_bytes(figures)) == figures
    assert [each.problems for each in figures] == [
        ("no copy", "no results can be written: no topic"),
        ("no records can be read: no right", "no checkpoint can be written: full"),
        (),
    ]
    assert whole.durability == Durability(7, 80.0, problem="full", failed=2, copy_problem="no copy"), "the oldest one"
    assert whole.output_problem == "no topic"
    healthy = summed([shards[2], shards[2]])
    assert (healthy.durability, healthy.output_problem) == (Durability(5, 95.0), None)
    older = msgspec.msgpack.encode([[0, 3, "here", 1, 2]])  # of a process that tells no problems
    assert figures_from(older)[0].problems == ()


def test_the_stats_of_the_shard_that_publishes_have_the_problem_of_the_results(scene: Any):
    one, found = scene(2), list[Stats]()
    shard: Any = Shard(of_no_shard(one))
    one.tell(Hold(0, 1, shard, shard), Hold(1, 1, shard, shard))
    for problem in ("no broker", None):
        one.tell(Delayed(problem), GetStats(found.append))
    assert [each.output_problem for each in found] == ["no broker", None]
    assert [each.output_problem for each in (found[0].by_shard or {}).values()] == ["no broker", None]


def of_no_shard(one: Scene) -> Stats:
    """Return the stats of a process without shards."""
    found: list[Stats] = []
    one.tell(GetStats(found.append))
    return found[0]

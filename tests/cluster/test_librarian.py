"""The librarian, a gatherer and the shelves of one process: real actors, whose messages are delivered one by one."""

import math
import random
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from actors.cluster.gatherer import Gatherer
from actors.cluster.messages import Consult, Hold, Known, Locate, Place, Release
from actors.cluster.shelves.librarian import Librarian
from actors.cluster.shelves.manager import Manager as MatcherManager
from actors.cluster.shelves.messages import Put, Reached
from actors.cluster.shelves.shelf import Shelf
from actors.collecting.brake import Brake
from actors.collecting.collector import Collector
from actors.messages import Reconfigure
from actors.protocol import Busy, CollectorId
from actors.replies import Answer, Coverage, GetStats, Memory, Progress, Query, Stats
from actors.runtime.actor import Actor, System, start
from actors.timeline.retention import Limits
from actors.timeline.span import EVER, Span
from actors.views.sets.arguments import Page
from actors.views.sets.parcel import matcher, shelf_of
from actors.views.sets.view import SetsView
from actors.views.view import Meta
from tests.simulation.clock import SimulatedClock
from tests.simulation.dispatcher import SimulatedDispatcher
from tests.simulation.faults import Faults
from tests.simulation.trace import Trace
from tests.support.running import FixedMeter
from tests.views.test_set_shelves import SHARDS, Pair, fed

LITTLE = Coverage(None, 500, 400)
VIEW = SetsView(steps="abc", max_sets=4)


class Nobody:
    """Other processes, none of which answers before the test says so."""

    def __init__(self) -> None:
        self.asked: list[Callable[[Any], None]] = []

    def ask(self, place: Place, bodies: Sequence[bytes], timeout_s: float, done: Callable[[Any], None]) -> None:
        self.asked.append(done)

    def probe(self, place: Place, timeout_s: float, done: Callable[[bool], None]) -> None:
        done(False)


class Here:
    """A source that has read all."""

    news_at = -math.inf

    def caught_up_at(self) -> float:
        return 0.0

    def whole_at(self, taken_at: float) -> float:
        return taken_at


class Matcher(Actor[Any]):
    """The manager of the matcher, as far as questions go."""

    def __init__(self, system: System, /, *, pair: Pair) -> None:
        super().__init__(system, stream="sets.0")
        self.pair = pair

    def receive(self, message: Any) -> None:
        if isinstance(message, GetStats):
            message.reply_to(stats_of(self.pair))
        else:
            assert isinstance(message, Consult)
            message.known(Known(Progress(state="at the end", taken_at=1.0), 0, ()))
            partial = self.pair.part(message.span, message.arguments)
            message.reply_to(Answer(self.pair.view, partial, message.span, message.arguments, LITTLE, ((1, 0),)))


def stats_of(pair: Pair) -> Stats:
    return Stats(
        view=pair.view,
        gone=pair.view.nothing(),
        aged=tuple(each.meta() for each in pair.aged),
        active=pair.matched.meta(),
        memory=Memory(100, 20, 10, 0, 0),
        coverage=LITTLE,
        progress=Progress(state="at the end", taken_at=1.0),
        dropped={},
        dropped_generations={},
        missed={},
        missing=(),
        last_batch_at=None,
        durability=None,
        starting=False,
    )


def meter(budget: int) -> FixedMeter:
    return FixedMeter(Limits(budget), lambda: 0)


class Scene:
    """The actors of a process that has all shards, and the generations that a matcher has given away."""

    def __init__(self, seed: int, *, budget: int = 1 << 30) -> None:
        self.pair = fed(seed)
        for each in self.pair.aged:
            if each.name not in self.pair.topic.places:
                self.pair.topic.publish(each)
            if self.pair.chance.random() < 0.8:
                each.coarsen()
        self.clock, chance, trace = SimulatedClock(), random.Random(seed), Trace()
        self.dispatcher = SimulatedDispatcher(self.clock, chance, Faults(chance, {}, trace), trace)
        self.system = System(self.dispatcher)  # type: ignore[arg-type]  # it keeps the promises of a dispatcher
        self.peers, self.complaints, self.replies = Nobody(), list[str](), list[Any]()
        common: dict[str, Any] = {"stream": "sets", "name": "sets", "shards": SHARDS}
        self.gatherer = start(
            Gatherer,
            self.system,
            **common,
            view=self.pair.view,
            peers=self.peers,
            doubtful=lambda: False,
            budget_bytes=1 << 20,
        )
        self.librarian = start(Librarian, self.system, **common, gatherer=self.gatherer)
        self.shelves = {
            shard: start(
                Shelf,
                self.system,
                stream=f"sets.{shard}",
                name="sets",
                view=self.pair.view,
                shard=shard,
                shards=SHARDS,
                meter=meter(budget),
                baseline_bytes=0,
                complain=self.complaints.append,
            )
            for shard in range(1, SHARDS)
        }
        matching: Any = start(Matcher, self.system, pair=self.pair)
        for shard, manager in ((0, matching), *self.shelves.items()):
            self.gatherer.tell(Hold(shard, 7, manager, Here()))  # type: ignore[arg-type]  # it is asked in the same way
        self.settle()

    def settle(self) -> None:
        while self.dispatcher.ready():
            self.dispatcher.step()
        self.clock.advance(0.06)  # the gatherer looks again whether a shard has caught up
        while self.dispatcher.ready():
            self.dispatcher.step()

    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.settle()

    def put(self, *, but: str = "") -> None:
        """Have the shelves read all that the matcher has published, but for one generation."""
        for each in self.pair.aged:
            at = self.pair.topic.places[each.name]
            data = self.pair.topic.read(each.name)
            if each.name != but:
                self.shelves[shelf_of(each.number, SHARDS)].tell(
                    Put(each.name, each.number, at, 100, self.pair.view.thaw(data))
                )
        self.settle()

    def reach(self, until: int, since: int = 0) -> None:
        for shelf in self.shelves.values():
            shelf.tell(Reached(since, until))
        self.settle()

    def ask(self, page: Page = Page(), deadline_s: float = 10.0) -> None:  # noqa: B008  # it is frozen
        self.librarian.tell(Query(EVER, page, deadline_s, self.replies.append))
        self.settle()

    @property
    def away(self) -> list[Any]:
        return [each for each in self.pair.aged if each.state()["slip"] is not None]

    def whole(self, answer: Answer, page: Page = Page()) -> bool:  # noqa: B008
        told = self.pair.shown(answer.partial, EVER, page)
        return told == self.pair.shown(self.pair.whole(EVER, page), EVER, page)


def scene(least: int = 2, **more: Any) -> Scene:
    """Return the first scene in which the matcher has given away at least some generations."""
    return next(found for found in (Scene(seed, **more) for seed in range(100)) if len(found.away) >= least)


def spans(found: Sequence[Any]) -> set[Span | None]:
    return {each.meta().span for each in found}


def test_answers_are_whole_and_keep_the_matcher_s_coverage_and_origin():
    for seed in range(4):
        at = Scene(seed)
        at.put()
        at.reach(10_000)
        for page in (Page(), Page(4)):
            at.ask(page)
            answer = at.replies[-1]
            assert at.whole(answer, page)
            assert answer.coverage == LITTLE
            assert answer.origin is not None


def test_a_generation_that_has_not_come_yet_is_waited_for():
    at = scene()
    last = at.away[-1]
    at.put(but=last.name)
    at.reach(at.pair.topic.places[last.name])
    at.ask()
    assert not at.replies
    at.put()
    at.reach(10_000)
    assert at.whole(at.replies[0])
    assert not at.replies[0].coverage.missing


def test_a_generation_that_is_not_there_is_missing_at_once_and_one_that_is_late_at_the_deadline():
    at = scene()
    last = at.away[-1]
    at.put(but=last.name)
    at.reach(10_000)
    at.ask()
    assert set(at.replies[0].coverage.missing) == spans([last])
    assert not at.replies[0].coverage.absent
    assert at.replies[0].origin is None
    slow = scene()
    slow.put(but=slow.away[-1].name)
    slow.ask(deadline_s=3.0)
    assert not slow.replies
    slow.wait(2.5)
    assert set(slow.replies[0].coverage.missing) == spans([slow.away[-1]])


def test_an_absent_shelf_is_named_with_all_that_it_holds_on_any_page():
    at = scene(4)
    at.put()
    at.reach(10_000)
    at.gatherer.tell(Release(2))
    at.settle()
    lost = [each for each in at.away if shelf_of(each.number, SHARDS) == 2]
    assert lost
    for page in (Page(), Page(1)):
        at.ask(page)
        assert set(at.replies[-1].coverage.missing) == spans(lost), page
        assert at.replies[-1].coverage.absent == ("sets 2",)
    at.gatherer.tell(Locate(2, Place("h", 1, 9)))  # another process has it, and dies while it is asked
    at.ask()
    assert len(at.replies) == 2
    at.peers.asked[-1](OSError("gone"))
    at.settle()
    assert set(at.replies[-1].coverage.missing) == spans(lost)
    assert at.replies[-1].coverage.absent == ("sets 2",)


def test_pages_do_not_end_early_because_sets_are_missing_that_a_shelf_would_have():
    for seed in range(6):
        at = Scene(seed)
        at.put()
        at.reach(10_000)
        at.gatherer.tell(Release(2))
        lost = [each for each in at.away if shelf_of(each.number, SHARDS) == 2]
        there: list[Any] = [*at.pair.alone, at.pair.live]
        for number, each in enumerate(at.pair.aged):
            if each in lost:
                there[number] = None
        partials = [each.read(EVER, Page()) for each in there if each is not None]
        blocks = at.pair.view.blocks(at.pair.view.merge(partials), EVER, Page())
        wanted = [tuple(map(int, row)) for block in blocks for row in zip(*block.columns, strict=True)]
        told, page = [], Page(2)
        while True:
            at.ask(page)
            found = list(at.pair.view.blocks(at.replies[-1].partial, EVER, page))
            told += [tuple(map(int, row)) for block in found for row in zip(*block.columns, strict=True)]
            if not found or found[-1].following is None:
                break
            page = Page(2, found[-1].following)
        assert told == wanted


def test_without_the_matcher_all_time_is_missing():
    at = scene()
    at.gatherer.tell(Release(0))
    at.ask()
    assert at.replies[0].coverage.absent == ("sets 0",)
    assert at.replies[0].coverage.missing == (EVER,)


def test_statistics_are_those_of_the_matcher_with_the_memory_of_all_shards_here():
    at = scene()
    at.put()
    at.librarian.tell(GetStats(at.replies.append))
    at.settle()
    stats = at.replies[0]
    assert isinstance(stats, Stats)
    assert [each.events for each in stats.aged] == [each.meta().events for each in at.pair.aged]
    assert stats.by_shard is not None
    assert list(stats.by_shard) == [0, 1, 2]
    assert stats.memory.accounted_bytes == sum(each.memory.accounted_bytes for each in stats.by_shard.values())
    assert stats.memory.accounted_bytes > 20
    at.gatherer.tell(Release(0))
    at.librarian.tell(GetStats(at.replies.append))
    at.settle()
    assert at.replies[1].active.summary.sets == 0


@pytest.mark.parametrize("later", [False, True])
def test_a_shelf_whose_memory_is_short_forgets_its_oldest_generations_and_says_so(later: bool):
    room = 2 * (100 + 4_096)
    at = scene(6, budget=1 << 30 if later else room)
    at.put()
    at.reach(10_000)
    if later:
        for shelf in at.shelves.values():
            shelf.tell(Reconfigure(meter(room), 0, at.pair.view, at.replies.append))
        at.settle()
        assert [each.dropped for each in at.replies] != [0, 0]
        at.replies.clear()
    assert any("memory" in each for each in at.complaints)
    at.ask()
    kept = {
        each.name
        for shard in at.shelves
        for each in [each for each in at.pair.aged if shelf_of(each.number, SHARDS) == shard][-2:]
    }
    assert set(at.replies[0].coverage.missing) == spans([each for each in at.away if each.name not in kept])


def test_a_shelf_forgets_what_the_topic_has_no_longer_and_takes_the_newest_of_one_number():
    at = scene()
    at.put()
    gone = min(at.away, key=lambda each: at.pair.topic.places[each.name])
    at.reach(10_000, since=at.pair.topic.places[gone.name] + 1)
    at.ask()
    assert spans([gone]) <= set(at.replies[0].coverage.missing)
    again = scene()
    again.put()
    last = again.away[-1]
    shelf = again.shelves[shelf_of(last.number, SHARDS)]
    shelf.tell(Put("another", last.number, 999, 100, again.pair.view.thaw(again.pair.topic.read(last.name))))
    again.reach(10_000)
    again.ask()
    assert set(again.replies[0].coverage.missing) == spans([last])


def test_a_shelf_that_stops_replies_to_those_that_wait():
    at = scene()
    at.ask()
    assert not at.replies
    for shelf in at.shelves.values():
        shelf.stop(block=False)
    at.settle()
    assert isinstance(at.replies[0], Answer | Busy)
    assert not isinstance(at.replies[0], Answer) or at.replies[0].coverage.missing


class Shelved:
    """What is in the topic, by files."""

    def __init__(self) -> None:
        self.there: set[str] = set()
        self.coming: set[str] = set()
        self.past: set[str] = set()

    def place_of(self, name: str) -> int | None:
        return None

    def has(self, file: str) -> bool:
        return file in self.there

    def comes(self, file: str) -> bool:
        return file in self.coming

    def gone(self, file: str) -> bool:
        return file in self.past


class Kept:
    """The address of a collector, which keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def tell(self, message: Any) -> None:
        self.told.append(message)


def test_a_matcher_forgets_what_the_topic_has_waits_for_what_comes_and_drops_only_what_is_hindered():
    shelved, collectors = Shelved(), [Kept() for _ in range(4)]
    clock, chance, trace = SimulatedClock(), random.Random(1), Trace()
    system = System(SimulatedDispatcher(clock, chance, Faults(chance, {}, trace), trace))  # type: ignore[arg-type]  # as above
    address: Any = start(
        MatcherManager,
        system,
        stream="sets",
        view=matcher(VIEW, shelved),
        meter=meter(100_000),
        brake=Brake(1),
        baseline_bytes=0,
        publisher=None,
        keeper=Kept(),
        lasting=True,
    )
    manager = next(each for each in system.actors if each.address == address)
    assert isinstance(manager, MatcherManager)
    nothing = VIEW.nothing()
    for number, each in enumerate(collectors):
        held = Collector(CollectorId(number), each, Meta(Span(number, number + 1), 3, 40_000, 0, None, nothing), f"f{number}")  # type: ignore[arg-type]
        held.coming = False
        manager._shelf.put(held)

    def told() -> list[list[str]]:
        found = [[type(each).__name__ for each in kept.told] for kept in collectors]
        for kept in collectors:
            kept.told.clear()
        return found

    shelved.coming = {"f0", "f1", "f2", "f3"}
    manager._prune()
    assert told() == [[], [], [], []], "all of them will be there soon"
    shelved.there, shelved.coming = {"f0", "f1"}, {"f2", "f3"}
    manager._prune()
    assert told() == [[], [], [], []], "what comes counts as gone"
    shelved.there, shelved.coming = {"f0", "f1", "f2", "f3"}, set()
    manager._prune()
    assert told() == [["Coarsen"], ["Coarsen"], [], []], "no more than memory needs"
    assert manager._shelf.nbytes <= 100_000
    shelved.past = {"f0"}
    for aged, kept in zip(manager._shelf.aged, collectors, strict=True):
        aged.name = f"f{collectors.index(kept)}"
    manager._prune()
    assert told() == [["Discard"], [], [], []], "the topic has it no longer"
    assert manager._ledger.generations == {"retention": 1}
    assert manager._coverage().complete_from == 1
    shelved.there = set()
    manager._shelf.put(
        Collector(CollectorId(9), collectors[0], Meta(Span(9, 10), 3, 400_000, 0, None, nothing), "f9", coming=False)
    )  # type: ignore[arg-type]
    manager._prune()
    assert told()[1] == ["Discard"], "nothing of the new ones can be forgotten, so the oldest one is dropped"
    assert manager._ledger.generations["memory"] >= 1

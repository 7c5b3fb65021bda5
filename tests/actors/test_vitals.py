"""The vitals that the engine reports: depths of mailboxes, dropped generations, and counts that only grow."""

import random
import threading
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from actors.collecting.ledger import Ledger
from actors.collecting.tally import Tally
from actors.messages import Ingested, Poll
from actors.replies import GetHealth, Health
from actors.runtime.actor import Actor, System
from actors.runtime.dispatcher import Dispatcher
from actors.runtime.guardian import Guardian
from actors.runtime.vitals import vitals_of
from actors.timeline.span import Span
from actors.views.kinds import VIEWS
from actors.views.view import Meta
from tests.support.listed import over
from tests.support.running import STEPS, records, regular_events
from tests.support.waiting import until

EVENTS = regular_events(3_000)


class Sleeper(Actor):
    """Handles its first poll until `woken` is set."""

    def __init__(self, system: System, woken: threading.Event, own: str) -> None:
        super().__init__(system, stream="s")
        self._woken = woken
        self._own = own

    @property
    def home(self) -> str:
        return self._own

    def receive(self, message: Any) -> None:
        if isinstance(message, Poll):
            self._woken.wait(30)


def test_the_health_has_waiting_messages_by_lane_and_the_seconds_of_each_busy_thread():
    system, woken = System(Dispatcher()), threading.Event()
    guardian = Guardian.start(system, log=lambda *_, **__: None)
    sleeper = Sleeper.start(system, woken, "bed")
    try:

        def health() -> Health:
            replies: list[Health] = []
            guardian.tell(GetHealth(replies.append))
            return until(lambda: replies and replies[0])

        sleeper.tell(Poll())
        until(lambda: health().threads.get("bed", 0.0) > 0.05)
        for message in (Poll(), Poll(), Ingested(1, 0)):
            sleeper.tell(message)
        (own,) = [vitals for vitals in health().actors if vitals.actor == "Sleeper"]
        assert (own.stream, own.state, own.count, own.control, own.data) == ("s", "", 1, 1, 2)
        assert (own.control_capacity, own.data_capacity) == (4096, 256)
        woken.set()
        until(lambda: not [each for each in health().actors if each.actor == "Sleeper" and each.control + each.data])
        until(lambda: health().threads["bed"] == 0.0)
        assert 0.0 < health().worked["bed"] < 5.0, "a thread that waits takes no CPU"
        sleeper.stop()
        assert not [each for each in health().actors if each.actor == "Sleeper"], "a stopped actor is not listed"
    finally:
        woken.set()
        guardian.stop()
        system.dispatcher.close()


def test_the_health_lists_every_actor_and_counts_aged_collectors_in_one_entry(tmp_path: Path):
    with over(records(EVENTS), max_sets=100, max_aged=4, folder=tmp_path) as running:
        stats = running.settled(len(EVENTS))
        entries = {(each.actor, each.state): each for each in running.health().actors}
        assert set(entries) == {
            ("FrontEnd", ""),
            ("Guardian", ""),
            ("Keeper", ""),
            ("Manager", ""),
            ("SetCollector", "active"),
            ("SetCollector", "aged"),
        }
        until(lambda: {each.state: each.count for each in running.health().actors if each.state} == {"active": 1, "aged": 4})
        assert entries["Manager", ""].counted["retired"] > 0
        assert stats.progress.credits > 0
        assert stats.since_start["records"] == stats.progress.records == len(EVENTS)
        assert stats.since_start["generations max_aged"] == stats.dropped_generations["max_aged"] == len(stats.pruned)
        assert stats.since_start["dropped max_aged"] == sum(each.events for each in stats.pruned)
        assert len(stats.numbers) == len(stats.aged) + 1
        assert list(stats.numbers) == sorted(stats.numbers)
        assert [each.number for each in stats.pruned] == sorted((each.number for each in stats.pruned), reverse=True)
        assert stats.pruned[0].number < stats.numbers[0]
        until(lambda: (found := running.stats().durability) is not None and found.seconds_in_all > 0)
    with over(records(EVENTS), max_sets=100, max_aged=4, folder=tmp_path) as running:
        again = running.settled(len(EVENTS))
        assert again.pruned == stats.pruned, "the checkpoint has the dropped generations"
        assert again.progress.records == len(EVENTS)
        assert again.since_start["records"] == 0, "this process has read nothing yet"


def test_queries_are_counted():
    with over(records(EVENTS[:30])) as running:
        running.settled(30)
        for _ in range(3):
            running.answer()
        (manager,) = [each for each in running.health().actors if each.actor == "Manager"]
        assert manager.counted == {"retired": 0, "answered": 3, "late": 0}


def test_the_newest_64_dropped_generations_are_listed_and_survive_a_checkpoint():
    view = VIEWS["sets"](steps=STEPS, max_sets=10)
    ledger, chance = Ledger(view), random.Random(6)
    for number in range(100):
        span = Span(number * 10, number * 10 + 10) if chance.random() < 0.9 else None
        ledger.drop(number, Meta(span, number, 3 * number, 0, None, view.nothing()), "memory", 1_000.0 + number)
    ledger.lose(200, None, 7, 2_000.0)
    assert [each.number for each in ledger.pruned] == [200, *range(99, 36, -1)]
    assert ledger.pruned[0].reason == "unreadable"
    again = Ledger(view)
    again.restore(ledger.state())
    assert again.pruned == ledger.pruned
    assert again.counted() == ledger.counted()
    older = {key: value for key, value in ledger.state().items() if key != "pruned"}
    again.restore(older)
    assert again.pruned == ()


@settings(max_examples=40)
@given(st.lists(st.lists(st.integers(0, 50), min_size=1, max_size=5), min_size=1, max_size=5))
def test_a_tally_never_falls_and_is_the_sum_of_all_growth(rounds: list[list[int]]):
    tally, done, seen = Tally(), 0, 0
    for begun, *grown in rounds:
        count = begun
        tally.begin({"records": count})
        for more in grown:
            count += more
            done += more
            tally.note({"records": count})
            assert tally.total["records"] >= seen
            seen = tally.total["records"]
    assert tally.total["records"] == done


def test_the_vitals_of_no_actors_are_empty():
    assert vitals_of([]) == ()

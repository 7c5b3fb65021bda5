"""A stream of real actors on the embedded broker: nothing is lost, whatever retires, fails or has to go."""

import random
import threading
from typing import Any

import pytest
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from actors.messages import Drain
from actors.reading.pace import Pace
from actors.replies import Busy, GetStats, Query
from actors.sources.kafka import KafkaSource
from actors.timeline.span import EVER, Span
from actors.views.kinds import VIEWS
from actors.views.sets.page import Page
from scripts.lab.truth import greedy
from tests.conftest import Send
from tests.support.running import STEPS, Stream, placed, records, stream
from tests.support.waiting import until


def some_events(count: int, seed: int, *, displacement: int = 0) -> list[tuple[int, int]]:
    chance = random.Random(seed)
    events = [(1_000_000 + 10 * number, chance.randrange(3)) for number in range(count)]
    events.sort(key=lambda event: event[0] + chance.uniform(0, 10 * displacement))
    return events


def bound(running: Stream) -> int:
    stats = running.stats()
    total = stats.gone
    for meta in (*stats.aged, stats.active):
        total = total.then(meta.summary)
    return total.proof.bound


@pytest.mark.parametrize("max_sets", [7, 100, 1_000_000])
def test_every_event_is_in_one_place_and_the_sets_are_the_oracles(embedded: str, mock_topic: str, send: Send, max_sets: int):
    events = some_events(6_000, seed=max_sets)
    send(embedded, mock_topic, records(events), [number // 50 % 3 for number in range(len(events))])
    with stream(embedded, mock_topic, max_sets=max_sets) as running:
        stats = running.settled(len(events))
        assert placed(stats) == stats.progress.events == len(events)
        assert running.sets() == greedy(events, 3)
        assert bound(running) == len(greedy(events, 3))
        assert all(meta.summary.sets == max_sets for meta in stats.aged)


class Slow(KafkaSource):
    """Reads a few records at a time, so that many polls are under way when something happens."""

    def poll(self, count: int, timeout_s: float) -> Any:
        return super().poll(min(count, 50), timeout_s)


def test_late_events_are_matched_again_in_the_open_tail(embedded: str, mock_topic: str, send: Send):
    events = some_events(4_000, seed=3, displacement=800)
    with stream(embedded, mock_topic) as running:
        for done in (2_000, 4_000):
            send(embedded, mock_topic, records(events[done - 2_000 : done]), [0] * 2_000)
            running.settled(done)
        assert running.stats().progress.late > 100
        assert running.sets() == greedy(events, 3)
        assert bound(running) >= len(greedy(events, 3))


def test_records_that_are_no_events_are_counted_by_reason_and_kept_to_look_at(embedded: str, mock_topic: str, send: Send):
    broken = [b"\xff\xfe", b"R1", b"V_1", b"R_x", b"G_-5", b"B_99999999999999999999", b"", b"R_" + b"1" * 1_000_000]
    send(embedded, mock_topic, [*broken, *records([(1, 0), (2, 1), (3, 2)])], [0] * 11)
    with stream(embedded, mock_topic) as running:
        progress = running.settled(11).progress
        assert progress.rejects == dict.fromkeys(
            ("not_utf8", "no_underscore", "unknown_step", "no_number", "negative", "too_large", "empty", "too_long"), 1
        )
        assert [kept.offset for kept in progress.refused] == list(range(7, -1, -1))
        assert max(len(kept.head) for kept in progress.refused) <= 256
        assert running.sets() == [(1, 2, 3)]


def test_a_time_from_the_far_future_is_kept_and_moves_nothing(embedded: str, mock_topic: str, send: Send):
    events = [(10 * number, number % 3) for number in range(3_000)]
    far = (2**63 - 1, 0)
    send(embedded, mock_topic, records([*events[:1_500], far, *events[1_500:]]), [0] * 3_001)
    with stream(embedded, mock_topic) as running:
        stats = running.settled(3_001)
        assert stats.progress.late == 0
        assert stats.progress.watermark is not None
        assert stats.progress.watermark <= 30_000
        assert len(running.sets()) == 1_000
        assert stats.active.events == 3_001


def test_aged_collectors_beyond_the_limit_go_oldest_first_and_nobody_else(embedded: str, mock_topic: str, send: Send):
    events = [(10 * number, number % 3) for number in range(3_000)]
    send(embedded, mock_topic, records(events), [0] * 3_000)
    with stream(embedded, mock_topic, max_sets=100, max_aged=3) as running:
        stats = running.settled(3_000)
        assert stats.dropped_generations == {"max_aged": 7}
        assert stats.dropped == {"max_aged": 7 * 300}
        assert running.sets() == greedy(events, 3)[700:]
        assert running.answer().coverage.complete_from == 7 * 100 * 30 - 29
        assert bound(running) == 1_000


def test_a_range_that_touches_an_aged_and_the_active_collector_is_answered_whole(embedded: str, mock_topic: str, send: Send):
    events = [(10 * number, number % 3) for number in range(450)]
    send(embedded, mock_topic, records(events), [0] * 450)
    with stream(embedded, mock_topic, max_sets=100) as running:
        stats = running.settled(450)
        assert [meta.span for meta in stats.aged] == [Span(0, 99 * 30 + 1)]
        assert running.sets(Span(2_400, 3_600)) == greedy(events, 3)[80:120]


def test_only_red_for_ever_stays_inside_the_budget(embedded: str, mock_topic: str, send: Send):
    count, budget = 60_000, 400_000
    send(embedded, mock_topic, records([(7 * number, 0) for number in range(count)]), [0] * count)
    with stream(embedded, mock_topic, budget_bytes=budget) as running:
        stats = running.settled(count)
        assert not running.sets()
        assert stats.dropped["residue"] > 0
        assert stats.active.events + stats.dropped["residue"] == count
        assert until(lambda: running.stats().memory.accounted_bytes <= budget)
        # Every red that may be missing is before the time from which the answers are complete.
        assert running.stats().coverage.complete_from == 7 * (stats.dropped["residue"] - 1) + 1


def test_memory_goes_by_accounted_bytes_oldest_generation_first(embedded: str, mock_topic: str, send: Send):
    chance = random.Random(4)
    times = sorted(chance.randrange(10**9) for _ in range(60_000))
    events = [(time, number % 3) for number, time in enumerate(times)]
    send(embedded, mock_topic, records(events), [0] * 60_000)
    pace = Pace(poll_records=500, credits=1)  # so that what is in flight is little beside the budget
    with stream(embedded, mock_topic, max_sets=500, budget_bytes=110_000, pace=pace) as running:
        stats = running.settled(60_000)
        gone = stats.dropped_generations["memory"]
        assert 0 < gone < 40
        assert stats.dropped == {"memory": gone * 1_500}
        assert running.sets() == greedy(events, 3)[500 * gone :]


def test_the_emergency_brake_drops_a_generation_and_is_counted(embedded: str, mock_topic: str, send: Send):
    events = [(10 * number, number % 3) for number in range(900)]
    send(embedded, mock_topic, records(events), [0] * 900)
    with stream(embedded, mock_topic, max_sets=100, budget_bytes=1 << 30, rss=lambda: 2 << 30) as running:
        running.settled(900)
        stats = until(lambda: stats if (stats := running.stats()).memory.emergencies else None)
        assert stats.dropped_generations["emergency"] == stats.memory.emergencies


class Trap:
    """A view of sets whose decoder or slices fail a number of times."""

    def __init__(self, *, decodes: int = 0, adds: int = 0, reads: int = 0) -> None:
        self._inner = VIEWS["sets"](steps=STEPS, max_sets=100)
        self.left = {"decode": decodes, "add": adds, "read": reads}

    def spring(self, what: str) -> None:
        if self.left[what]:
            self.left[what] -= 1
            raise ZeroDivisionError(what)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def decode(self, values: Any) -> Any:
        self.spring("decode")
        return self._inner.decode(values)

    def open(self, carry: Any) -> Any:
        live, trap = self._inner.open(carry), self
        add, read = live.add, live.read

        def adding(*arguments: Any) -> None:
            trap.spring("add")
            add(*arguments)

        def reading(*arguments: Any) -> Any:
            trap.spring("read")
            return read(*arguments)

        live.add, live.read = adding, reading
        return live


def test_a_front_end_that_fails_reads_again_what_it_had_not_taken(embedded: str, mock_topic: str, send: Send):
    events = some_events(3_000, seed=5)
    send(embedded, mock_topic, records(events), [0] * 3_000)
    with stream(embedded, mock_topic, view=Trap(decodes=2)) as running:
        stats = running.settled(3_000)
        assert stats.progress.records == 3_000
        assert running.sets() == greedy(events, 3)
        health = running.health()
        assert health.restarts == {"events": 1}
        assert [letter.reason for letter in health.newest] == ["ZeroDivisionError: decode"]


def test_a_batch_that_fails_is_counted_and_the_stream_goes_on(embedded: str, mock_topic: str, send: Send):
    events = [(10 * number, number % 3) for number in range(3_000)]
    send(embedded, mock_topic, records(events), [0] * 3_000)
    with stream(embedded, mock_topic, view=Trap(adds=1)) as running:
        stats = running.settled(3_000)
        assert stats.dropped["failed"] > 0
        assert placed(stats) == 3_000
        assert running.health().restarts == {"events": 1}
        (missing,) = running.answer().coverage.missing
        lost = [each for each in greedy(events, 3) if each not in running.sets()]
        assert lost
        assert all(missing.overlaps(Span(each[0], each[2] + 1)) for each in lost)


def test_a_stream_that_fails_on_and_on_is_given_up_and_stays_readable(embedded: str, mock_topic: str, send: Send):
    events = [(10 * number, number % 3) for number in range(300)]
    send(embedded, mock_topic, records(events), [0] * 300)
    trap = Trap()
    with stream(embedded, mock_topic, view=trap) as running:
        running.settled(300)
        trap.left["decode"] = 10**9
        send(embedded, mock_topic, records([(9_999, 0)] * 20), [0] * 20)
        health = until(lambda: health if (health := running.health()).degraded else None)
        assert "FrontEnd failed 10 times" in health.degraded["events"]
        assert running.sets() == greedy(events, 3)
        assert running.stats().progress.state == "failed"


def test_a_read_that_fails_harms_neither_the_stream_nor_the_next_read(embedded: str, mock_topic: str, send: Send):
    send(embedded, mock_topic, records([(1, 0), (2, 1), (3, 2)]), [0] * 3)
    trap = Trap(reads=1)
    with stream(embedded, mock_topic, view=trap) as running:
        running.settled(3)
        part = running.ask(running.running.manager, lambda reply_to: Query(EVER, Page(), 1e9, reply_to))
        assert part.coverage.missing == (Span(1, 2),)
        assert running.sets() == [(1, 2, 3)]
        assert not running.health().restarts


def test_more_requests_than_the_mailbox_holds_are_told_so_and_none_is_lost(embedded: str, mock_topic: str, send: Send):
    send(embedded, mock_topic, records([(1, 0)]), [0])
    with stream(embedded, mock_topic) as running:
        running.settled(1)
        gate, replies, lock = threading.Event(), [], threading.Lock()

        def slow(_: Any) -> None:
            gate.wait(20)

        def note(reply: Any) -> None:
            with lock:
                replies.append(reply)

        running.running.manager.tell(GetStats(slow))
        for _ in range(400):
            running.running.manager.tell(GetStats(note))
        gate.set()
        until(lambda: len(replies) == 400)
        refused = [reply for reply in replies if isinstance(reply, Busy)]
        assert len(refused) >= 400 - 256 - 1
        assert running.health().dead_letters == len(refused)


def test_an_unknown_topic_is_waited_for(broker: str, mock_topic: str, send: Send):
    with stream(broker, mock_topic) as running:
        until(lambda: running.stats().progress.state == "waiting for the topic")
        admin = AdminClient({"bootstrap.servers": broker})
        admin.create_topics([NewTopic(mock_topic, 3, 1)])[mock_topic].result(timeout=20)
        send(broker, mock_topic, records([(1, 0), (2, 1), (3, 2)]), [0, 1, 2])
        running.settled(3)
        assert running.sets() == [(1, 2, 3)]


class Biased(KafkaSource):
    """Delivers nothing of partition 0 as long as it may read another one, as librdkafka under load may."""

    def extend(self) -> bool:
        found = super().extend()
        self.only(None)
        return found

    def only(self, partition: int | None) -> None:
        super().only(partition)
        if partition is None:
            consumer = self._opened()
            consumer.pause([place for place in consumer.assignment() if place.partition == 0])
        elif partition == 0:
            consumer = self._opened()
            consumer.resume(consumer.assignment())


def test_a_partition_that_falls_behind_is_read_alone_until_it_has_caught_up(embedded: str, mock_topic: str, send: Send):
    events = [(10 * number, number % 3) for number in range(9_000)]
    send(embedded, mock_topic, records(events), [number // 10 % 2 for number in range(9_000)])
    pace = Pace(poll_records=100, buffer_events=2_000)
    with stream(embedded, mock_topic, source=Biased, pace=pace) as running:
        until(lambda: running.stats().progress.events >= 8_000)
        stats = running.stats()
        assert stats.progress.late == 0
        assert len(running.sets()) >= 2_400


def test_a_drain_in_the_middle_leaves_nothing_on_its_way(embedded: str, mock_topic: str, send: Send):
    events = some_events(8_000, seed=9)
    send(embedded, mock_topic, records(events), [0] * 8_000)
    with stream(embedded, mock_topic, source=Slow, max_sets=50) as running:
        until(lambda: running.stats().progress.records > 500)
        done: list[Any] = []
        running.running.front_end.tell(Drain(done.append))
        progress = until(lambda: done)[0].progress
        stats = until(lambda: stats if placed(stats := running.stats()) == progress.events else None)
        assert (progress.buffered, progress.in_flight) == (0, 0)
        assert running.sets() == greedy(events[: stats.progress.events], 3)

"""A stream of real actors: no event is lost when a slice retires, an actor fails, or memory is short."""

import random
import threading
from collections.abc import Callable
from typing import Any

import pytest
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from actors.messages import Drain
from actors.reading.pace import Pace
from actors.replies import Busy, GetStats, Query
from actors.sources.kafka.source import KafkaSource
from actors.sources.polled import Polled
from actors.timeline.span import EVER, Span
from actors.views.kinds import VIEWS
from actors.views.sets.arguments import Page
from scripts.lab.truth import greedy
from tests.conftest import Send
from tests.support.failing import FailingView, Failures
from tests.support.listed import ListedSource, over
from tests.support.running import STEPS, Event, Stream, placed, random_events, records, regular_events, stream
from tests.support.waiting import PATIENCE_S, until


def bound(running: Stream) -> int:
    """Return the largest number of sets that the events of all generations allow."""
    stats = running.stats()
    total = stats.gone
    for meta in (*stats.aged, stats.active):
        total = total.then(meta.summary)
    return total.proof.bound


def failing(**failures: int) -> tuple[Any, Failures]:
    """Return a view of sets whose methods fail as often as the counts say, and the counts."""
    left = Failures(failures)
    return FailingView(VIEWS["sets"](steps=STEPS, max_sets=100), left), left


@pytest.mark.parametrize("max_sets", [7, 100, 1_000_000])
def test_every_event_is_in_one_slice_and_the_sets_equal_the_oracles(embedded: str, mock_topic: str, send: Send, max_sets: int):
    events = random_events(6_000, seed=max_sets)
    send(embedded, mock_topic, records(events), [number // 50 % 3 for number in range(len(events))])
    with stream(embedded, mock_topic, max_sets=max_sets) as running:
        stats = running.settled(len(events))
        assert placed(stats) == stats.progress.events == len(events)
        assert running.sets() == greedy(events, 3)
        assert bound(running) == len(greedy(events, 3))
        assert all(meta.summary.sets == max_sets for meta in stats.aged)


def test_late_events_are_matched_again_in_the_live_slice():
    events, values = random_events(4_000, seed=3, displacement=800), list[bytes]()
    with over(values) as running:
        for part in (events[:2_000], events[2_000:]):
            values += records(part)
            running.settled(len(values))
        assert running.stats().progress.late > 100
        assert running.sets() == greedy(events, 3)
        assert bound(running) >= len(greedy(events, 3))


def test_refused_records_are_counted_by_reason_and_shown():
    broken = [b"\xff\xfe", b"R1", b"V_1", b"R_x", b"G_-5", b"B_99999999999999999999", b"", b"R_" + b"1" * 1_000_000]
    with over([*broken, *records([(1, 0), (2, 1), (3, 2)])]) as running:
        progress = running.settled(11).progress
        assert progress.rejects == dict.fromkeys(
            ("not_utf8", "no_underscore", "unknown_step", "no_number", "negative", "too_large", "empty", "too_long"), 1
        )
        assert [kept.offset for kept in progress.refused] == list(range(7, -1, -1))
        assert max(len(kept.head) for kept in progress.refused) <= 256
        assert running.sets() == [(1, 2, 3)]


def test_a_far_future_time_is_kept_and_does_not_move_the_watermark():
    events = regular_events(3_000)
    with over(records([*events[:1_500], (2**63 - 1, 0), *events[1_500:]])) as running:
        stats = running.settled(3_001)
        assert stats.progress.late == 0
        assert stats.progress.watermark is not None
        assert stats.progress.watermark <= 30_000
        assert len(running.sets()) == 1_000
        assert stats.active.events == 3_001


def test_the_oldest_generations_above_the_limit_are_dropped_and_no_others():
    events = regular_events(3_000)
    with over(records(events), max_sets=100, max_aged=3) as running:
        stats = running.settled(3_000)
        assert stats.dropped_generations == {"max_aged": 7}
        assert stats.dropped == {"max_aged": 7 * 300}
        assert running.sets() == greedy(events, 3)[700:]
        assert running.answer().coverage.complete_from == 7 * 100 * 30 - 29
        assert bound(running) == 1_000


def test_a_range_over_an_aged_and_the_active_slice_is_answered_completely():
    events = regular_events(450)
    with over(records(events), max_sets=100) as running:
        stats = running.settled(450)
        assert [meta.span for meta in stats.aged] == [Span(0, 99 * 30 + 1)]
        assert running.sets(Span(2_400, 3_600)) == greedy(events, 3)[80:120]


def test_an_endless_stream_of_one_step_stays_within_the_memory_budget():
    count, budget = 60_000, 400_000
    with over(records([(7 * number, 0) for number in range(count)]), budget_bytes=budget) as running:
        stats = running.settled(count)
        assert not running.sets()
        assert stats.dropped["residue"] > 0
        assert stats.active.events + stats.dropped["residue"] == count
        stats = until(lambda: stats if (stats := running.stats()).memory.accounted_bytes <= budget else None)
        # Every red event that may be missing is before the time from which the answers are complete.
        assert stats.coverage.complete_from == 7 * (stats.dropped["residue"] - 1) + 1


def test_a_full_memory_budget_drops_the_oldest_generations():
    chance = random.Random(4)
    times = sorted(chance.randrange(10**9) for _ in range(60_000))
    events = [(time, number % 3) for number, time in enumerate(times)]
    pace = Pace(poll_records=500, credits=1)  # so that the events in flight are few beside the budget
    with over(records(events), max_sets=500, budget_bytes=110_000, pace=pace) as running:
        stats = running.settled(60_000)
        gone = stats.dropped_generations["memory"]
        assert 0 < gone < 40
        assert stats.dropped == {"memory": gone * 1_500}
        assert running.sets() == greedy(events, 3)[500 * gone :]


def test_the_emergency_brake_drops_a_generation_and_counts_it():
    with over(records(regular_events(900)), max_sets=100, budget_bytes=1 << 30, rss=lambda: 2 << 30) as running:
        running.settled(900)
        stats = until(lambda: stats if (stats := running.stats()).memory.emergencies else None)
        assert stats.dropped_generations["emergency"] == stats.memory.emergencies


def test_a_poll_whose_decoding_failed_is_read_again():
    events = random_events(3_000, seed=5)
    view, _ = failing(decode=2)
    with over(records(events), view=view) as running:
        stats = running.settled(3_000)
        assert stats.progress.records == 3_000
        assert running.sets() == greedy(events, 3)
        health = running.health()
        assert health.restarts == {"events": 1}
        assert [letter.reason for letter in health.newest] == ["ZeroDivisionError: decode"]


def test_a_failed_batch_is_read_again_though_no_checkpoint_lasts():
    events = regular_events(3_000)
    view, _ = failing(add=1)
    with over(records(events), view=view) as running:
        stats = running.settled(3_000)
        assert placed(stats) == 3_000
        assert not stats.dropped
        assert running.health().restarts == {"events": 1}
        assert not running.answer().coverage.missing
        assert running.sets() == greedy(events, 3)


def test_a_stream_that_fails_again_and_again_is_given_up_and_stays_readable():
    events = regular_events(300)
    view, left = failing()
    values = records(events)
    with over(values, view=view, crash=True, backoff_s=0.01) as running:  # it waits for a recovery, so it cannot drain
        running.settled(300)
        left["decode"] = 10**9
        values += records([(9_999, 0)] * 20)
        health = until(lambda: health if (health := running.health()).degraded else None)
        assert "FrontEnd failed 10 times" in health.degraded["events"]
        found = running.sets()  # those of the last checkpoint, which may be older than the last sets
        assert found == greedy(events, 3)[: len(found)]
        assert running.stats().progress.state == "failed"


def test_a_failed_read_harms_neither_the_stream_nor_the_next_read():
    view, _ = failing(read=1)
    with over(records([(1, 0), (2, 1), (3, 2)]), view=view) as running:
        running.settled(3)
        part = running.ask(running.running.manager, lambda reply_to: Query(EVER, Page(), 1e9, reply_to))
        assert part.coverage.missing == (Span(1, 2),)
        assert running.sets() == [(1, 2, 3)]
        assert not running.health().restarts


def test_requests_above_the_mailboxs_capacity_are_refused_and_every_request_gets_a_reply():
    with over(records([(1, 0)])) as running:
        running.settled(1)
        gate, replies = threading.Event(), list[Any]()
        running.running.manager.tell(GetStats(lambda _: gate.wait(20)))
        for _ in range(400):
            running.running.manager.tell(GetStats(replies.append))
        gate.set()
        until(lambda: len(replies) == 400)
        refused = [reply for reply in replies if isinstance(reply, Busy)]
        assert len(refused) >= 400 - 256 - 1
        assert running.health().dead_letters == len(refused)


def test_a_stream_waits_for_a_topic_that_does_not_exist(broker: str, mock_topic: str, send: Send):
    with stream(broker, mock_topic) as running:
        until(lambda: running.stats().progress.state == "waiting for the topic")
        admin = AdminClient({"bootstrap.servers": broker})
        admin.create_topics([NewTopic(mock_topic, 3, 1)])[mock_topic].result(timeout=PATIENCE_S)
        send(broker, mock_topic, records([(1, 0), (2, 1), (3, 2)]), [0, 1, 2])
        running.settled(3)
        assert running.sets() == [(1, 2, 3)]


class Biased(KafkaSource):
    """Delivers nothing of partition 0 while it may read another partition. librdkafka under load does the same."""

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
    send(embedded, mock_topic, records(regular_events(9_000)), [number // 10 % 2 for number in range(9_000)])
    pace = Pace(poll_records=100, buffer_events=2_000)
    with stream(embedded, mock_topic, source=Biased, pace=pace) as running:
        until(lambda: running.stats().progress.events >= 8_000)
        stats = running.stats()
        assert stats.progress.late == 0
        assert len(running.sets()) >= 2_400


class Interrupted(ListedSource):
    """Calls `at` once, in the poll that begins with the 2,000th record."""

    def __init__(self, values: list[bytes], at: Callable[[], None]) -> None:
        super().__init__(values)
        self._at = [at]

    def poll(self, count: int, timeout_s: float) -> Polled:
        if self._next >= 2_000 and self._at:
            self._at.pop()()
        return super().poll(count, timeout_s)


def test_after_a_drain_no_event_is_buffered_or_in_flight():
    events: list[Event] = random_events(8_000, seed=9)
    done: list[Any] = []

    def drain() -> None:
        running.running.front_end.tell(Drain(done.append))

    source = Interrupted(records(events), drain)
    with stream("", "listed", source=lambda *_, **__: source, max_sets=50, pace=Pace(poll_records=50)) as running:
        progress = until(lambda: done)[0].progress
        assert progress.records < 8_000, "the drain came in the middle"
        stats = until(lambda: stats if placed(stats := running.stats()) == progress.events else None)
        assert (progress.buffered, progress.in_flight) == (0, 0)
        assert running.sets() == greedy(events[: stats.progress.events], 3)

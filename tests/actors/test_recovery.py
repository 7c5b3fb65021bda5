"""A stream that is killed and started again answers as a stream that was never killed."""

import errno
import os
import random
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from actors.durability.disk import Disk, File
from actors.reading.pace import Pace
from actors.replies import Stats
from actors.sinks.file.sink import FileSink
from actors.views.kinds import VIEWS
from scripts.lab.truth import greedy
from tests.conftest import Send
from tests.support.failing import FailingView, Failures
from tests.support.listed import over
from tests.support.running import STEPS, Event, Stream, placed, random_events, records, stream
from tests.support.waiting import PATIENCE_S, until

SETS = VIEWS["sets"](steps=STEPS, max_sets=1_000_000)


@pytest.mark.parametrize("max_sets", [30, 1_000_000])
def test_a_restart_continues_from_the_last_checkpoint(
    embedded: str, mock_topic: str, send: Send, tmp_path: Path, max_sets: int
):
    events = random_events(9_000, seed=max_sets, displacement=10)
    for part in range(3):
        own = events[part * 3_000 : (part + 1) * 3_000]
        send(embedded, mock_topic, records(own), [number % 3 for number in range(len(own))])
        with stream(embedded, mock_topic, max_sets=max_sets, folder=tmp_path, crash=True) as running:
            stats = running.settled((part + 1) * 3_000)
            assert placed(stats) == stats.progress.events == (part + 1) * 3_000
            assert running.sets() == greedy(events[: (part + 1) * 3_000], 3)
            assert (stats.durability.recovered_from > 0) == (part > 0)
            saved = 1 if part == 0 else 0  # the first checkpoint is made before anything is read
            until(lambda saved=saved: running.stats().durability.saved > saved)
            assert not running.logged
    with stream(embedded, mock_topic, max_sets=max_sets, folder=tmp_path) as running:
        running.settled(9_000)
        assert running.sets() == greedy(events, 3)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert not [name for name in names if name.endswith(".tmp")]
    assert len([name for name in names if name.startswith("checkpoint")]) == 2


def test_a_slice_that_fails_twice_and_then_works_loses_no_event(tmp_path: Path):
    events = random_events(6_000, seed=8, displacement=10)
    with over(records(events), view=FailingView(SETS, Failures(add=2)), folder=tmp_path) as running:
        stats = running.settled(6_000)
        assert running.sets() == greedy(events, 3)
        assert not stats.dropped
        assert not stats.coverage.missing
        assert running.health().restarts == {"events": 2}


def test_only_the_poisoned_records_are_set_aside(tmp_path: Path):
    events = random_events(6_000, seed=9, displacement=10)
    poison = {1_000_000 + 10 * 2_000, 1_000_000 + 10 * 4_500}

    def before(method: str, batch: Any) -> None:
        if method == "add" and any(time in poison for column in batch.times for time in column.tolist()):
            raise ZeroDivisionError("poison")

    with over(records(events), view=FailingView(SETS, before), folder=tmp_path) as running:
        until(lambda: running.stats().progress.rejects.get("poison") == 2)
        stats = running.settled(6_000)
        assert running.sets() == greedy([event for event in events if event[0] not in poison], 3)
        assert placed(stats) == stats.progress.events == 6_000 - 2
        values = set(records(event for event in events if event[0] in poison))
        heads = {refused.head for refused in stats.progress.refused}
        assert all(head in values or head.startswith(b"category") for head in heads)
        assert len(heads) == 2
        assert not running.health().degraded


def scattered_events(count: int, seed: int) -> list[Event]:
    chance = random.Random(seed)
    return [(time, number % 3) for number, time in enumerate(sorted(chance.randrange(10**9) for _ in range(count)))]


def feed(running: Stream, values: list[bytes], events: list[Event], *, parts: int = 15) -> Stats:
    """Append events to `values` part by part, so that few events are in flight at a time. Return the last stats."""
    for _ in range(parts):
        values += records(events[len(values) : len(values) + len(events) // parts])
        stats = running.settled(len(values))
    return stats


def test_generations_that_do_not_fit_in_memory_are_answered_from_the_disk(tmp_path: Path):
    events, values, budget = scattered_events(150_000, seed=4), list[bytes](), 450_000
    settings: dict[str, Any] = {"max_sets": 4_000, "folder": tmp_path, "budget_bytes": budget, "spill_bytes": 1 << 30}
    with over(values, crash=True, **settings) as running:
        assert not feed(running, values, events).dropped
        assert until(lambda: running.stats().memory.accounted_bytes <= budget)
        assert any(meta.file_bytes for meta in running.stats().aged)
        assert running.sets() == greedy(events, 3)
        until(lambda: running.stats().durability.saved > 3)
    with over(values, **settings) as running:
        stats = running.settled(150_000)
        assert any(meta.file_bytes for meta in stats.aged)
        assert not stats.dropped
        assert running.sets() == greedy(events, 3)


def test_the_oldest_generations_are_dropped_if_the_disk_budget_is_full_too(tmp_path: Path):
    events, values = scattered_events(150_000, seed=5), list[bytes]()
    with over(values, max_sets=4_000, folder=tmp_path, budget_bytes=350_000, spill_bytes=30_000) as running:
        stats = feed(running, values, events)
        gone = sum(stats.dropped_generations.values())
        assert set(stats.dropped_generations) <= {"disk", "memory"}
        assert gone
        assert running.sets() == greedy(events, 3)[4_000 * gone :]


class FullDisk(Disk):
    """A disk without room while it is `full`."""

    full = True

    def create(self, path: Path) -> File:
        if self.full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return super().create(path)


def test_a_stream_with_a_sink_reads_nothing_before_its_first_checkpoint(tmp_path: Path):
    disk = FullDisk()
    sinks = [FileSink(tmp_path / "out.txt", max_bytes=None, on_error=lambda _: None)]
    pace = Pace(checkpoint_s=0.05, wait_for_topic_s=0.05)
    with over(records([(1, 0), (2, 1), (3, 2)]), folder=tmp_path / "data", disk=disk, sinks=sinks, pace=pace) as running:
        until(lambda: running.stats().durability.failed > 3)
        assert running.stats().progress.records == 0
        disk.full = False
        running.settled(3)
        assert running.sets() == [(1, 2, 3)]


def test_a_full_disk_does_not_stop_a_stream_without_a_sink(tmp_path: Path):
    with over(records([(1, 0), (2, 1), (3, 2)]), folder=tmp_path, disk=FullDisk()) as running:
        running.settled(3)
        assert running.sets() == [(1, 2, 3)]
        assert "No space left" in until(lambda: running.stats().durability.problem)


def test_an_orderly_stop_keeps_buffered_events_for_the_next_start(tmp_path: Path):
    """If the stop released the events that wait for earlier ones, they would be matched too early."""
    events = random_events(3_000, seed=3, displacement=10)
    early = [event for event in events[:1_600] if event[1] != 0 or event[0] < 1_000_000 + 10 * 1_560]
    held = [event for event in events[:1_600] if event not in early]
    values = list[bytes]()
    for part in (early, held + events[1_600:]):
        values += records(part)
        with over(values, max_sets=40, folder=tmp_path, idle_s=600.0) as running:
            running.read(len(values))
            assert running.stats().progress.late == 0
    with over(values, max_sets=40, folder=tmp_path, idle_s=0.2) as running:
        running.settled(3_000)
        assert running.sets() == greedy(events, 3)


def test_records_deleted_by_kafka_during_a_stop_are_counted_and_their_time_is_missing(
    broker: str, topic: str, send: Send, tmp_path: Path
):
    def events(part: int) -> list[Event]:
        return [(1_000_000 * part + 10 * number, number % 3) for number in range(900)]

    for part in (1, 2):
        send(broker, topic, records(events(part)), [0] * 900)
        if part == 1:
            with stream(broker, topic, folder=tmp_path) as running:
                running.settled(900)
                assert not running.answer().coverage.missing
    admin = AdminClient({"bootstrap.servers": broker})
    admin.delete_records([TopicPartition(topic, 0, 1_500)])[TopicPartition(topic, 0)].result(timeout=PATIENCE_S)
    with stream(broker, topic, folder=tmp_path) as running:
        stats = running.settled(1_200)
        assert stats.missed == {"deleted": 600}
        assert [(reason, count) for reason, _, count in running.stats().missing] == [("deleted", 600)]
        (missing,) = running.answer().coverage.missing
        assert all(missing.start <= time < missing.end for time, _ in events(2)[:600])
        assert missing.end <= events(2)[600][0] + 1_000
        assert running.sets() == greedy([*events(1), *events(2)[600:]], 3)

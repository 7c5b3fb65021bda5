"""A stream that is stopped without a word and started again answers as one that was never stopped."""

import errno
import os
import random
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from actors.durability.disk import LocalDisk, LocalFile
from actors.reading.pace import Pace
from actors.replies import Stats
from actors.sinks.file import FileSink
from actors.views.kinds import VIEWS
from scripts.lab.truth import greedy
from tests.conftest import Send
from tests.support.running import STEPS, Stream, placed, records, stream
from tests.support.waiting import until


def some_events(count: int, seed: int) -> list[tuple[int, int]]:
    chance = random.Random(seed)
    events = [(1_000_000 + 10 * number, chance.randrange(3)) for number in range(count)]
    events.sort(key=lambda event: event[0] + chance.uniform(0, 100))
    return events


@pytest.mark.parametrize("max_sets", [30, 1_000_000])
def test_a_restart_goes_on_from_the_last_checkpoint(embedded: str, mock_topic: str, send: Send, tmp_path: Path, max_sets: int):
    events = some_events(9_000, seed=max_sets)
    for part in range(3):
        own = events[part * 3_000 : (part + 1) * 3_000]
        send(embedded, mock_topic, records(own), [number % 3 for number in range(len(own))])
        with stream(embedded, mock_topic, max_sets=max_sets, folder=tmp_path, crash=True) as running:
            stats = running.settled((part + 1) * 3_000)
            assert placed(stats) == stats.progress.events == (part + 1) * 3_000
            assert running.sets() == greedy(events[: (part + 1) * 3_000], 3)
            assert (stats.durability.recovered_from > 0) == (part > 0)
            saved = 1 if part == 0 else 0  # the first one is made before anything is read
            until(lambda saved=saved: running.stats().durability.saved > saved)
            assert not running.logged
    with stream(embedded, mock_topic, max_sets=max_sets, folder=tmp_path) as running:
        stats = running.settled(9_000)
        assert running.sets() == greedy(events, 3)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert not [name for name in names if name.endswith(".tmp")]
    assert len([name for name in names if name.startswith("checkpoint")]) == 2


class Poisoned:
    """A view of sets whose slices fail at certain times of events, or a number of times at anything."""

    def __init__(self, *, times: set[int], failures: int = 0, max_sets: int = 1_000_000) -> None:
        self._inner = VIEWS["sets"](steps=STEPS, max_sets=max_sets)
        self.times = times
        self.failures = failures

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def open(self, carry: Any) -> Any:
        return self._armed(self._inner.open(carry))

    def revive(self, state: Any) -> Any:
        return self._armed(self._inner.revive(state))

    def _armed(self, live: Any) -> Any:
        add = live.add

        def adding(batch: Any, watermark: int | None) -> Any:
            if self.failures:
                self.failures -= 1
                raise ZeroDivisionError("for once")
            if any(time in self.times for column in batch.times for time in column.tolist()):
                raise ZeroDivisionError("poison")
            return add(batch, watermark)

        live.add = adding
        return live


def test_a_slice_that_fails_for_once_costs_nothing(embedded: str, mock_topic: str, send: Send, tmp_path: Path):
    events = some_events(6_000, seed=8)
    send(embedded, mock_topic, records(events), [number % 3 for number in range(6_000)])
    with stream(embedded, mock_topic, view=Poisoned(times=set(), failures=2), folder=tmp_path) as running:
        stats = running.settled(6_000)
        assert running.sets() == greedy(events, 3)
        assert not stats.dropped
        assert not stats.coverage.missing
        assert running.health().restarts == {"events": 2}


def test_poison_is_set_aside_alone_and_the_rest_goes_on(embedded: str, mock_topic: str, send: Send, tmp_path: Path):
    events = some_events(6_000, seed=9)
    poison = {1_000_000 + 10 * 2_000, 1_000_000 + 10 * 4_500}
    send(embedded, mock_topic, records(events), [number % 3 for number in range(6_000)])
    with stream(embedded, mock_topic, view=Poisoned(times=poison), folder=tmp_path) as running:
        stats = until(lambda: stats if (stats := running.stats()).progress.rejects.get("poison") == 2 else None)
        stats = running.settled(6_000)
        assert running.sets() == greedy([event for event in events if event[0] not in poison], 3)
        assert placed(stats) == stats.progress.events == 6_000 - 2
        values = {value for value, event in zip(records(events), events, strict=True) if event[0] in poison}
        heads = {refused.head for refused in stats.progress.refused}
        assert all(head in values or head.startswith(b"category") for head in heads)
        assert len(heads) == 2
        assert not running.health().degraded


def fed(running: Stream, bootstrap: str, topic: str, send: Send, events: list[tuple[int, int]], *, parts: int = 15) -> Stats:
    """Send events part by part, so that few of them wait at a time; returns the stats at the end."""
    size = len(events) // parts
    for start in range(0, len(events), size):
        send(bootstrap, topic, records(events[start : start + size]), [0] * size)
        stats = running.settled(start + size)
    return stats


def scattered_events(count: int, seed: int) -> list[tuple[int, int]]:
    chance = random.Random(seed)
    return [(time, number % 3) for number, time in enumerate(sorted(chance.randrange(10**9) for _ in range(count)))]


def test_what_memory_has_no_room_for_is_answered_from_the_disk(embedded: str, mock_topic: str, send: Send, tmp_path: Path):
    events = scattered_events(150_000, seed=4)
    budget = 450_000
    settings: dict[str, Any] = {"max_sets": 4_000, "folder": tmp_path, "budget_bytes": budget, "spill_bytes": 1 << 30}
    with stream(embedded, mock_topic, crash=True, **settings) as running:
        stats = fed(running, embedded, mock_topic, send, events)
        assert not stats.dropped
        assert until(lambda: running.stats().memory.accounted_bytes <= budget)
        assert any(meta.file_bytes for meta in running.stats().aged)
        assert running.sets() == greedy(events, 3)
        until(lambda: running.stats().durability.saved > 3)
    with stream(embedded, mock_topic, **settings) as running:
        stats = running.settled(150_000)
        assert any(meta.file_bytes for meta in stats.aged)
        assert not stats.dropped
        assert running.sets() == greedy(events, 3)


def test_where_the_disk_is_full_too_the_oldest_goes(embedded: str, mock_topic: str, send: Send, tmp_path: Path):
    events = scattered_events(150_000, seed=5)
    settings: dict[str, Any] = {"max_sets": 4_000, "folder": tmp_path, "budget_bytes": 350_000, "spill_bytes": 30_000}
    with stream(embedded, mock_topic, **settings) as running:
        stats = fed(running, embedded, mock_topic, send, events)
        gone = sum(stats.dropped_generations.values())
        assert set(stats.dropped_generations) <= {"disk", "memory"}
        assert gone
        assert running.sets() == greedy(events, 3)[4_000 * gone :]


class FullDisk(LocalDisk):
    """A disk that has no room until it is told to."""

    def __init__(self) -> None:
        self.full = True

    def create(self, path: Path) -> LocalFile:
        if self.full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return super().create(path)


def test_with_results_nothing_is_read_before_there_is_a_checkpoint_to_come_back_to(
    embedded: str, mock_topic: str, send: Send, tmp_path: Path
):
    send(embedded, mock_topic, records([(1, 0), (2, 1), (3, 2)]), [0] * 3)
    disk = FullDisk()
    sinks = [FileSink(tmp_path / "out.txt", max_bytes=None, on_error=lambda _: None)]
    pace = Pace(checkpoint_s=0.05, wait_for_topic_s=0.05)
    with stream(embedded, mock_topic, folder=tmp_path / "data", disk=disk, sinks=sinks, pace=pace) as running:
        until(lambda: running.stats().durability.failed > 3)
        assert running.stats().progress.records == 0
        disk.full = False
        running.settled(3)
        assert running.sets() == [(1, 2, 3)]


def test_without_results_a_full_disk_stops_nothing(embedded: str, mock_topic: str, send: Send, tmp_path: Path):
    send(embedded, mock_topic, records([(1, 0), (2, 1), (3, 2)]), [0] * 3)
    with stream(embedded, mock_topic, folder=tmp_path, disk=FullDisk()) as running:
        running.settled(3)
        assert running.sets() == [(1, 2, 3)]
        assert "No space left" in until(lambda: running.stats().durability.problem)


def test_an_orderly_stop_changes_nothing_for_what_comes_after_it(embedded: str, mock_topic: str, send: Send, tmp_path: Path):
    """What waits for its turn goes on waiting: released by the stop, it would be paired before what is a little older."""
    events = some_events(3_000, seed=3)
    half = {event for event in events if event[1] != 0 or event[0] < 1_000_000 + 10 * 1_500}
    parts = [
        [event for event in events[:1_600] if event in half],
        [e for e in events[:1_600] if e not in half] + events[1_600:],
    ]
    done = 0
    for part in parts:
        send(embedded, mock_topic, records(part), [0] * len(part))
        done += len(part)
        with stream(embedded, mock_topic, max_sets=40, folder=tmp_path, idle_s=600.0) as running:
            until(lambda done=done: running.stats().progress.records == done)
            assert running.stats().progress.late == 0
    with stream(embedded, mock_topic, max_sets=40, folder=tmp_path, idle_s=0.2) as running:
        running.settled(3_000)
        assert running.sets() == greedy(events, 3)


def test_records_that_kafka_deleted_while_we_were_down_are_counted_and_their_time_is_named(
    broker: str, topic: str, send: Send, tmp_path: Path
):
    def events(part: int) -> list[tuple[int, int]]:
        return [(1_000_000 * part + 10 * number, number % 3) for number in range(900)]

    for part in (1, 2):
        send(broker, topic, records(events(part)), [0] * 900)
        if part == 1:
            with stream(broker, topic, folder=tmp_path) as running:
                running.settled(900)
                assert not running.answer().coverage.missing
    admin = AdminClient({"bootstrap.servers": broker})
    admin.delete_records([TopicPartition(topic, 0, 1_500)])[TopicPartition(topic, 0)].result(timeout=20)
    with stream(broker, topic, folder=tmp_path) as running:
        stats = running.settled(1_200)
        assert stats.missed == {"deleted": 600}
        assert [(reason, count) for reason, _, count in running.stats().missing] == [("deleted", 600)]
        (missing,) = running.answer().coverage.missing
        assert all(missing.start <= time < missing.end for time, _ in events(2)[:600])
        assert missing.end <= events(2)[600][0] + 1_000
        assert running.sets() == greedy([*events(1), *events(2)[600:]], 3)

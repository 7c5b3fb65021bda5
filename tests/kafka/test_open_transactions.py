"""Open transactions on a real broker: a partition with records that cannot be read yet holds the stream back, and is named."""

import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from confluent_kafka import Producer

from actors.replies import Stats
from actors.sources.kafka.source import KafkaSource
from tests.conftest import Send
from tests.support.running import Stream, records, stream
from tests.support.waiting import until

EARLY, LATE = 1_000_000, 9_000_000
HELD = "an open transaction since offset {}".format


def sets_at(time: int, count: int = 3) -> list[bytes]:
    """Return the records of `count` sets, the first one at `time`."""
    return records([(time + number, number % 3) for number in range(3 * count)])


class Transaction:
    """A transaction of a producer of its own. It stays open until `end`."""

    def __init__(self, bootstrap: str, topic: str) -> None:
        self._topic = topic
        self._producer = Producer({"bootstrap.servers": bootstrap, "transactional.id": f"x-{uuid.uuid4().hex}"})
        self._producer.init_transactions(30)
        self._producer.begin_transaction()

    def put(self, values: list[bytes], partition: int = 0) -> None:
        """Write records, and wait until the broker has them."""
        for value in values:
            self._producer.produce(self._topic, value, partition=partition)
        assert self._producer.flush(30) == 0

    def end(self, *, commit: bool) -> None:
        """Commit or abort."""
        (self._producer.commit_transaction if commit else self._producer.abort_transaction)(30)


Begun = Callable[[], Transaction]


@pytest.fixture
def begun(broker: str, topic: str) -> Begun:
    """Return a function that begins a transaction on the topic."""
    return lambda: Transaction(broker, topic)


@pytest.fixture
def run(broker: str, topic: str) -> Iterator[Callable[..., Stream]]:
    """Return a function that starts a stream over the topic, with further settings of librdkafka."""
    with ExitStack() as around:

        def start(**settings: str) -> Stream:
            def source(kafka: dict[str, Any], *words: Any, **more: Any) -> KafkaSource:
                return KafkaSource({**kafka, **settings}, *words, **more)

            return around.enter_context(stream(broker, topic, source=source))

        yield start


def waiting(running: Stream) -> Stats | None:
    """Return the stats if only an open transaction holds the stream back."""
    stats = running.stats()
    return stats if stats.progress.state == "waiting for an open transaction" else None


def at_end(running: Stream, records: int) -> Stats:
    """Return the stats once all records are read, in their slices, and nothing holds the stream back."""
    until(lambda: running.stats().progress.state == "at the end" and running.stats().progress.records == records)
    return running.settled(records)


def reach(stats: Stats) -> list[int]:
    """Return the times up to which answers are complete, and final."""
    return [time for time in (stats.coverage.complete_to, stats.coverage.final_until) if time is not None]


@pytest.mark.parametrize("commit", [True, False])
def test_a_transaction_that_is_open_at_the_start_is_named_and_nothing_is_final(
    topic: str, begun: Begun, run: Callable[..., Stream], commit: bool
):
    done, transaction = begun(), begun()
    transaction.put(sets_at(EARLY), partition=1)
    done.put(sets_at(LATE))
    done.end(commit=True)
    running = run()
    stats = until(lambda: waiting(running))
    assert (stats.progress.held_back_by, stats.progress.held_back_because) == (1, HELD(0))
    assert stats.progress.lag == {0: 0, 1: 9, 2: 0}, topic
    assert reach(stats) == []
    assert running.sets() == []
    transaction.end(commit=commit)
    stats = at_end(running, 18 if commit else 9)
    assert (stats.progress.transactions, sum(stats.progress.lag.values()), stats.progress.late) == ({}, 0, 0)
    assert len(running.sets()) == (6 if commit else 3)


@pytest.mark.versions
def test_a_transaction_that_begins_behind_records_is_named_by_its_first_offset_and_by_partition(
    broker: str, topic: str, send: Send, begun: Begun, run: Callable[..., Stream]
):
    send(broker, topic, sets_at(EARLY), [2] * 9)
    running = run()
    at_end(running, 9)
    first, second = begun(), begun()
    second.put(sets_at(EARLY + 2_000), partition=2)
    first.put(sets_at(EARLY + 1_000), partition=0)
    first.put(sets_at(EARLY + 3_000), partition=2)
    send(broker, topic, sets_at(LATE, 30), [1] * 90)
    stats = until(
        lambda: (
            (found := waiting(running))
            and (found.progress.records, found.progress.transactions) == (9 + 90, {0: 0, 2: 9})
            and found
        )
    )
    assert sum(stats.progress.lag.values()) == 9 + 18
    assert all(time <= EARLY + 9 for time in reach(stats))
    second.end(commit=True)
    rest = {0: 0, 2: 18}  # the further records of partition 2 belong to the other producer
    until(lambda: (found := waiting(running)) and found.progress.records == 9 + 90 + 9 and found.progress.transactions == rest)
    first.end(commit=False)
    assert at_end(running, 9 + 90 + 9).progress.transactions == {}
    assert len(running.sets()) == 3 + 30 + 3


def test_records_behind_an_open_transaction_wait_for_it(
    broker: str, topic: str, send: Send, begun: Begun, run: Callable[..., Stream]
):
    transaction = begun()
    transaction.put(sets_at(LATE), partition=0)
    send(broker, topic, sets_at(EARLY), [0] * 9)
    running = run()
    stats = until(lambda: waiting(running))
    assert (stats.progress.records, stats.progress.lag[0]) == (0, 18)
    transaction.end(commit=False)
    assert at_end(running, 9).progress.lag == {0: 0, 1: 0, 2: 0}
    assert len(running.sets()) == 3


def test_uncommitted_records_are_read_if_the_settings_ask_for_them(topic: str, begun: Begun, run: Callable[..., Stream]):
    transaction = begun()
    transaction.put(sets_at(EARLY), partition=0)
    running = run(**{"isolation.level": "read_uncommitted"})
    assert at_end(running, 9).progress.transactions == {}
    assert len(running.sets()) == 3


def test_a_restart_at_an_open_transaction_loses_and_repeats_nothing(
    broker: str, topic: str, send: Send, begun: Begun, tmp_path: Any
):
    transaction = begun()
    send(broker, topic, sets_at(EARLY), [0] * 9)
    transaction.put(sets_at(EARLY + 100), partition=0)
    for _ in range(2):
        with stream(broker, topic, folder=tmp_path) as running:
            stats = until(lambda: waiting(running))
            assert (stats.progress.records, stats.progress.transactions, stats.missing) == (9, {0: 9}, ())
    transaction.end(commit=True)
    with stream(broker, topic, folder=tmp_path) as running:
        assert at_end(running, 18).missing == ()
        assert len(running.sets()) == 6

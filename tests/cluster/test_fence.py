"""The results of a cluster in Kafka: who has lost the lease writes no row, and who gets it sees each row that was written."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress

import pytest
from confluent_kafka import Consumer, KafkaException

from scripts.service.cluster.group import Grant, membership_of
from scripts.service.cluster.results import Results
from tests.cluster.test_cluster import created
from tests.support.sinks import committed_values
from tests.support.waiting import until


class Process:
    """A member of the group of leases, with results of its own client."""

    def __init__(self, bootstrap: str, leases: str, output: str) -> None:
        group = {"group.id": leases, "partition.assignment.strategy": "cooperative-sticky", "session.timeout.ms": 6_000}
        self.member = Consumer({"bootstrap.servers": bootstrap, **group})
        self.leases = leases
        self.grant: Grant | None = None
        self.results = Results(
            {"bootstrap.servers": bootstrap},
            lambda: self.grant,
            leases=leases,
            session_ms=6_000,
            owner=f"{leases}-rows",
            book=f"{leases}-book",
            output=output,
            key=["start"],
            meaning="m",
        )

    def join(self, epoch: int) -> list[bytes]:
        """Wait until the group gives the partition to this process, and begin; return what was published before."""
        self.member.subscribe([self.leases], on_assign=lambda member, places: member.incremental_assign(places))

        def given() -> bool:
            self.member.poll(0.05)
            return bool(self.member.assignment())

        until(given, timeout_s=60)
        self.grant = Grant(epoch, membership_of(self.member))
        return self.begin()

    def begin(self) -> list[bytes]:
        """Begin by the present grant; return the last line of each key that was published before, in order."""
        assert self.grant is not None
        lines: list[bytes] = []
        self.results.begin(self.grant.epoch, lines.append)
        return list({json.loads(line)["start"]: line for line in lines}.values())

    def leave(self) -> None:
        self.member.close()


def pairs(*numbers: int) -> Sequence[tuple[bytes, bytes]]:
    return [(b"minute/%d" % number, b'{"start":%d}' % number) for number in numbers]


def lines(*numbers: int) -> list[bytes]:
    return [line for _, line in pairs(*numbers)]


Make = Callable[[], Process]


@pytest.fixture
def leases(broker: str) -> str:
    return created(broker, 1)


@pytest.fixture
def make(broker: str, leases: str) -> Iterator[Make]:
    made: list[Process] = []

    def one() -> Process:
        made.append(Process(broker, leases, f"{leases}-out"))
        return made[-1]

    yield one
    for each in made:
        each.results.close()
        with suppress(RuntimeError):  # it has left
            each.member.close()


def test_a_process_that_was_frozen_writes_no_row_and_takes_none_back(broker: str, leases: str, make: Make):
    old, new = make(), make()
    with pytest.raises(KafkaException, match="membership"):
        membership_of(old.member)  # Kafka would not check the generation of one that is in no group
    assert old.join(1) == []
    old.results.write(pairs(1, 2))
    frozen = old.grant
    producer = old.results._producer
    assert producer is not None
    producer.begin_transaction()  # it is frozen in the middle
    producer.produce(f"{leases}-out", b'{"start":3}')
    producer.flush(10)
    old.leave()
    assert new.join(2) == lines(1, 2)
    new.results.write(pairs(3))
    with pytest.raises(OSError, match="topic"):
        old.results.write(pairs(3))
    assert old.grant is frozen, "it does not know yet"
    old.begin()  # it fences the other client off
    with pytest.raises(OSError, match="member"):
        old.results.write(pairs(4))
    with pytest.raises(OSError, match="topic"):
        new.results.write(pairs(4))
    assert new.begin() == lines(1, 2, 3)
    new.results.write(pairs(4))
    new.results.write(pairs(2))
    assert new.begin() == lines(1, 2, 3, 4)
    assert committed_values(broker, f"{leases}-out") == lines(1, 2, 3, 4, 2)


@pytest.mark.long
def test_a_commit_that_was_under_way_when_its_process_froze_is_seen_by_the_next_one(broker: str, leases: str, make: Make):
    old, new = make(), make()
    old.join(1)
    producer = old.results._producer
    assert producer is not None
    commit = producer.commit_transaction
    assert old.grant is not None

    class Frozen(Exception):  # noqa: N818
        pass

    class Held:
        """A producer that does all but the commit."""

        def __getattr__(self, name: str) -> object:
            if name == "commit_transaction":
                raise Frozen
            return getattr(producer, name)

    old.results._producer = Held()  # type: ignore[assignment]
    with pytest.raises(Frozen):
        old.results.write(pairs(1))
    commit(10)  # the last moment at which it can
    old.leave()
    assert new.join(2) == lines(1)
    assert committed_values(broker, f"{leases}-out") == lines(1)


@pytest.mark.long
def test_without_a_grant_or_with_another_one_nothing_is_written(broker: str, leases: str, make: Make):
    one = make()
    one.join(1)
    grant = one.grant
    assert grant is not None
    for other in (None, Grant(2, grant.membership)):
        one.grant = other
        with pytest.raises(OSError, match="no longer the lease"):
            one.results.write(pairs(1))
    one.grant = grant
    one.results.write(pairs(2))
    assert committed_values(broker, f"{leases}-out") == lines(2)

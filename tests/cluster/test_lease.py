"""The lease of a shard while it is given back: its last checkpoint is still committed in its name, and nothing after that."""

import threading
import time
import uuid
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from confluent_kafka import ConsumerGroupState, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from scripts.service.cluster.group import Group, ensure_leases
from scripts.service.cluster.lease import Leases
from scripts.service.cluster.records import Announced
from tests.cluster.test_cluster import created
from tests.support.waiting import PATIENCE_S, until

SHARDS = 2


class Ending:
    """The shards of a process. One that is given back commits a transaction on another thread, as its checkpoint does, and waits.

    A shard that begins answers when the test says so, or at once if it is `quick`.
    """

    def __init__(self, bootstrap: str, output: str) -> None:
        self.bootstrap = bootstrap
        self.output = output
        self.leases: Leases | None = None
        self.running: set[int] = set()
        self.committed: list[int] = []
        self.ready: dict[int, Callable[[], None]] = {}
        self.located: dict[int, str] = {}
        self.quick = False
        self.gives_back = threading.Event()
        self.waits: threading.Event | None = None

    def begin(self, shard: int, epoch: int, ready: Callable[[], None]) -> None:
        self.running.add(shard)
        self.ready[shard] = ready
        if self.quick:
            ready()

    def renew(self, shard: int, epoch: int, ready: Callable[[], None]) -> None:
        self.ready[shard] = ready

    def give_back(self, shards: Sequence[int], beat: Callable[[], None]) -> None:
        self.gives_back.set()
        threads = [threading.Thread(target=self.commit, args=(shard,), daemon=True) for shard in shards]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        beat()

    def end(self, shards: Sequence[int], beat: Callable[[], None]) -> None:
        self.running.difference_update(shards)

    def locate(self, shard: int, who: Announced | None, epoch: int) -> None:
        assert who is not None
        self.located[shard] = who.process

    def commit(self, shard: int) -> None:
        assert self.leases is not None
        if self.leases.claim(shard) is None:
            return
        producer = Producer({"bootstrap.servers": self.bootstrap, "transactional.id": f"{self.output}-{shard}", "log_level": 0})
        producer.init_transactions(10)
        if self.waits is not None:
            self.waits.wait(60)
        for _ in range(20):  # as copies do: for a moment Kafka may have a newer generation
            producer.begin_transaction()
            producer.produce(self.output, b"last", partition=0)
            try:
                producer.send_offsets_to_transaction([TopicPartition(self.output, 0, 1)], self.leases.claim(shard), 10)
            except KafkaException:
                producer.abort_transaction(10)
                time.sleep(0.2)
                continue
            producer.commit_transaction(10)
            self.committed.append(shard)
            return


def member(bootstrap: str, group: Group, output: str) -> tuple[Leases, Ending]:
    shards = Ending(bootstrap, output)
    me = Announced(0, uuid.uuid4().hex[:12], "127.0.0.1", 1, 1)
    failed: list[Any] = []
    leases = Leases(
        {"bootstrap.servers": bootstrap}, group, me, b"s" * 16, shards, lambda *_, **__: None, failed.append, failed.append
    )
    shards.leases = leases
    return leases, shards


@pytest.mark.broker
def test_a_shard_that_is_given_back_commits_in_its_name_while_the_group_waits(broker: str):
    output = created(broker, 1)
    group = Group(f"{output}-leases", SHARDS, 6_000, None)
    ensure_leases({"bootstrap.servers": broker}, group)
    (one, of_one), (two, of_two) = (member(broker, group, output) for _ in range(2))
    one.start()
    until(lambda: of_one.running == set(range(SHARDS)))
    two.start()
    until(lambda: of_two.running)
    (moved,) = of_two.running
    assert of_one.committed == [moved]
    assert one.claim(moved) is None
    assert moved in of_one.running, "it answers until the other process does"
    assert of_one.located == {}
    of_two.ready[moved]()
    until(lambda: moved not in of_one.running)
    assert list(of_one.located) == [moved]
    late, of_late = member(broker, group, output)
    late.learn(PATIENCE_S)
    assert of_late.located == of_one.located, "before it joins, a process knows the shards that answer, and no others"
    assert late._reading is not None
    late._reading.close()
    one.stop(30)
    assert sorted(of_one.committed) == list(range(SHARDS))
    assert [one.claim(shard) for shard in range(SHARDS)] == [None] * SHARDS
    until(lambda: of_two.running == set(range(SHARDS)))  # else the group moves on while this one ends
    two.stop(30)


@pytest.mark.broker
def test_the_last_checkpoint_of_a_process_that_ends_is_committed_although_another_one_has_just_left_the_group(broker: str):
    output = created(broker, 1)
    group = Group(f"{output}-leases", SHARDS, 6_000, None)
    ensure_leases({"bootstrap.servers": broker}, group)
    (one, of_one), (two, of_two) = (member(broker, group, output) for _ in range(2))
    of_one.quick = of_two.quick = True
    one.start()
    two.start()
    until(lambda: len(of_one.running) == len(of_two.running) == 1)
    of_one.committed.clear()
    of_one.gives_back.clear()
    of_one.waits = threading.Event()
    ending = threading.Thread(target=one.stop, args=(60,))
    ending.start()
    until(of_one.gives_back.is_set)
    two.stop(30)
    admin = AdminClient({"bootstrap.servers": broker})

    def alone() -> bool:
        """Whether the group has a new generation, with one member."""
        found = admin.describe_consumer_groups([group.topic])[group.topic].result(20)
        return len(found.members) == 1 and found.state == ConsumerGroupState.STABLE

    until(alone)
    of_one.waits.set()
    ending.join(60)
    assert len(of_one.committed) == 1

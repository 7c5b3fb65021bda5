"""The lease of a shard while it is given back: its last checkpoint is still committed in its name, and nothing after that."""

import threading
import uuid
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from confluent_kafka import Producer, TopicPartition

from scripts.service.cluster.lease import Group, Leases, ensure_leases
from scripts.service.cluster.records import Announced
from tests.cluster.test_cluster import created
from tests.support.waiting import until

SHARDS = 2


class Ending:
    """The shards of a process. One that is given back commits a transaction on another thread, as its checkpoint does, and waits.

    A shard that begins answers when the test says so.
    """

    def __init__(self, bootstrap: str, output: str) -> None:
        self.bootstrap = bootstrap
        self.output = output
        self.leases: Leases | None = None
        self.running: set[int] = set()
        self.committed: list[int] = []
        self.ready: dict[int, Callable[[], None]] = {}
        self.located: dict[int, str] = {}

    def begin(self, shard: int, epoch: int, ready: Callable[[], None]) -> None:
        self.running.add(shard)
        self.ready[shard] = ready

    def renew(self, shard: int, epoch: int, ready: Callable[[], None]) -> None:
        self.ready[shard] = ready

    def give_back(self, shards: Sequence[int], beat: Callable[[], None]) -> None:
        threads = [threading.Thread(target=self.commit, args=(shard,), daemon=True) for shard in shards]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
        beat()

    def end(self, shards: Sequence[int]) -> None:
        self.running.difference_update(shards)

    def locate(self, shard: int, who: Announced | None, epoch: int) -> None:
        assert who is not None
        self.located[shard] = who.process

    def commit(self, shard: int) -> None:
        assert self.leases is not None
        claimed = self.leases.claim(shard)
        if claimed is None:
            return
        producer = Producer({"bootstrap.servers": self.bootstrap, "transactional.id": f"{self.output}-{shard}", "log_level": 0})
        producer.init_transactions(10)
        producer.begin_transaction()
        producer.produce(self.output, b"last", partition=0)
        producer.send_offsets_to_transaction([TopicPartition(self.output, 0, 1)], claimed, 10)
        producer.commit_transaction(10)
        self.committed.append(shard)


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
    until(lambda: of_one.running == set(range(SHARDS)), timeout_s=60)
    two.start()
    until(lambda: of_two.running, timeout_s=60)
    (moved,) = of_two.running
    assert of_one.committed == [moved]
    assert one.claim(moved) is None
    assert moved in of_one.running, "it answers until the other process does"
    assert of_one.located == {}
    of_two.ready[moved]()
    until(lambda: moved not in of_one.running)
    assert list(of_one.located) == [moved]
    one.stop(30)
    assert sorted(of_one.committed) == list(range(SHARDS))
    assert [one.claim(shard) for shard in range(SHARDS)] == [None] * SHARDS
    until(lambda: of_two.running == set(range(SHARDS)), timeout_s=60)  # else the group moves on while this one ends
    two.stop(30)

"""A topic by key on a real broker: who has lost a shard forwards nothing, and three processes answer as one does."""

import random
import signal
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource  # type: ignore[attr-defined]  # exported
from confluent_kafka.cimpl import NewTopic

from actors.cluster.rekeyed.blocks import block_of
from actors.cluster.rekeyed.source import BLOCK
from scripts.service.cluster.lease import membership_of
from scripts.service.cluster.rekeyed.outlet import Outlet
from scripts.service.cluster.rekeyed.topic import ensure_by_key
from tests.cluster.test_cluster import SECRET, created
from tests.cluster.test_funnels import BEGIN, PARTITIONS, WITHIN_MS, Funnels, alike, events, spread_over, whole
from tests.support.service import Service, service
from tests.support.sinks import committed_values
from tests.support.waiting import until

KEPT_MS = 3_600_000


class Holder:
    """A member of the group of leases, with an outlet of its own client. `membership` is what it believes."""

    def __init__(self, bootstrap: str, leases: str, source: str) -> None:
        settings = {"bootstrap.servers": bootstrap}
        group = {"group.id": leases, "partition.assignment.strategy": "cooperative-sticky", "session.timeout.ms": 6_000}
        self.member = Consumer({**settings, **group})
        self.leases = leases
        self.membership: object = None
        ensure = partial(ensure_by_key, settings, f"{leases}-by-key", 1, source, None)
        self.outlet = Outlet(settings, f"{leases}-by-key", leases, 0, lambda: self.membership, ensure)

    def join(self) -> bytes | None:
        """Wait until the group gives the shard to this process, and begin."""
        self.member.subscribe([self.leases], on_assign=lambda member, places: member.incremental_assign(places))

        def given() -> bool:
            self.member.poll(0.05)
            return bool(self.member.assignment())

        until(given, timeout_s=60)
        self.membership = membership_of(self.member)
        return self.outlet.begin()


def source_topic(bootstrap: str) -> str:
    """Create a topic that keeps its records for an hour."""
    name = f"{created(bootstrap, 1)}-source"
    admin = AdminClient({"bootstrap.servers": bootstrap})
    wanted = NewTopic(name, 6, 1, config={"retention.ms": str(KEPT_MS), "retention.bytes": "1000000"})
    admin.create_topics([wanted])[name].result(20)
    return name


def test_a_forwarder_that_was_frozen_writes_nothing_and_the_next_one_goes_on_behind_what_it_has_committed(broker: str):
    leases, source = created(broker, 1), source_topic(broker)
    old, new = Holder(broker, leases, source), Holder(broker, leases, source)
    assert not old.outlet.holds()
    with pytest.raises(OSError, match="has moved to another process"):
        old.outlet.begin()
    assert old.join() is None
    old.outlet.write([[b"one"]], b"after one")
    assert old.outlet.begin() == b"after one"
    writer = old.outlet._writer
    assert writer is not None
    writer.begin()  # it is frozen in the middle
    writer.write(BLOCK, b"two")
    writer.flush()
    old.member.close()
    assert new.join() == b"after one"
    new.outlet.write([[b"two"], [b"three"]], b"after three")
    with pytest.raises(OSError, match="topic"):
        old.outlet.write([[b"two"]], b"after two")
    assert old.outlet.begin() == b"after three", "it does not know yet, and fences the other client off"
    with pytest.raises(OSError, match="topic"):
        old.outlet.write([[b"four"]], b"after four")
    with pytest.raises(OSError, match="topic"):
        new.outlet.write([[b"four"]], b"after four")
    assert new.outlet.begin() == b"after three"
    new.outlet.write([[b"four"]], b"after four")
    seen = committed_values(broker, f"{leases}-by-key")
    assert seen == [b"one", b"after one", b"two", b"three", b"after three", b"four", b"after four"]
    resource = ConfigResource(ConfigResource.Type.TOPIC, f"{leases}-by-key")
    admin = AdminClient({"bootstrap.servers": broker})
    found = admin.describe_configs([resource])[resource].result(20)
    assert (found["retention.ms"].value, found["retention.bytes"].value) == (str(KEPT_MS), "6000000")
    with pytest.raises(OSError, match="expected 3 partitions, one for each shard, got 1"):
        ensure_by_key({"bootstrap.servers": broker}, f"{leases}-by-key", 3, source, None)
    new.outlet.close()
    new.member.close()


class Forwarded(Funnels):
    """A cluster of one funnel over a topic whose records are in random partitions."""

    def __init__(self, bootstrap: str, folder: Path, shards: int) -> None:
        super().__init__(bootstrap, folder, shards)
        self.file.write_text(self.file.read_text().replace(f"within: {WITHIN_MS}ms", "within: 4s"))  # all lapse soon

    @contextmanager
    def process(self) -> Iterator[Service]:
        name = f"k{self.topic[-12:]}"
        own = (f"cluster.name={name}", f"cluster.shards={self.shards}", f"data_dir={self.data}", "checkpoint.every_ms=500")
        also = ("--config", str(self.file), "--set", "streams.paid.by_key=true")
        with service(self.bootstrap, self.topic, *own, stream="paid", also=also, FIRNLINE_CLUSTER_SECRET=SECRET) as running:
            yield running

    def send(self, records: Sequence[tuple[str, bytes]], seed: int) -> None:
        """Write records to random partitions in one transaction, so that no partition is ahead of the others in time."""
        chance = random.Random(seed)
        producer = Producer({"bootstrap.servers": self.bootstrap, "transactional.id": self.topic})
        producer.init_transactions(60)
        producer.begin_transaction()
        for _, value in records:
            producer.produce(self.topic, value, partition=chance.randrange(PARTITIONS))
            producer.poll(0)
        assert producer.flush(60) == 0
        producer.commit_transaction(60)


def ranges(bootstrap: str, cluster: str, shards: int) -> dict[tuple[int, int], list[tuple[int, int]]]:
    """Return the ranges in a topic by key as readers see them, by shard and partition of the source."""
    listed = AdminClient({"bootstrap.servers": bootstrap}).list_topics(timeout=20).topics
    (topic,) = [name for name in listed if name.startswith(f"firnline-{cluster}-by-key-")]
    settings = {"bootstrap.servers": bootstrap, "group.id": topic, "isolation.level": "read_committed"}
    reader = Consumer({**settings, "enable.partition.eof": True, "enable.auto.commit": False})
    reader.assign([TopicPartition(topic, shard, 0) for shard in range(shards)])
    found: dict[tuple[int, int], list[tuple[int, int]]] = {}
    ended = set()
    while len(ended) < shards:
        message = reader.poll(20)
        assert message is not None, "no answer"
        shard = message.partition()
        assert shard is not None
        if message.error() is not None:
            ended.add(shard)
        elif message.key() == BLOCK:
            for each in block_of(message.value() or b"").ranges:
                found.setdefault((shard, each.partition), []).append((each.start, each.end))
    reader.close()
    return found


@pytest.mark.long
def test_three_processes_answer_as_one_over_a_topic_in_random_partitions_although_a_forwarder_is_killed(
    broker: str, tmp_path: Path
):
    funnels, sent = Forwarded(broker, tmp_path, 3), 3_000
    funnels.send(events(sent, 1), 1)
    with ExitStack() as around:
        running = [around.enter_context(funnels.process()) for _ in range(3)]
        spread_over(running)
        whole(running, sent)
        more = 20_000  # these are later than the silence in the stream, so that no event is late
        funnels.send(events(more, 2, BEGIN + 600_000), 2)
        sent += more
        until(lambda: running[1].stats("paid")["records"] > 1_100)  # it forwards by now
        running[1].process.send_signal(signal.SIGKILL)
        running.pop(1).process.wait()
        whole(running, sent)
        alone = around.enter_context(funnels.alone())
        alone.settled(sent, "paid")
        alike(alone, running)
        stats = [each.stats("paid") for each in (alone, *running)]
        assert sum(each["events"] for each in stats[1:]) == stats[0]["events"]
        assert [each["late"] for each in stats] == [0, 0, 0]
    ends = Consumer({"bootstrap.servers": broker, "group.id": funnels.topic})
    for (_, partition), own in ranges(broker, f"k{funnels.topic[-12:]}", 3).items():
        assert all(before[1] == after[0] for before, after in pairwise(own)), "nothing twice, nothing lost"
        assert (own[0][0], own[-1][1]) == ends.get_watermark_offsets(TopicPartition(funnels.topic, partition), 20)
    ends.close()

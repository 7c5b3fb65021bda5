"""One broker of two is killed under load and restarted. Its leaders move and move back; no answer and no result differs."""

import json
import random
import signal
import threading
import uuid
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Self

import psutil
import pytest
from confluent_kafka import Consumer, ElectionType, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from scripts.brokers.real import Member, real_cluster
from scripts.checkout import ROOT
from scripts.lab.chaos.load import ONCE
from scripts.lab.chaos.processes import Node
from scripts.lab.truth import greedy
from tests.support.java import need_java
from tests.support.running import records
from tests.support.service import service
from tests.support.waiting import until

pytestmark = pytest.mark.broker

COORDINATORS = ("__transaction_state", "__consumer_offsets")
ALL = "/events/get-sets?startTime=0&endTime=9223372036854775807"
PATIENCE_S = 180.0


class Cluster:
    """Two nodes. The first one stays, the second is the one that is killed; each partition is on both."""

    def __init__(self, first: Member, second: Member) -> None:
        self.bootstrap = f"{first.bootstrap},{second.bootstrap}"
        self.second = Node(second.bootstrap, psutil.Process(second.process.pid), second.log)
        self._admin = AdminClient({"bootstrap.servers": first.bootstrap, "log_level": 0})
        self._preferred: dict[TopicPartition, int] = {}

    def create(self, topic: str, leaders: Sequence[int], **config: str) -> None:
        """Create a topic, given the node that is to lead each partition."""
        replicas = [[leader, 3 - leader] for leader in leaders]
        wanted = NewTopic(topic, len(leaders), replica_assignment=replicas, config=config)
        self._admin.create_topics([wanted])[topic].result(PATIENCE_S)
        self._preferred |= {TopicPartition(topic, number): leader for number, leader in enumerate(leaders)}

    def leaders(self) -> dict[TopicPartition, int]:
        """Return the node that leads each partition now."""
        topics = self._admin.list_topics(timeout=10).topics.values()
        return {
            TopicPartition(topic.topic, partition.id): partition.leader
            for topic in topics
            for partition in topic.partitions.values()
        }

    def as_preferred(self) -> bool:
        """Whether each partition is led by the node that it was created for."""
        return self.leaders() == self._preferred

    def led_by_the_first(self) -> bool:
        """Whether the first node leads all."""
        return self.leaders() == dict.fromkeys(self._preferred, 1)

    def in_sync(self) -> bool:
        """Whether both nodes have all of each partition: else nobody could lead it when one of them is killed."""
        topics = self._admin.list_topics(timeout=10).topics.values()
        return all(len(partition.isrs) == 2 for topic in topics for partition in topic.partitions.values())

    def records(self, topic: str) -> int:
        """Return how many records Kafka has in a topic whose records were never deleted."""
        with closing(Consumer({"bootstrap.servers": self.bootstrap, "group.id": f"ends-{topic}", "log_level": 0})) as consumer:
            places = [place for place in self._preferred if place.topic == topic]
            return sum(consumer.get_watermark_offsets(place, timeout=20)[1] for place in places)

    def elect(self) -> bool:
        """Ask for the preferred leaders; True once they lead."""
        try:
            self._admin.elect_leaders(ElectionType.PREFERRED, list(self._preferred)).result(20)
        except (KafkaException, TimeoutError):  # a node that has just come back is not in sync yet
            return False
        return self.as_preferred()


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    need_java()
    with real_cluster(ROOT / ".firnline" / "kafka", 2) as (first, second):
        made = Cluster(first, second)
        try:
            for topic in COORDINATORS:  # so that the coordinators of groups and transactions are among what moves
                made.create(topic, [2], **{"cleanup.policy": "compact"})
            yield made
        finally:
            made.second.close()


class Load(threading.Thread):
    """Writes events and a batch of segments, ten records of each at a time, until told to stop, and remembers what.

    Each goes to a partition by chance, and is acknowledged by every node that is in sync.
    """

    def __init__(self, bootstrap: str, events: str, segments: str, seed: int) -> None:
        super().__init__(name="load", daemon=True)
        self.events: list[tuple[int, int]] = []
        self.lines: list[bytes] = []
        self._topics = events, segments
        self._chance = random.Random(seed)
        self._refused: list[str] = []
        self._stopped, self._turn, self._writing = threading.Event(), threading.Lock(), True
        settings = {"acks": "all", **ONCE, "queue.buffering.max.messages": 1_000_000, "log_level": 0}
        self._producer = Producer({"bootstrap.servers": bootstrap, **settings})

    def run(self) -> None:
        """Write while it may, 500 events a second at most."""
        while not self._stopped.wait(0.02):
            with self._turn:
                if self._writing:
                    self._write()
            self._producer.poll(0)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self.join()

    def go_on(self) -> None:
        """Write again."""
        self._writing = True

    def more(self, count: int) -> None:
        """Wait until so many more events are written."""
        wanted = len(self.events) + count
        until(lambda: len(self.events) >= wanted, timeout_s=PATIENCE_S)

    def pause(self) -> None:
        """Write no more, and wait until Kafka has all that is written."""
        with self._turn:
            self._writing = False
        assert self._producer.flush(PATIENCE_S) == 0
        assert self._refused == []

    def _write(self) -> None:
        chance, (events, segments) = self._chance, self._topics
        batch = len(self.lines) + 1
        first = len(self.events)
        written = [(1_000_000 + 10 * (first + number), chance.randrange(3)) for number in range(10)]
        parts = [sorted(chance.randrange(10**6) for _ in range(3)) for _ in range(10)]
        pieces = [json.dumps({"batch_id": batch, "segment_id": place, "data": data}) for place, data in enumerate(parts)]
        for value in records(written):
            self._producer.produce(events, value, partition=chance.randrange(3), on_delivery=self._delivered)
        for piece in pieces:
            self._producer.produce(segments, piece.encode(), partition=chance.randrange(3), on_delivery=self._delivered)
        self.events += written
        self.lines.append(", ".join(map(str, sorted(number for part in parts for number in part))).encode())

    def _delivered(self, error: object, _: object) -> None:
        if error is not None:
            self._refused.append(str(error))


class Committed:
    """What readers of committed records see in a topic of one partition."""

    def __init__(self, bootstrap: str, topic: str) -> None:
        settings = {"bootstrap.servers": bootstrap, "group.id": f"reader-{topic}", "enable.partition.eof": True, "log_level": 0}
        self._consumer = Consumer({**settings, "isolation.level": "read_committed", "auto.offset.reset": "error"})
        self._consumer.assign([TopicPartition(topic, 0, 0)])
        self.values: list[bytes] = []

    def read(self) -> bool:
        """Read on; True at the end."""
        messages = self._consumer.consume(10_000, 0.2)
        self.values += [message.value() or b"" for message in messages if not message.error()]
        return any(message.error() for message in messages)

    def close(self) -> None:
        """Let go of the brokers."""
        self._consumer.close()


@pytest.mark.long
def test_answers_and_results_are_the_same_when_leaders_move_and_move_back(cluster: Cluster):
    events, segments, output = (f"{kind}-{uuid.uuid4().hex}" for kind in ("events", "segments", "lines"))
    for topic, leaders in ((events, [2, 1, 2]), (segments, [2, 1, 2]), (output, [2])):
        cluster.create(topic, leaders)
    until(cluster.as_preferred, timeout_s=PATIENCE_S)
    settings = [
        "checkpoint.every_ms=500",
        f"streams.segments.source.topic={segments}",
        f"streams.segments.output.topic={output}",
        "streams.segments.output.file=null",
    ]
    with (
        closing(Committed(cluster.bootstrap, output)) as committed,
        service(cluster.bootstrap, events, *settings, also=["--only", "segments"]) as running,
        Load(cluster.bootstrap, events, segments, seed=1) as load,
    ):

        def check() -> None:
            """Compare all answers and results with what was written, once all of it is read and committed."""
            load.pause()
            count = len(load.events)
            for name, topic in (("events", events), ("segments", segments)):
                assert cluster.records(topic) == count, "the producer wrote some records twice, or Kafka lost some"
                until(lambda name=name: running.stats(name)["records"] >= count, timeout_s=PATIENCE_S)
                stats = running.settled(count) if name == "events" else running.stats(name)
                assert (name, stats["records"], stats["events"]) == (name, count, count)
                assert not any(stats[reason] for reason in ("dropped", "missed", "rejects"))
                assert stats["coverage"]["missing"] == []
            sets = [tuple(each[colour]["timestamp"] for colour in "rgb") for each in running.get(ALL)["sets"]]
            assert sets == greedy(load.events, 3)
            until(lambda: committed.read() and len(committed.values) >= len(load.lines), timeout_s=PATIENCE_S)
            assert sorted(committed.values) == sorted(load.lines)
            assert running.request("/readyz")[0] == 200

        load.more(300)
        until(lambda: committed.read() and committed.values, timeout_s=PATIENCE_S)
        until(cluster.in_sync, timeout_s=PATIENCE_S)
        cluster.second.kill()
        load.more(300)
        until(cluster.led_by_the_first, timeout_s=PATIENCE_S)
        check()
        load.go_on()
        cluster.second.restart()
        until(cluster.elect, timeout_s=PATIENCE_S)
        load.more(300)
        check()

        dead = running.get("/dead-letters")
        assert dead["restarts"].keys() <= {"segments"}, dead
        assert [letter for letter in dead["newest"] if not hung(letter)] == []
        assert dead["count"] == len(dead["newest"]) <= 5, dead
        code, printed = running.stop()
        assert code in {0, -signal.SIGTERM}, printed
        with closing(Committed(cluster.bootstrap, output)) as whole:  # from the beginning: it has told its end already
            until(whole.read, timeout_s=PATIENCE_S)
            assert sorted(whole.values) == sorted(load.lines)


def hung(letter: dict[str, str]) -> bool:
    """Whether a failure is a commit that never ends: librdkafka knows no time limit for a coordinator that died.

    (Its issues 5456 and 5511.) Only another client can go on, and only the checkpoint knows what that one has to write. That
    client commits too, when it restores the checkpoint, and may meet the same coordinator.
    """
    return letter["kind"] in {"Commit", "Restore"} and letter["reason"].endswith("Kafka does not answer to a commit")

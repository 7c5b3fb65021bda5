"""Whether readers see a commit if the leader of the topic's partition dies: asked of a mock cluster of two brokers."""

import ctypes
import itertools
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from confluent_kafka import KafkaException, Producer

from actors.sinks.kafka import visible
from actors.sinks.kafka.visible import Commits
from tests.support.waiting import until

TOPIC = b"t"
FIRST, SECOND = 1, 2


class Cluster(NamedTuple):
    """The mock cluster of librdkafka. The second broker leads the only partition of the topic, which has one record."""

    bootstrap: str
    library: ctypes.CDLL
    handle: ctypes.c_void_p

    def lead(self, broker: int) -> None:
        """Let a broker lead the partition."""
        assert self.library.rd_kafka_mock_partition_set_leader(self.handle, TOPIC, 0, broker) == 0

    def end_second(self) -> None:
        """Let the second broker refuse connections."""
        assert self.library.rd_kafka_mock_broker_set_down(self.handle, SECOND) == 0


def loaded_library() -> ctypes.CDLL:
    """Return the librdkafka of confluent-kafka. Its mock cluster is a part of the public API in C."""
    maps = Path("/proc/self/maps").read_text().splitlines()
    return ctypes.CDLL(next(line.split()[-1] for line in maps if "librdkafka" in line))


def as_pointer(function: Any) -> Any:
    function.restype = ctypes.c_void_p
    return function


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    library = loaded_library()
    settings = ctypes.c_void_p(as_pointer(library.rd_kafka_conf_new)())
    owner = ctypes.c_void_p(as_pointer(library.rd_kafka_new)(0, settings, None, ctypes.c_size_t(0)))
    handle = ctypes.c_void_p(as_pointer(library.rd_kafka_mock_cluster_new)(owner, 2))
    library.rd_kafka_mock_cluster_bootstraps.restype = ctypes.c_char_p
    made = Cluster(library.rd_kafka_mock_cluster_bootstraps(handle).decode(), library, handle)
    try:
        assert library.rd_kafka_mock_topic_create(handle, TOPIC, 1, 2) == 0
        made.lead(SECOND)
        producer = Producer({"bootstrap.servers": made.bootstrap, "log_level": 0})
        producer.produce(TOPIC.decode(), b"result", partition=0)
        assert producer.flush(20) == 0
        yield made
    finally:
        library.rd_kafka_mock_cluster_destroy(handle)
        library.rd_kafka_destroy(owner)


def test_a_commit_is_seen_through_the_new_leader(cluster: Cluster, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(visible, "_TIMEOUT_S", 1.0)
    numbers = itertools.count(1)
    commits = Commits({"bootstrap.servers": cluster.bootstrap}, TOPIC.decode(), "owner")

    def is_seen() -> bool:
        commits.delivered(0, 0)
        commits.committed(next(numbers))
        try:
            commits.wait(time.monotonic())
        except (OSError, KafkaException):
            return False
        return True

    try:
        until(is_seen)
        cluster.end_second()
        assert [is_seen() for _ in range(3)] == [False] * 3
        cluster.lead(FIRST)
        until(is_seen)
    finally:
        commits.forget()

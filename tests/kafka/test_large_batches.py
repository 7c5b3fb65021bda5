"""Batches that are small in Kafka and large when they are decompressed: they are read, one at a time by choice."""

import uuid
from pathlib import Path

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from tests.support.service import service
from tests.support.waiting import until

PARTITIONS, RECORDS = 4, 50_000
BUDGET = 160 << 20


def peak_bytes(pid: int) -> int:
    """Return the most memory that a process had resident so far."""
    (line,) = (line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) << 10


@pytest.mark.long
@pytest.mark.broker
def test_batches_of_44_megabytes_in_each_partition_are_read_within_a_small_budget(broker: str):
    topic = f"large-{uuid.uuid4().hex}"
    admin = AdminClient({"bootstrap.servers": broker})
    admin.create_topics([NewTopic(topic, PARTITIONS, 1)])[topic].result(20)
    whole = {
        "batch.size": 200_000_000,
        "message.max.bytes": 200_000_000,
        "batch.num.messages": 1_000_000,
        "linger.ms": 60_000,
        "queue.buffering.max.kbytes": 1_000_000,
    }
    padding = b"x" * 850
    for partition in range(PARTITIONS):
        producer = Producer({"bootstrap.servers": broker, "compression.type": "zstd", **whole})
        for number in range(RECORDS):
            frame = b'{"ts":%d,"uid":"u%d","pad":"%s"}' % (1_468_244_400 + number // 100, number % 1_000, padding)
            producer.produce(topic, frame, partition=partition)
        assert producer.flush(60) == 0
    one_at_a_time = ("kafka.fetch.max.bytes=262144", "kafka.message.max.bytes=262144", "kafka.queued.max.messages.kbytes=1024")
    settings = (*one_at_a_time, f"memory.budget={BUDGET}", "data_dir=null", "streams.uniques.output={}")
    with service(broker, topic, *settings, stream="uniques") as running:
        until(lambda: running.stats("uniques")["records"] == PARTITIONS * RECORDS, timeout_s=120)
        assert peak_bytes(running.process.pid) <= 1.05 * BUDGET

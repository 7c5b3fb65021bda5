"""Batches that are small in Kafka and large when they are decompressed: they are read, one at a time by choice."""

from pathlib import Path

import pytest

from tests.support.service import service
from tests.support.waiting import until
from tests.support.whole_batch import write_batch

PARTITIONS, RECORDS = 3, 50_000
BUDGET = 160 << 20


def peak_bytes(pid: int) -> int:
    """Return the most memory that a process had resident so far."""
    (line,) = (line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) << 10


def send(broker: str, topic: str, partition: int, records: int) -> None:
    """Write records as one batch of zstd."""
    whole = {
        "batch.size": 200_000_000,
        "message.max.bytes": 200_000_000,
        "batch.num.messages": 1_000_000,
        "queue.buffering.max.kbytes": 1_000_000,
    }
    padding = b"x" * 850
    frames = (
        b'{"ts":%d,"uid":"u%d","pad":"%s"}' % (1_468_244_400 + number // 100, number % 1_000, padding)
        for number in range(records)
    )
    write_batch(broker, topic, frames, partition, **{"compression.type": "zstd", **whole})


@pytest.mark.long
@pytest.mark.broker
def test_batches_of_44_megabytes_in_each_partition_are_read_within_a_small_budget(broker: str, topic: str):
    for partition in range(PARTITIONS):
        send(broker, topic, partition, RECORDS)
    one_at_a_time = ("kafka.fetch.max.bytes=262144", "kafka.message.max.bytes=262144", "kafka.queued.max.messages.kbytes=1024")
    settings = (*one_at_a_time, f"memory.budget={BUDGET}", "data_dir=null", "streams.uniques.output={}")
    with service(broker, topic, *settings, stream="uniques") as running:
        until(lambda: running.stats("uniques")["records"] == PARTITIONS * RECORDS, timeout_s=120)
        assert peak_bytes(running.process.pid) <= 1.05 * BUDGET


@pytest.mark.long
@pytest.mark.broker
def test_a_batch_that_does_not_fit_into_the_budget_is_read_and_the_excess_is_logged(broker: str, topic: str):
    settings = (f"memory.budget={BUDGET}", "data_dir=null", "streams.uniques.output={}")
    sent = 0
    with service(broker, topic, *settings, stream="uniques") as running:

        def measured() -> bool:
            """Whether a measurement, one a second, has met a batch; else write another one of 89 MB."""
            nonlocal sent
            if running.stats("uniques")["memory"]["rssBytes"] > 1.05 * BUDGET:
                return True
            send(broker, topic, 0, 2 * RECORDS)
            sent += 2 * RECORDS
            return False

        until(measured, timeout_s=120)
        until(lambda: running.stats("uniques")["records"] == sent, timeout_s=120)
        _, printed = running.stop()
        assert "the process is larger than memory.budget, although the answers fit into it" in printed

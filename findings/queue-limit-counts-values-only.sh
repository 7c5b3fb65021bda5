#!/usr/bin/env bash
# librdkafka: a consumer whose queued.max.messages.kbytes is 1024 takes 33 MiB for unread records of 10 bytes.
#
# The limit counts keys and values. librdkafka takes some 310 bytes more for each record, so a queue of small records is many
# times larger than its limit. queued.min.messages, by default 100,000, bounds their number; here it is out of the way.
# Seen with confluent-kafka 2.16.1 and its own librdkafka, whose mock broker is the broker here: records of 1,000 bytes take 3
# MiB.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check confluent-kafka==2.16.1
"$folder/venv/bin/python" - <<'PYTHON'
import subprocess
import sys

import confluent_kafka
from confluent_kafka import Producer

TAKEN = """
import os, sys, time
from pathlib import Path
from confluent_kafka import Consumer, TopicPartition

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

own = {"queued.min.messages": 10_000_000, "queued.max.messages.kbytes": 1_024, "fetch.message.max.bytes": 262_144}
consumer = Consumer({"bootstrap.servers": sys.argv[1], "group.id": "g", "log_level": 2, **own})
consumer.list_topics(sys.argv[2], timeout=10)
before, last, deadline = resident(), 0, time.monotonic() + 30
consumer.assign([TopicPartition(sys.argv[2], 0, 0)])
while time.monotonic() < deadline and (last < before + (1 << 20) or resident() > last + (1 << 17)):  # nothing is read
    last = resident()
    time.sleep(1)
print(resident() - before)
consumer.close()
"""
mock = Producer({"test.mock.num.brokers": 1, "log_level": 2})
(address,) = mock.list_topics(timeout=10).brokers.values()
broker = f"{address.host}:{address.port}"
own = {"queue.buffering.max.messages": 300_000, "batch.num.messages": 1_000, "linger.ms": 100, "log_level": 2}
producer = Producer({"bootstrap.servers": broker, **own})
grown = {}
for size, count in ((10, 200_000), (1_000, 3_000)):
    for _ in range(count):
        producer.produce(f"t{size}", bytes(size), partition=0)
    assert producer.flush(60) == 0
    command = [sys.executable, "-c", TAKEN, broker, f"t{size}"]
    grown[size] = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout) / 2**20
    print(f"librdkafka {confluent_kafka.libversion()[0]}: records of {size:,} bytes, at most 1 MiB, take {grown[size]:.0f} MiB")
sys.exit(0 if grown[10] > 20 and grown[1_000] < 6 else "the behaviour has changed")
PYTHON

#!/usr/bin/env bash
# librdkafka: a consumer with heartbeat.interval.ms of 100 sends about two heartbeats a second, not ten.
#
# The interval is looked at when librdkafka's main thread wakes, which it does for answers of brokers and else once a second. A
# member learns from the answer to its heartbeat that the group rebalances. So a shorter interval does not make it rejoin sooner,
# and the others wait for it.
# Seen with confluent-kafka 2.16.1 and its own librdkafka, whose mock broker is the broker here.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check confluent-kafka==2.16.1
"$folder/venv/bin/python" - <<'PYTHON'
import logging
import sys
import time

import confluent_kafka
from confluent_kafka import Consumer, Producer

INTERVAL_MS, SECONDS = 100, 10
sent: list[float] = []


class Counting(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        if "Heartbeat for group" in record.getMessage():
            sent.append(time.monotonic())


logger = logging.getLogger("client")
logger.setLevel(logging.DEBUG)
logger.addHandler(Counting())
logger.propagate = False
mock = Producer({"test.mock.num.brokers": 1, "log_level": 0})
(broker,) = mock.list_topics("t", timeout=10).brokers.values()
own = {"group.id": "g", "session.timeout.ms": 6_000, "heartbeat.interval.ms": INTERVAL_MS, "debug": "cgrp"}
consumer = Consumer({"bootstrap.servers": f"{broker.host}:{broker.port}", **own}, logger=logger)
consumer.subscribe(["t"])
deadline = time.monotonic() + 60
while not consumer.assignment() and time.monotonic() < deadline:
    consumer.poll(0.1)
sent.clear()
deadline = time.monotonic() + SECONDS
while time.monotonic() < deadline:
    consumer.poll(0.1)
seen = len(sent)
consumer.close()
print(f"librdkafka {confluent_kafka.libversion()[0]}: {seen} heartbeats in {SECONDS} s, with an interval of {INTERVAL_MS} ms")
expected = 1_000 * SECONDS / INTERVAL_MS
sys.exit("the behaviour has changed" if not 0 < seen < expected / 2 else 0)
PYTHON

#!/usr/bin/env bash
# librdkafka calls a valid zstd batch of 44 MB (236 KB compressed) "Invalid compressed data", with default settings.
#
# receive.message.max.bytes limits the content of a zstd batch too. It is 100,000,000 by default, and yet 44 MB are refused: the
# buffer grows by steps, and a step beyond the limit is not tried. The error is _BAD_COMPRESSION, as for a damaged batch, and
# comes again at each fetch. A program that skips damaged batches loses valid records. The source after 2.16.0 grows the buffer
# up to the limit itself.
# Seen with confluent-kafka 2.16.1 (librdkafka 2.16.0): 50,000 records of 880 bytes in one batch: 0 read and "Invalid compressed
# data" by default, 50,000 with receive.message.max.bytes=1000000000.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check confluent-kafka==2.16.1
"$folder/venv/bin/python" - <<'PYTHON'
import sys
import time

from confluent_kafka import Consumer, Producer, TopicPartition

COUNT = 50_000
limits = {"message.max.bytes": 200_000_000, "receive.message.max.bytes": 1_000_000_000}
mock = Producer({"test.mock.num.brokers": 1, **limits})
(address,) = mock.list_topics(timeout=10).brokers.values()
bootstrap = {"bootstrap.servers": f"{address.host}:{address.port}"}
one_batch = {"batch.size": 200_000_000, "batch.num.messages": 1_000_000, "linger.ms": 60_000}
producer = Producer({**bootstrap, **limits, **one_batch, "compression.type": "zstd"})
for number in range(COUNT):
    producer.produce("large", b'{"number":%d,"pad":"%s"}' % (number, b"x" * 855), partition=0)
assert producer.flush(60) == 0


def read(settings):
    """Return how many records come within ten seconds, and the errors."""
    consumer = Consumer({**bootstrap, "group.id": "g", "check.crcs": True, **settings})
    consumer.assign([TopicPartition("large", 0, 0)])
    count, errors, deadline = 0, set(), time.monotonic() + 10
    while count < COUNT and not errors and time.monotonic() < deadline:
        for message in consumer.consume(10_000, 0.5):
            if message.error() is None:
                count += 1
            else:
                errors.add(f"{message.error().name()}: {message.error().str()}")
    consumer.close()
    return count, sorted(errors)


default = read({})
raised = read({"receive.message.max.bytes": 1_000_000_000})
print("default:", *default)
print("receive.message.max.bytes=1000000000:", *raised)
as_before = default[0] == 0 and any("Invalid compressed data" in each for each in default[1]) and raised == (COUNT, [])
sys.exit(0 if as_before else "the behaviour has changed")
PYTHON

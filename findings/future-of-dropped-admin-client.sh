#!/usr/bin/env bash
# confluent-kafka: the future of an AdminClient that is no longer referred to never ends.
#
# `AdminClient(settings).list_offsets(…)` returns a future, and the client is destroyed at once, because the future does not keep
# it. librdkafka drops the request, and nobody completes the future: `result()` without a timeout waits for ever. With a reference
# to the client the same call is answered in milliseconds.
# Seen with confluent-kafka 2.16.1 and its own librdkafka, whose mock broker is the broker here.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check confluent-kafka==2.16.1
"$folder/venv/bin/python" - <<'PYTHON'
import sys

from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

mock = Producer({"test.mock.num.brokers": 1, "log_level": 0})
(broker,) = mock.list_topics(timeout=10).brokers.values()
settings = {"bootstrap.servers": f"{broker.host}:{broker.port}", "log_level": 0}
mock.produce("t", b"a", partition=0)
assert mock.flush(10) == 0
wanted = {TopicPartition("t", 0): OffsetSpec.latest()}


def seen(future: object) -> str:
    try:
        return f"offset {future.result(5).offset}"
    except TimeoutError:
        return "no answer and no error"


kept = AdminClient(settings)
results = {
    "the client is kept": seen(kept.list_offsets(wanted, request_timeout=2)[TopicPartition("t", 0)]),
    "the client is dropped": seen(AdminClient(settings).list_offsets(wanted, request_timeout=2)[TopicPartition("t", 0)]),
}
for name, result in results.items():
    print(f"{name:22} {result} after at most 5 s, with request_timeout=2")
changed = list(results.values()) != ["offset 1", "no answer and no error"]
sys.exit("the behaviour has changed" if changed else 0)
PYTHON

#!/usr/bin/env bash
# librdkafka: a consumer without an assignment asks a dead leader for the watermarks of a partition, long after it was replaced.
#
# `get_watermark_offsets` takes the leader from the cached metadata. A request that times out does not make the cache stale, so
# every further call waits for its whole timeout too, until the metadata expires (`metadata.max.age.ms`, 15 minutes). A fresh
# consumer is right at once, and so is the same consumer after `list_topics`.
# Seen with confluent-kafka 2.16.1 and its own librdkafka, whose mock cluster has the two brokers. Of a real cluster of two
# Kafka 4.1.0 brokers, 8 of 17 kills had this effect; in the others some other request had refreshed the metadata.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check confluent-kafka==2.16.1
"$folder/venv/bin/python" - <<'PYTHON'
import ctypes
import os
import sys
import time

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

with open("/proc/self/maps") as maps:
    library = ctypes.CDLL(next(line.split()[-1] for line in maps if "librdkafka" in line))
pointer, text, number = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int32


def function(name, result, *arguments):
    found = getattr(library, name)
    found.restype, found.argtypes = result, arguments
    return found


settings = function("rd_kafka_conf_new", pointer)()
owner = function("rd_kafka_new", pointer, ctypes.c_int, pointer, text, ctypes.c_size_t)(0, settings, None, 0)
cluster = function("rd_kafka_mock_cluster_new", pointer, pointer, ctypes.c_int)(owner, 2)
brokers = function("rd_kafka_mock_cluster_bootstraps", text, pointer)(cluster).decode()
create = function("rd_kafka_mock_topic_create", ctypes.c_int, pointer, text, ctypes.c_int, ctypes.c_int)
lead = function("rd_kafka_mock_partition_set_leader", ctypes.c_int, pointer, text, number, number)
down = function("rd_kafka_mock_broker_set_down", ctypes.c_int, pointer, number)
assert (create(cluster, b"t", 1, 2), lead(cluster, b"t", 0, 2)) == (0, 0)

common = {"bootstrap.servers": brokers, "log_level": 0}
producer = Producer(common)
producer.produce("t", b"a", partition=0)
assert producer.flush(10) == 0


def ask(consumer, timeout_s=1.0):
    try:
        return consumer.get_watermark_offsets(TopicPartition("t", 0), timeout=timeout_s)
    except KafkaException as error:
        return error.args[0].name()


old = Consumer({**common, "group.id": "old"})
before = ask(old, 10.0)
down(cluster, 2)
began = time.monotonic()
while time.monotonic() - began < 3.0:
    ask(old)
lead(cluster, b"t", 0, 1)
after = [ask(old) for _ in range(10)]
fresh = ask(Consumer({**common, "group.id": "fresh"}), 10.0)
again = ask(old)
old.list_topics("t", timeout=10.0)
listed = ask(old, 10.0)
print(f"with the first leader: {before}; ten calls after the new one: {sorted(set(after))}; a fresh consumer: {fresh};")
print(f"the old one: {again}; after list_topics: {listed}")
sys.stdout.flush()
os._exit((before, set(after), fresh, again, listed) != ((0, 1), {"_TIMED_OUT"}, (0, 1), "_TIMED_OUT", (0, 1)))
PYTHON

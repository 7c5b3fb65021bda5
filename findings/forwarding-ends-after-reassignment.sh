#!/usr/bin/env bash
# librdkafka: a partition whose queue the application forwards may give no record again after it was unassigned and assigned.
#
# `rd_kafka_queue_forward` on a partition's queue, then `rd_kafka_incremental_assign`, is the documented way to read partitions
# through one queue. If the partition was assigned before, librdkafka's own thread may handle the stop of the old fetch after the
# new call of `rd_kafka_queue_forward`: the stop clears the forwarding (rd_kafka_toppar_fetch_stop), and the start of the new
# fetch does not set one, because the application had chosen its own. The records then wait in the partition's queue for ever,
# and no error comes. `rd_kafka_incremental_unassign` has returned long before. Forwarding once more brings the records at once.
# Seen with librdkafka 2.16.0 of confluent-kafka 2.16.1, by its public C interface and its mock broker: 3 of 5 to 13 times.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check confluent-kafka==2.16.1
"$folder/venv/bin/python" - <<'PYTHON'
import sys
from ctypes import CDLL, c_char_p, c_int, c_int32, c_int64, c_size_t, c_void_p, create_string_buffer
from pathlib import Path

import confluent_kafka

ROUNDS, TOPIC, CONSUMER = 400, b"t", 1
(path,) = (Path(confluent_kafka.__file__).parent.parent / "confluent_kafka.libs").glob("librdkafka-*.so*")
library = CDLL(str(path))


def function(name, result, *arguments):
    found = getattr(library, "rd_kafka_" + name)
    found.restype, found.argtypes = result, arguments
    return found


configured = function("conf_set", c_int, c_void_p, c_char_p, c_char_p, c_void_p, c_size_t)
places_new = function("topic_partition_list_new", c_void_p, c_int)
place_add = function("topic_partition_list_add", c_void_p, c_void_p, c_char_p, c_int32)
place_set = function("topic_partition_list_set_offset", c_int, c_void_p, c_char_p, c_int32, c_int64)
assign = function("incremental_assign", c_void_p, c_void_p, c_void_p)
unassign = function("incremental_unassign", c_void_p, c_void_p, c_void_p)
queue_of = function("queue_get_partition", c_void_p, c_void_p, c_char_p, c_int32)
forward = function("queue_forward", None, c_void_p, c_void_p)
drop = function("queue_destroy", None, c_void_p)
consume = function("consume_queue", c_void_p, c_void_p, c_int)
give_back = function("message_destroy", None, c_void_p)

mock = confluent_kafka.Producer({"test.mock.num.brokers": 1, "log_level": 0})
(broker,) = mock.list_topics(timeout=10).brokers.values()
producer = confluent_kafka.Producer({"bootstrap.servers": f"{broker.host}:{broker.port}", "log_level": 0})
for _ in range(10):
    producer.produce("t", b"a", partition=0)
assert producer.flush(10) == 0

settings, error = function("conf_new", c_void_p)(), create_string_buffer(512)
for name, value in {
    "bootstrap.servers": f"{broker.host}:{broker.port}",
    "group.id": "g",
    "enable.auto.commit": "false",
    "log_level": "0",
}.items():
    assert configured(settings, name.encode(), value.encode(), error, 512) == 0, error.value
client = function("new", c_void_p, c_int, c_void_p, c_void_p, c_size_t)(CONSUMER, settings, error, 512)
assert client, error.value
queue = function("queue_new", c_void_p, c_void_p)(client)


def forwarded(to):
    own = queue_of(client, TOPIC, 0)
    forward(own, to)
    drop(own)


def comes(milliseconds):
    """Return whether a record comes through the queue."""
    message = consume(queue, milliseconds)
    if message:
        give_back(message)
    return bool(message)


places = places_new(1)
place_add(places, TOPIC, 0)
place_set(places, TOPIC, 0, 0)
forwarded(queue)
assert not assign(client, places)
assert comes(10_000)
silent = brought = 0
for number in range(ROUNDS):
    assert not unassign(client, places)
    forwarded(queue)
    assert not assign(client, places)
    if not comes(2_000):
        silent += 1
        forwarded(queue)
        brought += comes(2_000)
    if silent == 3:
        break
print("librdkafka", confluent_kafka.libversion()[0])
print(f"silent for 2 s after {silent} of {number + 1} reassignments; forwarded once more, records came {brought} times")
forwarded(None)
drop(queue)
function("consumer_close", c_int, c_void_p)(client)
sys.exit(0 if silent == brought > 0 else "the behaviour has changed")
PYTHON
